"""x86-64-v3: AVX2 and FMA (Haswell 2013, Zen 2017 and later)."""

from pconv.targets.target import Target

X86_64_V3 = Target(
    name="x86-64-v3",
    arch="x86_64",
    os="linux",
    lanes_f32=8,
    vector_registers=16,
    fma_units=2,
    cflags=("-march=x86-64-v3",),
    zig_target="x86_64-linux-gnu.2.17",
    zig_cflags=("-mcpu=x86_64_v3",),
    features=("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"),
    l1_bytes=32 << 10,
    l2_bytes=256 << 10,
)
