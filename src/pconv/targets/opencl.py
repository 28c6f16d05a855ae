"""A GPU through OpenCL 1.2: no vectors, a work item handles single elements of plain planes.

`opencl` stores and computes in float; `opencl-fp16` stores halves and computes in float, which every device can;
`opencl-fp16-math` computes in halves as well, where the device has cl_khr_fp16. They are what `opencl` is with the
dtype fp16-fp32acc, and with fp16.
"""

from dataclasses import replace

from pconv.targets.dtype import FP16, FP16_FP32ACC
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
OPENCL_FP16 = replace(OPENCL, name="opencl-fp16", dtype=FP16_FP32ACC)
OPENCL_FP16_MATH = replace(OPENCL, name="opencl-fp16-math", features=("cl_khr_fp16",), dtype=FP16)

OPENCL_TARGETS = (OPENCL, OPENCL_FP16, OPENCL_FP16_MATH)
