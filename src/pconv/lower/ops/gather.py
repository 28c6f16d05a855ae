"""Copies through a table: relayout, concat, flatten, slice, pad, pixel shuffle.

    output[c][i] = source[base[c] + table[i]]      (table[i] = -1, or base[c] = -1: zero)

One micro-kernel serves them all, between any two layouts; the output's halo is part of its table. Blocks have many
zeros, at their rims: these are in a list of their own, `holes`, and the table, which then is never -1, is read unseen.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pconv.errors import UnsupportedError
from pconv.graph.nodes import NodeView
from pconv.graph.shapes import MOST_ELEMS
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import GatherKernel, InterleaveKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work


def gather(
    name: str,
    op: str,
    source: Tensor,
    output: Tensor,
    output_layout: Layout,
    base: NDArray[np.int64],
    pixels: NDArray[np.int64],
    first_channel: int = 0,
) -> Step:
    """Build the step that fills `base.size` planes of `output`, from plane `first_channel` on.

    `pixels` gives for each output image element (row-major) the source element, counted from the plane's base, or -1;
    `base` the source element where each output plane begins, or -1. Where but one of the two holds several images side
    by side, the step copies one of these, the table that of the first.
    """
    if int(base.max(initial=0)) + int(pixels.max(initial=0)) > MOST_ELEMS:
        raise UnsupportedError(
            f"{name} ({op}): reads {source.channels} planes of {source.layout.height}x{source.layout.width}; allowed "
            f"are up to {MOST_ELEMS:,} values. Make the images smaller."
        )
    folds = source.layout.images < output_layout.images
    places = output_layout.image_table() if folds else output_layout.source_table()
    table = np.where(places >= 0, pixels[np.maximum(places, 0)], -1).astype(np.int32)
    planes = int(base.size)
    tasks = chunks(planes, planes * output_layout.plane_elems)
    data = {"base": base.astype(np.int32), "table": table}
    params = {"planes": planes, "first": first_channel * output_layout.plane_elems, "tasks": tasks}
    if not output_layout.planar:
        holes = np.flatnonzero(table < 0)
        if folds:
            vector, lane = np.divmod(holes, output_layout.image_lanes)
            holes = vector * output_layout.lanes + lane
        data |= {"table": np.maximum(table, 0), "holes": holes.astype(np.int32)}
        params["hole_count"] = holes.size
    return Step(
        name=name,
        op=op,
        kernel=GatherKernel(source.layout, output_layout),
        inputs=(source,),
        output=output,
        work=Work(
            (source.channels, source.layout.height, source.layout.width), _shape(planes, output_layout)
        ),
        data=data,
        params=params,
        tasks=tasks,
    )


def plane_starts(source: Tensor) -> NDArray[np.int64]:
    """Return the element where each plane of a tensor begins."""
    return np.arange(source.channels) * source.layout.plane_elems


def relayout(name: str, source: Tensor, output: Tensor, first_channel: int = 0) -> Step:
    """Build the step that copies a tensor into another layout, or just its planes where the layouts agree."""
    kernel = _whole_planes(source.layout, output.layout)
    if kernel is not None:
        tasks = chunks(source.channels, source.channels * output.layout.plane_elems)
        shape = _shape(source.channels, output.layout)
        return Step(
            name=name,
            op="Copy" if source.layout == output.layout else "Relayout",
            kernel=kernel,
            inputs=(source,),
            output=output,
            work=Work(shape, shape),
            params={
                "planes": source.channels,
                "first": first_channel * output.layout.plane_elems,
                "tasks": tasks,
            },
            tasks=tasks,
        )
    pixels = source.layout.element_table().astype(np.int64)
    if output.layout.images == 1:
        pixels = pixels[: source.layout.height * source.layout.width]
    return gather(
        name, "Relayout", source, output, output.layout, plane_starts(source), pixels, first_channel
    )


def _whole_planes(source: Layout, output: Layout) -> GatherKernel | InterleaveKernel | None:
    """Return the kernel that needs no table; None where there is none for these layouts."""
    if source == output:
        return GatherKernel(source, output, plain=True)
    return InterleaveKernel(source, output) if InterleaveKernel.fits(source, output) else None


def _shape(planes: int, layout: Layout) -> tuple[int, ...]:
    return (planes, layout.height, layout.width)


def _as_it_is(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [None] * len(node.tensors)


def _flatten(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    dense = planar(source.layout.height, source.layout.width)
    pixels = source.layout.element_table().astype(np.int64)
    return [gather(node.name, "Flatten", source, output, dense, plane_starts(source), pixels)]


def _want_output(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [output] * len(node.tensors)


def _concat(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    steps = []
    first = 0
    for i, source in enumerate(inputs):
        steps.append(relayout(f"{node.name}:{i}", source, output, first))
        first += source.channels
    return steps


def _subsample(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    c0, y0, x0 = node.ints("starts")
    sy, sx = node.ints("steps")
    planes, height, width = node.ints("sizes")
    before, after = node.ints("channel_pad")
    y = y0 + sy * np.arange(height)
    x = x0 + sx * np.arange(width)
    grid = source.layout.element_table().astype(np.int64)
    grid = grid.reshape(-1, source.layout.height, source.layout.width)
    pixels = grid[:, y[:, None], x].ravel()
    taken = plane_starts(source)[c0 : c0 + planes]
    base = np.concatenate([np.full(before, -1), taken, np.full(after, -1)])
    return [gather(node.name, "Subsample", source, output, output.layout, base, pixels)]


def _pad(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    top, left, bottom, right = node.ints("pads")
    height, width = source.layout.height, source.layout.width
    grid = source.layout.element_table().astype(np.int64).reshape(height, width)
    around = ((top, bottom), (left, right))
    if (mode := node.text("mode")) == "constant":
        pixels = np.pad(grid, around, constant_values=-1)
    else:
        pixels = np.pad(grid, around, mode)  # type: ignore[call-overload]
    return [gather(node.name, "Pad", source, output, output.layout, plane_starts(source), pixels.ravel())]


def _depth_to_space(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    r = node.integer("blocksize")
    planes = source.channels // (r * r)
    grid = source.layout.element_table().astype(np.int64).reshape(source.layout.height, source.layout.width)
    crd = node.text("mode") == "CRD"
    step = (1 if crd else planes) * source.layout.plane_elems
    pixels = np.empty((source.layout.height * r, source.layout.width * r), np.int64)
    for i in range(r):
        for j in range(r):
            pixels[i::r, j::r] = grid + (i * r + j) * step
    base = plane_starts(source)[:: r * r if crd else 1][:planes]
    return [gather(node.name, "DepthToSpace", source, output, output.layout, base, pixels.ravel())]


def _shuffle(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    source = inputs[0]
    pixels = source.layout.element_table().astype(np.int64)
    base = plane_starts(source).reshape(node.integer("group"), -1).T.ravel()
    return [gather(node.name, "ChannelShuffle", source, output, output.layout, base, pixels)]


FLATTEN = Operator(_as_it_is, _flatten, planar_output=True)
CONCAT = Operator(_want_output, _concat)
SUBSAMPLE = Operator(_as_it_is, _subsample, planar_result=True)
PAD = Operator(_as_it_is, _pad)
DEPTH_TO_SPACE = Operator(_as_it_is, _depth_to_space)
CHANNEL_SHUFFLE = Operator(_as_it_is, _shuffle)
