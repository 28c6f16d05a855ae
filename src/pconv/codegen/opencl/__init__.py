"""Plan -> OpenCL C 1.2 and a list of launches: the same specs and load programs as the C, for work items."""

from pconv.codegen.opencl.generate import generate
from pconv.codegen.opencl.numeric import F16, F16_MATH, F32, NUMERICS, Numeric

__all__ = ["F16", "F16_MATH", "F32", "NUMERICS", "Numeric", "generate"]
