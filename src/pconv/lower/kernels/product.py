"""Products of matrices: a constant one, as of a fully connected layer, or both computed."""

from dataclasses import dataclass
from typing import Literal

from pconv.targets.dtype import FP32, DType

from .spec import Activation, named


@dataclass(frozen=True, slots=True)
class GemmKernel:
    """Fully connected: `vectors` x `lanes` outputs at a time; weights stream through once.

    `dtype` says how the weights are stored; rows are floats and are summed as such. With several `streams`, so many
    parts of the weights are read side by side, and fetched ahead: memory gives several streams more than one.
    """

    lanes: int
    vectors: int
    sparse: bool
    activation: Activation
    index_bits: Literal[16, 32] = 16
    dtype: DType = FP32
    streams: int = 1

    @property
    def rows(self) -> int:
        """Outputs of a unit."""
        return self.vectors * self.lanes

    @property
    def name(self) -> str:
        """The C function's name."""
        kind = "sparse" if self.sparse else "dense"
        return named(self, f"gemm_{kind}{self.activation.tag}_{self.vectors}", self.lanes, self.dtype)


@dataclass(frozen=True, slots=True)
class MatMulKernel:
    """Products of dense matrices, one a plane: [m, k] @ [k, n] * scale; `transposed` says which of both lie as [k, m]
    and [n, k].

    A tile of `rows` x `vectors` sums stays in registers; `parts` of the rows are tasks of their own, each of which
    packs what it reads of the second matrix.
    """

    m: int
    k: int
    n: int
    transposed: tuple[bool, bool]
    scale: float
    lanes: int
    rows: int = 1
    vectors: int = 1
    parts: int = 1

    @property
    def columns(self) -> int:
        """Columns of the second matrix that are packed together."""
        return self.vectors * self.lanes

    @property
    def name(self) -> str:
        """The C function's name."""
        marks = "".join("t" if flag else "n" for flag in self.transposed)
        what = f"matmul_{marks}_{self.m}x{self.k}x{self.n}_{self.rows}x{self.vectors}"
        return named(self, what, self.lanes)
