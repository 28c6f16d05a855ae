"""The micro-kernels as data: each spec is all that its C text depends on, and its name says so.

A name reads type, operation, patterns, activation, tile, lanes: `f32_conv3x3s1_p8x4_g1_relu_5x5_v16`. The type is
that of the output. Two steps with equal specs share one function.
"""

from .along_axis import ArgMaxKernel, SoftmaxKernel
from .conv import ConvKernel
from .copy import INTERLEAVED, ConstantKernel, GatherKernel, InterleaveKernel
from .elementwise import ElementwiseKernel
from .pool import GlobalAverageKernel, PoolKernel, PoolTableKernel
from .product import GemmKernel, MatMulKernel
from .resize import ResizeKernel
from .spec import Activation, Taps, digest
from .winograd import WinogradInputKernel, WinogradListsKernel, WinogradOutputKernel, WinogradWeightsKernel

Kernel = (
    ConvKernel
    | GemmKernel
    | GatherKernel
    | GlobalAverageKernel
    | InterleaveKernel
    | PoolKernel
    | PoolTableKernel
    | ResizeKernel
    | ElementwiseKernel
    | ConstantKernel
    | SoftmaxKernel
    | MatMulKernel
    | ArgMaxKernel
    | WinogradInputKernel
    | WinogradOutputKernel
    | WinogradListsKernel
    | WinogradWeightsKernel
)

__all__ = [
    "INTERLEAVED",
    "Activation",
    "ArgMaxKernel",
    "ConstantKernel",
    "ConvKernel",
    "ElementwiseKernel",
    "GatherKernel",
    "GemmKernel",
    "GlobalAverageKernel",
    "InterleaveKernel",
    "Kernel",
    "MatMulKernel",
    "PoolKernel",
    "PoolTableKernel",
    "ResizeKernel",
    "SoftmaxKernel",
    "Taps",
    "WinogradInputKernel",
    "WinogradListsKernel",
    "WinogradOutputKernel",
    "WinogradWeightsKernel",
    "digest",
]
