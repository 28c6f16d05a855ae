"""AArch64 with NEON, which every 64-bit Arm has (phones, Apple silicon, servers)."""

from dataclasses import replace

from pconv.targets.target import Target

AARCH64 = Target(
    name="aarch64",
    arch="aarch64",
    os="linux",
    lanes_f32=4,
    vector_registers=32,
    fma_units=2,
    cflags=("-march=armv8-a",),
    zig_target="aarch64-linux-gnu.2.28",
    zig_cflags=("-mcpu=generic",),
    features=("asimd", "fp"),
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
)


def _tuned(cpu: str) -> Target:
    """Schedule for one core with the instructions that all have: `-mcpu` (zig's `-mtune` too) would add more."""
    return replace(
        AARCH64,
        cpu=cpu,
        cflags=(*AARCH64.cflags, f"-mtune={cpu}"),
        zig_cflags=(*AARCH64.zig_cflags, "-Xclang", "-tune-cpu", "-Xclang", cpu),
    )


AARCH64_CORES = tuple(map(_tuned, ("cortex-a55", "cortex-a76", "cortex-x1", "neoverse-n1", "apple-m1")))
