"""Convolution: read the zeros, choose sparse or dense and a tile, store the weights as FKW."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import UnsupportedError
from pconv.graph.nodes import NodeView
from pconv.lower.choice import Choice, layer_key, ranked_choices, reason, runner_up
from pconv.lower.context import Context, Operator, activation_of
from pconv.lower.fkw import Fkw, Walk, pack, pack_points
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import Layout, lane_source, natural
from pconv.lower.ops.pool import pool_through_table
from pconv.lower.ops.winograd import (
    from_points,
    in_strips,
    prepare_weights,
    products_of,
    sums_of_slices,
    to_points,
)
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.reorder import mix_filters, order_filters
from pconv.lower.schedule import Schedule, bound
from pconv.lower.storage import store
from pconv.lower.tiles import tiles
from pconv.lower.winograd import LONG, SLICES, phases, strided

MIN_TASK_CYCLES = 30_000
MIN_SHARED_CYCLES = 50_000
"""Below this, to bring half of the input and output from core to core takes longer than half of the work."""
MAX_TASKS = 32
MAX_SURPLUS = 1.15
"""Vectors over the fewest possible that a convolution may compute to pool them itself; a step for it costs as much."""


def _source_layout(node: NodeView, ctx: Context, output: Layout) -> Layout:
    """Return the input layout. Winograd's tiles of every second row reach one row farther: it counts for nothing."""
    kh, kw = node.shapes[node.inputs[1]][2:]
    (sy, sx), (dy, dx) = node.ints("strides"), node.ints("dilations")
    if ctx.target.lanes > 1 and strided((kh, kw), (sy, sx), (dy, dx), node.integer("group")):
        kh, kw = 2 * LONG, 2 * LONG
    window = (kh - 1) * dy + 1, (kw - 1) * dx + 1
    return lane_source(output, node.in_shape[2:], window, (sy, sx), node.ints("pads"))


def _computed(node: NodeView, output: Layout) -> tuple[Layout, bool]:
    """Return the layout that the convolution computes, without halo, and whether it pools it into the output itself.

    Then its blocks are twice the output's, unless that leaves too many lanes without work.
    """
    bare = replace(output, top=0, left=0, bottom=0, right=0)
    if not node.text("pool"):
        return bare, False
    least = natural(2 * output.height, 2 * output.width, output.lanes, output.dtype, images=output.images)
    pooled = replace(
        bare,
        height=2 * output.height,
        width=2 * output.width,
        block_h=2 * output.block_h,
        block_w=2 * output.block_w,
    )
    fused = pooled.block_h * pooled.block_w <= MAX_SURPLUS * least.block_h * least.block_w
    return (pooled, True) if fused else (least, False)


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    computed, _ = _computed(node, output)
    source = _source_layout(node, ctx, computed)
    return [source] if node.residual is None else [source, computed]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    computed, fused = _computed(node, output.layout)
    if not node.text("pool") or fused:
        return _convolve(node, ctx, inputs, output, fused)
    between = Tensor(f"{output.name}:conv", output.channels, computed)
    conv = _convolve(node, ctx, inputs, between, False)
    return [*conv, pool_through_table(f"{node.name}:pool", "max", between, output, (2, 2), (2, 2))]


def _bare(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor, pool: bool) -> ConvKernel:
    """Return what a layer's micro-kernel has to do, before it is chosen how."""
    kh, kw = node.weights[1].shape[2:]
    (sy, sx), (dy, dx) = node.ints("strides"), node.ints("dilations")
    return ConvKernel(
        source=inputs[0].layout,
        output=output.layout,
        residual=inputs[1].layout if node.residual is not None else None,
        size=(kh, kw),
        stride=(sy, sx),
        dilation=(dy, dx),
        pads=(node.ints("pads")[0], node.ints("pads")[1]),
        patterns=(((0, 0),),),
        group=1,
        tile=(1, 1),
        uniform=False,
        activation=activation_of(node),
        pool=pool,
        by_lane=ctx.target.fma_by_lane,
        ahead=ctx.target.fma_by_lane and ctx.target.in_order,
    )


