"""x86-64-v4: AVX-512 F, BW, CD, DQ and VL (Skylake-SP 2017, Zen 4 2022 and later)."""

from dataclasses import replace

from pconv.targets.x86_64_v3 import X86_64_V3

X86_64_V4 = replace(
    X86_64_V3,
    name="x86-64-v4",
    lanes_f32=16,
    vector_registers=32,
    cflags=("-march=x86-64-v4", "-mprefer-vector-width=512"),
    zig_cflags=("-mcpu=x86_64_v4", "-mprefer-vector-width=512"),
    features=X86_64_V3.features + ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
    l2_bytes=1 << 20,
)
