"""Fully connected layers: weights streamed once, in blocks of 16 output rows that share their kept inputs."""

from collections.abc import Sequence

import numpy as np

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, activation_of
from pconv.lower.kernels import GemmKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.storage import store

BLOCK = 16
SPARSE_BELOW = 0.6
STREAMS = 4
"""Parts of the weights that are read side by side where memory was measured."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [planar(1, 1)]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    dtype = ctx.target.dtype
    weight, bias = node.weights[1], node.weights[2]
    outputs, features = weight.shape
    lanes = ctx.target.lanes_f32
    blocks = -(-outputs // BLOCK)
    padded = np.zeros((blocks * BLOCK, features), np.float32)
    padded[:outputs] = weight
    kept = (padded != 0).reshape(blocks, BLOCK, features).any(axis=1)
    density = float(kept.mean())
    sparse = density < SPARSE_BELOW and not ctx.is_dense(node)
    zeros = 1.0 - np.count_nonzero(weight) / weight.size
    if sparse:
        block, col = np.nonzero(kept)
        stored = padded.reshape(blocks, BLOCK, features)[block, :, col]
        counts = kept.sum(axis=1)
        index = col.astype(np.uint16 if features <= 0xFFFF else np.uint32)
        offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
        rows = BLOCK
        macs = int(kept.sum()) * BLOCK
        reason = f"sparse: {zeros:.0%} zeros, {1 - density:.0%} of the {BLOCK}-row blocks are empty"
    else:
        rows = max(r for r in (BLOCK, 2 * BLOCK, 4 * BLOCK) if r == BLOCK or outputs % r == 0)
        stored = padded.reshape(-1, rows, features).transpose(0, 2, 1)
        index = np.zeros(0, np.uint16)
        offset = np.zeros(0, np.uint32)
        macs = weight.size
        reason = "dense: no zeros" if zeros == 0 else f"dense: only {1 - density:.0%} of its blocks are empty"
        if ctx.is_dense(node):
            reason = "dense: asked for"
    units = -(-outputs // rows)
    vectors = max(1, rows // lanes)
    kernel = GemmKernel(
        lanes,
        vectors,
        sparse,
        activation_of(node),
        16 if features <= 0xFFFF else 32,
        dtype,
        streams=STREAMS if ctx.target.fetches_ahead else 1,
    )
    kept_weight = np.ascontiguousarray(store(stored, dtype, f"{node.name} (Gemm)"))
    full_bias = np.zeros(units * rows, np.float32)
    full_bias[:outputs] = bias
    work = Work(
        in_shape=(features,),
        out_shape=(outputs,),
        macs=macs,
        dense_macs=weight.size,
        weights_bytes=kept_weight.nbytes + full_bias.nbytes,
        index_bytes=index.nbytes + offset.nbytes,
        group=rows,
        weights_stored=str(kept_weight.dtype),
        reason=reason,
    )
    data = {"weight": kept_weight, "bias": full_bias, "index": index, "offset": offset}
    params = {"features": features, "outputs": outputs, "units": units}
    tasks = units if macs > 50_000 else 1
    params["tasks"] = tasks
    params["grain"] = max(1, tasks // 32)
    return [Step(node.name, "Gemm", kernel, tuple(inputs), output, work, data, params, tasks)]


GEMM = Operator(_wants, _emit, planar_output=True)
