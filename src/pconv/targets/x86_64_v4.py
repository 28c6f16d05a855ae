"""x86-64-v4: AVX-512 F, BW, CD, DQ and VL (Skylake-SP 2017, Zen 4 2022 and later)."""

from pconv.targets.target import Target
from pconv.targets.x86_64_v3 import X86_64_V3

X86_64_V4 = Target(
    name="x86-64-v4",
    arch="x86_64",
    os="linux",
    lanes_f32=16,
    vector_registers=32,
    fma_units=2,
    cflags=("-march=x86-64-v4", "-mprefer-vector-width=512"),
    zig_target=X86_64_V3.zig_target,
    zig_cflags=("-mcpu=x86_64_v4", "-mprefer-vector-width=512"),
    features=X86_64_V3.features + ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
    l1_bytes=32 << 10,
    l2_bytes=1 << 20,
)
