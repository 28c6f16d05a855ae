"""A GPU through OpenCL 1.2: no vectors, a work item handles single elements of plain planes."""

from pconv.targets.target import Target

OPENCL = Target(
    name="opencl",
    arch="opencl",
    os="any",
    lanes_f32=1,
    vector_registers=64,
    fma_units=1,
    cflags=(),
    zig_target=None,
    zig_cflags=(),
    features=(),
    l1_bytes=16 << 10,
    l2_bytes=1 << 20,
)