def _convolve(
    node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor, pool: bool
) -> list[Step]:
    weight, bias = node.weights[1], node.weights[2]
    bare = _bare(node, ctx, inputs, output, pool)
    if max(weight.shape[0], inputs[0].channels) >= 0xFFFF:
        raise UnsupportedError(
            f"{node.name} (Conv): {weight.shape[0]} filters on {inputs[0].channels} channels are unsupported; "
            "allowed up to 65534 of each. Split the layer."
        )
    forced = ctx.is_dense(node)
    choices = ranked_choices(bare, weight, node.integer("group"), ctx.target, forced)
    key = layer_key(bare, choices)
    choice, note = ctx.pick(key, choices)
    kernel = choice.schedule.kernel
    stored, macs = _store(choice, store(weight, ctx.target.dtype, f"{node.name} (Conv)"), bias, bare.computed)
    work = Work(
        in_shape=node.in_shape[1:],
        out_shape=node.out_shape[1:],
        kernel=bare.size,
        stride=bare.stride,
        macs=macs,
        dense_macs=weight.size * bare.computed.height * bare.computed.width,
        weights_bytes=stored.weights_bytes,
        index_bytes=stored.index_bytes,
        patterns=len(kernel.patterns),
        group=kernel.group,
        weights_stored=str(stored.weight.dtype),
        reason=reason(choice, choices, weight, forced, note),
        runner_up=runner_up(choice, choices),
        bound=bound(choice.schedule, ctx.target, inputs[0].channels, choice.shapes.kernels),
        modelled_cycles=choice.schedule.cycles / bare.output.images,
        key=key,
    )
    parts, grain = _shares(choice.schedule, stored.groups)
    params = {
        "groups": stored.groups,
        "parts": parts,
        "planes": output.channels,
        "channels": choice.shapes.ids.shape[1],
        "grain": grain,
    }
    tasks, data = _tile_count(kernel) * parts, _arrays(choice, stored)
    conv = Step(node.name, "Conv", kernel, tuple(inputs), output, work, data, params, tasks)
    return _with_transforms(conv, choice, stored, bare, bias)


def _with_transforms(
    conv: Step, choice: Choice, stored: Fkw, bare: ConvKernel, bias: NDArray[np.float32]
) -> list[Step]:
    """Return a convolution with what stands around its multiply-adds: the sum of slices, or Winograd's transforms."""
    kernel, way = choice.schedule.kernel, choice.winograd
    layer, key, output, (source, *residual) = conv.name, conv.work.key, conv.output, conv.inputs
    if kernel.slices > 1:
        sums = sums_of_slices(layer, bare, output)
        after = from_points(layer, key, SLICES, bare, bias, sums, residual, output)
        return [replace(conv, inputs=(source,), output=sums), after]
    if way is None:
        return [conv]
    prepared = prepare_weights(layer, way, stored, kernel, choice.shapes)
    before = to_points(layer, key, way, bare, source)
    products = products_of(layer, way, bare, before.output, output)
    operands = (before.output, *(step.output for step in reversed(prepared)))
    conv = replace(conv, inputs=operands, output=products)
    after = from_points(layer, key, way, bare, bias, products, residual, output)
    if way.strip:
        return [*prepared, in_strips(way, bare, before, conv, after)]
    return [*prepared, before, conv, after]


def _store(
    choice: Choice, weight: NDArray[Any], bias: NDArray[np.float32], computed: Layout
) -> tuple[Fkw, int]:
    """Return a layer's weights as its micro-kernel reads them, and how many multiply-adds it executes."""
    kernel, shapes, way = choice.schedule.kernel, choice.shapes, choice.winograd
    walk = Walk.of(kernel)
    order = mix_filters(shapes, kernel.group) if kernel.mixed else order_filters(choice.members, kernel.group)
    if way is None:
        added = np.zeros_like(bias) if kernel.slices > 1 else bias
        return pack(
            weight, added, shapes, order, walk
        ), shapes.kernels * shapes.taps * computed.height * computed.width
    apart = weight if way.stride == 1 else phases(weight)[0]
    return pack_points(apart, shapes, order, walk, way.skips), way.products(computed, shapes)


def _arrays(choice: Choice, stored: Fkw) -> dict[str, NDArray[Any]]:
    """Return what the micro-kernel reads besides its input; Winograd's weights are made when the model is opened."""
    arrays: dict[str, NDArray[Any]] = {
        "bias": stored.bias,
        "index": stored.index,
        "offset": stored.offset,
        "run": stored.run,
        "order": stored.order,
    }
    if choice.schedule.kernel.by_table:
        arrays["shape"] = stored.shape
    if stored.slot is not None:
        arrays["slot"] = stored.slot
    if choice.winograd is None:
        arrays["weight"] = stored.weight
    return arrays


def _shares(schedule: Schedule, groups: int) -> tuple[int, int]:
    """Return into how many parts the filters of a tile are cut, and how many tasks a thread takes at least."""
    kernel, tile_count = schedule.kernel, _tile_count(schedule.kernel)
    if schedule.cycles < MIN_SHARED_CYCLES:
        return 1, tile_count
    wanted = int(min(MAX_TASKS, schedule.cycles // MIN_TASK_CYCLES))
    parts = min(-(-groups // kernel.span), max(kernel.parts, -(-wanted // tile_count)))
    return parts, max(1, tile_count * parts // (2 * MAX_TASKS))


def _tile_count(kernel: ConvKernel) -> int:
    return kernel.points * kernel.slices * len(tiles(kernel))


CONV = Operator(_wants, _emit)
