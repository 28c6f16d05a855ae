"""AArch64 with NEON, which every 64-bit Arm has (phones, Apple silicon, servers)."""

from pconv.targets.target import Target

AARCH64 = Target(
    name="aarch64",
    arch="aarch64",
    os="linux",
    lanes_f32=4,
    vector_registers=32,
    fma_units=2,
    # Outlined atomics would need a helper library at link time.
    cflags=("-march=armv8-a", "-mno-outline-atomics"),
    zig_target="aarch64-linux-gnu.2.28",
    zig_cflags=("-mcpu=generic", "-mno-outline-atomics"),
    features=("asimd", "fp"),
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
)
