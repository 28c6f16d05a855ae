"""What numbers a program stores and computes with: three heads of a file, one kernel text for all."""

from dataclasses import dataclass

from pconv.targets.dtype import FP16, FP16_FP32ACC, FP32, DType

_HEAD = """\
/* OpenCL C 1.2. `T` is what buffers hold, `real` what is computed with. */
{pragma}\
typedef {stored} T;
typedef {real} real;
#define LOAD(p, i) {load}
#define STORE(p, i, v) {store}
"""


@dataclass(frozen=True, slots=True)
class Numeric:
    """A type, and how OpenCL spells it. `name` begins every kernel's name; bias and tables stay float."""

    dtype: DType
    name: str
    head: str


F32 = Numeric(
    FP32,
    "f32",
    _HEAD.format(pragma="", stored="float", real="float", load="(p)[i]", store="(p)[i] = (v)"),
)
F16 = Numeric(
    FP16_FP32ACC,
    "f16",
    _HEAD.format(
        pragma="",
        stored="half",
        real="float",
        load="vload_half(0, (p) + (i))",
        store="vstore_half((real)(v), 0, (p) + (i))",
    ),
)
F16_MATH = Numeric(
    FP16,
    "f16math",
    _HEAD.format(
        pragma="#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n",
        stored="half",
        real="half",
        load="(p)[i]",
        store="(p)[i] = (v)",
    ),
)

NUMERICS = {numeric.dtype: numeric for numeric in (F32, F16, F16_MATH)}
