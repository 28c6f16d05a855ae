"""Fully connected layers: weights streamed once, in blocks of 16 output rows that share their kept inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, activation_of
from pconv.lower.kernels import GemmKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.storage import store

BLOCK = 16
"""Output rows that are stored together."""
SPARSE_BELOW = 0.6
"""Share of kept blocks below which the others are left out."""
STREAMS = 4
"""Parts of the weights that are read side by side where memory was measured."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [planar(1, 1)]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """A layer's weights in units of so many output `rows`: [input of a unit, row], unit by unit.

    Where they are sparse, a unit's inputs begin at its `offset`, and `index` has the feature of each.
    """

    rows: int
    weight: NDArray[np.float32]
    index: NDArray[Any]
    offset: NDArray[np.uint32]
    reason: str

    @property
    def sparse(self) -> bool:
        """Tell whether blocks of zeros are left out."""
        return self.offset.size > 0


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    dtype, lanes = ctx.target.dtype, ctx.target.lanes_f32
    weight, bias = node.weights[1], node.weights[2]
    outputs, features = weight.shape
    stored = _stored(weight, ctx.is_dense(node))
    units = -(-outputs // stored.rows)
    kernel = GemmKernel(
        lanes,
        max(1, stored.rows // lanes),
        stored.sparse,
        activation_of(node),
        16 if features <= 0xFFFF else 32,
        dtype,
        streams=STREAMS if ctx.target.fetches_ahead else 1,
    )
    macs = stored.weight.size if stored.sparse else weight.size
    kept_weight = np.ascontiguousarray(store(stored.weight, dtype, f"{node.name} (Gemm)"))
    full_bias = np.zeros(units * stored.rows, np.float32)
    full_bias[:outputs] = bias
    work = Work(
        in_shape=(features,),
        out_shape=(outputs,),
        macs=macs,
        dense_macs=weight.size,
        weights_bytes=kept_weight.nbytes + full_bias.nbytes,
        index_bytes=stored.index.nbytes + stored.offset.nbytes,
        group=stored.rows,
        weights_stored=str(kept_weight.dtype),
        reason=stored.reason,
    )
    data = {"weight": kept_weight, "bias": full_bias, "index": stored.index, "offset": stored.offset}
    tasks = units if macs > 50_000 else 1
    params = {
        "features": features,
        "outputs": outputs,
        "units": units,
        "tasks": tasks,
        "grain": max(1, tasks // 32),
    }
    return [Step(node.name, "Gemm", kernel, tuple(inputs), output, work, data, params, tasks)]


def _stored(weight: NDArray[np.float32], force_dense: bool) -> _Rows:
    """Return weights [outputs, features] as they are read, without blocks of zeros where those are enough."""
    outputs, features = weight.shape
    padded = np.pad(weight, ((0, -outputs % BLOCK), (0, 0)))
    blocks = padded.reshape(-1, BLOCK, features)
    kept = (blocks != 0).any(axis=1)
    density, zeros = float(kept.mean()), 1.0 - np.count_nonzero(weight) / weight.size
    if density < SPARSE_BELOW and not force_dense:
        block, feature = np.nonzero(kept)
        index = feature.astype(np.uint16 if features <= 0xFFFF else np.uint32)
        offset = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.uint32)
        reason = f"sparse: {zeros:.0%} zeros, {1 - density:.0%} of the {BLOCK}-row blocks are empty"
        return _Rows(BLOCK, blocks[block, :, feature], index, offset, reason)
    rows = max(r for r in (BLOCK, 2 * BLOCK, 4 * BLOCK) if r == BLOCK or outputs % r == 0)
    reason = "dense: no zeros" if zeros == 0 else f"dense: only {1 - density:.0%} of its blocks are empty"
    reason = "dense: asked for" if force_dense else reason
    streamed = padded.reshape(-1, rows, features).transpose(0, 2, 1)
    return _Rows(rows, streamed, np.zeros(0, np.uint16), np.zeros(0, np.uint32), reason)


GEMM = Operator(_wants, _emit, planar_output=True)
