"""AArch64 with NEON, which every 64-bit Arm has (phones, Apple silicon, servers), and its cores as data.

A core changes no instruction, only what the cost model and the compiler's scheduler reckon with.
"""

from dataclasses import dataclass, replace

from pconv.targets.dtype import FP16, FP16_FP32ACC, Support
from pconv.targets.target import IN_TEXT_ORDER, Costs, Target


def _costs(width: int, load: float = 1.0) -> Costs:
    """Count instructions: at `width` a cycle they share the issue slots with the multiply-adds.

    A vector of output is set to the bias, activated and stored. A line from L2 costs none; a core that looks ahead
    hides most of its latency. Winograd's transforms take what llvm-mca says of their instructions, which qemu counts;
    far from the caches, memory that moves 20 GB a second beside them. No core was timed.
    """
    return Costs(
        overlap=1.0,
        load=load / width,
        weight=load / width,
        row=1.0 / width,
        loop=5.0 / width,
        run=3.0 / width,
        store=2.5 / width,
        group=30.0 / width,
        l2_line=0.5 / width,
        far_line=2.0 / width,
        stream=2.0 / width,
        far_store=10.0 / width,
        far_row=4.0 / width,
        transform=12.8 / width,
        far_transform=29.0 / width,
    )


AARCH64 = Target(
    name="aarch64",
    arch="aarch64",
    os="linux",
    lanes_f32=4,
    vector_registers=32,
    fma_units=2,
    cflags=("-march=armv8-a",),
    zig_target="aarch64-linux-gnu.2.28",
    zig_cflags=("-mcpu=generic", *IN_TEXT_ORDER),
    features=("asimd", "fp"),
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
    fma_by_lane=True,
    pairs=True,
    costs=_costs(4),
    supports=(
        # ARMv8.2's half arithmetic. A later flag counts; only what `features` checks is switched on.
        Support(FP16, ("asimdhp", "fphp"), ("-march=armv8-a+fp16",), ("-mcpu=generic+fullfp16",)),
        # Conversions between float and half are in every AArch64.
        Support(FP16_FP32ACC),
    ),
)


@dataclass(frozen=True, slots=True)
class _Core:
    """A core's timing: 128-bit multiply-adds and instructions a cycle, caches, slots a load."""

    name: str
    fma_units: int
    width: int
    l1_bytes: int
    l2_bytes: int
    load: float = 1.0
    in_order: bool = False


# Sources: Arm's software optimization guides; for apple-m1, what is published of its measurements.
_CORES = (
    _Core("cortex-a55", 1, 2, 32 << 10, 128 << 10, load=3.0, in_order=True),  # 64 bits of load a cycle
    _Core("cortex-a76", 2, 4, 64 << 10, 256 << 10),
    _Core("cortex-x1", 4, 5, 64 << 10, 1 << 20),
    _Core("neoverse-n1", 2, 4, 64 << 10, 1 << 20),
    _Core("apple-m1", 4, 8, 128 << 10, 3 << 20),
)


def _tuned(core: _Core) -> Target:
    """Schedule for one core with the instructions that all have: `-mcpu` (zig's `-mtune` too) would add more."""
    return replace(
        AARCH64,
        cpu=core.name,
        fma_units=core.fma_units,
        cflags=(*AARCH64.cflags, f"-mtune={core.name}"),
        zig_cflags=(*AARCH64.zig_cflags, "-Xclang", "-tune-cpu", "-Xclang", core.name),
        in_order=core.in_order,
        # Two pairs of what is loaded wait beside the sums.
        spare_registers=(-3, -4) if core.in_order else AARCH64.spare_registers,
        l1_bytes=core.l1_bytes,
        l2_bytes=core.l2_bytes,
        costs=_costs(core.width, core.load),
    )


AARCH64_CORES = tuple(map(_tuned, _CORES))
