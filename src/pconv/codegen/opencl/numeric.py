"""What numbers a program stores and computes with: three heads of a file, one kernel text for all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from pconv.targets.opencl import OPENCL, OPENCL_FP16, OPENCL_FP16_MATH

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
    """How numbers are stored and computed. `name` begins every kernel's name; bias and tables stay float."""

    name: str
    stored: DTypeLike
    head: str

    @property
    def elem_bytes(self) -> int:
        """Bytes of one stored number."""
        return np.dtype(self.stored).itemsize


F32 = Numeric(
    "f32",
    np.float32,
    _HEAD.format(pragma="", stored="float", real="float", load="(p)[i]", store="(p)[i] = (v)"),
)
F16 = Numeric(
    "f16",
    np.float16,
    _HEAD.format(
        pragma="",
        stored="half",
        real="float",
        load="vload_half(0, (p) + (i))",
        store="vstore_half((real)(v), 0, (p) + (i))",
    ),
)
F16_MATH = Numeric(
    "f16math",
    np.float16,
    _HEAD.format(
        pragma="#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n",
        stored="half",
        real="half",
        load="(p)[i]",
        store="(p)[i] = (v)",
    ),
)

NUMERICS = {OPENCL.name: F32, OPENCL_FP16.name: F16, OPENCL_FP16_MATH.name: F16_MATH}
