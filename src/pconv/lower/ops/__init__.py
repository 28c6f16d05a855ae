"""Lowering of each operator. A new operator is a new file and its line here."""

from pconv.lower.context import Operator
from pconv.lower.ops.arg_max import ARG_MAX
from pconv.lower.ops.constant import CONSTANT
from pconv.lower.ops.conv import CONV
from pconv.lower.ops.elementwise import ELEMENTWISE
from pconv.lower.ops.gather import CHANNEL_SHUFFLE, CONCAT, DEPTH_TO_SPACE, FLATTEN, PAD, SUBSAMPLE
from pconv.lower.ops.gemm import GEMM
from pconv.lower.ops.matmul import MATMUL
from pconv.lower.ops.pool import POOL
from pconv.lower.ops.resize import RESIZE
from pconv.lower.ops.softmax import SOFTMAX
from pconv.lower.ops.transpose import TRANSPOSE

OPERATORS: dict[str, Operator] = {
    "Conv": CONV,
    "Gemm": GEMM,
    "MaxPool": POOL,
    "AveragePool": POOL,
    "GlobalAveragePool": POOL,
    "Add": ELEMENTWISE,
    "Sub": ELEMENTWISE,
    "Mul": ELEMENTWISE,
    "Div": ELEMENTWISE,
    "Keep": ELEMENTWISE,
    "Max": ELEMENTWISE,
    "Min": ELEMENTWISE,
    "Activation": ELEMENTWISE,
    "Affine": ELEMENTWISE,
    "PRelu": ELEMENTWISE,
    "Constant": CONSTANT,
    "Concat": CONCAT,
    "MatMul": MATMUL,
    "Softmax": SOFTMAX,
    "ArgMax": ARG_MAX,
    "Flatten": FLATTEN,
    "DepthToSpace": DEPTH_TO_SPACE,
    "Subsample": SUBSAMPLE,
    "Pad": PAD,
    "Resize": RESIZE,
    "Transpose": TRANSPOSE,
    "ChannelShuffle": CHANNEL_SHUFFLE,
}
