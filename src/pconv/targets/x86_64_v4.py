"""x86-64-v4: AVX-512 F, BW, CD, DQ and VL (Skylake-SP 2017, Zen 4 2022 and later)."""

from dataclasses import replace

from pconv.targets.target import IN_TEXT_ORDER, Costs, Target
from pconv.targets.x86_64_v3 import X86_64_V3

X86_64_V4 = Target(
    name="x86-64-v4",
    arch="x86_64",
    os="linux",
    lanes_f32=16,
    vector_registers=32,
    fma_units=2,
    cflags=("-march=x86-64-v4", "-mprfchw", "-mprefer-vector-width=512"),
    zig_target=X86_64_V3.zig_target,
    zig_cflags=("-mcpu=x86_64_v4+prfchw", "-mprefer-vector-width=512", *IN_TEXT_ORDER),
    features=X86_64_V3.features + ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
    l1_bytes=32 << 10,
    l2_bytes=1 << 20,
    spare_registers=(-1, -2),
    text_order=True,
    holds_input=True,
    held_share=1.34,  # Of 48 KiB, four vectors for each of 256 filters.
    strips=True,
    pairs=True,
    filter_lanes=True,
    fetches_ahead=True,
    block_share=0.8,
    kept_bytes=200 << 10,
    near_bytes=3 << 20,
    # By benchmarks/fit_costs.py, from the schedules of 71 layers timed on one Sapphire Rapids core, whose L3 is slow.
    costs=Costs(
        overlap=1.77,
        burst=0.093,
        load=0.4,
        weight=0.4,
        row=0.498,
        loop=0.0,
        run=13.3,
        surprise=12.9,
        store=8.05,
        group=0.0,
        l2_line=1.15,
        far_line=1.65,
        far_weights=10.2,
        far_store=5.85,
        far_row=53.6,
        visit=0.0,
        put_aside=0.801,
        fill=6.12,
        hold=3.0,
        held_sum=0.801,
        tap=2.09,
        stream=4.0,
        transform=11.0,
        far_transform=16.0,
    ),
)

ZNVER4 = replace(
    X86_64_V4,
    cpu="znver4",
    families=(("AuthenticAMD", "25"),),  # Zen 3 is of it too, without AVX-512.
    held_share=1.25,
    lends_l2=True,
    claims=True,
    fma_units=1,  # Two of 256 bits, which a register of 512 takes both.
    near_bytes=8 << 20,
    # Fitted in the same way on one core of an EPYC. Winograd's by hand: from L2 or L3, 5 to 8 cycles for each vector
    # of points; 15 to 20 where those are 12 MB, 25 to 30 from 20 MB on. `again`, `cold` and `free_points` to the layers
    # of VGG-16 at 8x and 12x and ResNet-18 at 8x, all free, each way timed inside its network after the caches were
    # emptied: the first choice is 2% slower than the best.
    costs=Costs(
        overlap=4.47,
        burst=4.0,
        load=1.0,
        weight=0.5,
        row=0.045,
        loop=0.0,
        run=0.0,
        surprise=14.6,
        remembered=34000,
        again=0.2,
        text=2.7,
        store=3.25,
        group=11.2,
        l2_line=1.16,
        far_line=1.51,
        far_weights=5.42,
        far_store=5.76,
        far_row=5.39,
        visit=1.61,
        put_aside=2.34,
        fill=1.14,
        hold=2.2,
        held_sum=1.03,
        tap=0.964,
        stream=4.0,
        cold=8.0,
        free_points=1.13,
        transform=6.0,
        far_transform=32.0,
    ),
)
"""Zen 4: the same instructions (EPYC 9004, Ryzen 7000 and 8000)."""
