"""x86-64-v3: AVX2 and FMA (Haswell 2013, Zen 2017 and later)."""

from pconv.targets.target import IN_TEXT_ORDER, Costs, Target

X86_64_V3 = Target(
    name="x86-64-v3",
    arch="x86_64",
    os="linux",
    lanes_f32=8,
    vector_registers=16,
    fma_units=2,
    cflags=("-march=x86-64-v3",),
    zig_target="x86_64-linux-gnu.2.17",
    zig_cflags=("-mcpu=x86_64_v3", *IN_TEXT_ORDER),
    features=("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"),
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
    spare_registers=(-1, -2),
    text_order=True,
    block_share=0.8,
    kept_bytes=100 << 10,
    # By benchmarks/fit_costs.py, from the schedules of 71 layers timed on one Zen 3 core: what they do not show is 0.
    costs=Costs(
        overlap=6.0,
        burst=4.4,
        load=0.55,
        row=0.161,
        loop=0.679,
        run=1.05,
        surprise=6.39,
        store=3.76,
        group=0.0,
        l2_line=2.4,
        far_line=2.22,
        far_weights=0.0,
        far_store=1.77,
        far_row=7.67,
        visit=1.82,
        put_aside=0.589,
        fill=0.0,
        tap=1.5,
        stream=2.22,
    ),
)
