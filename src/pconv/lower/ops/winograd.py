"""The steps around the multiplications of a convolution in Winograd's way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.lower.context import chunks
from pconv.lower.fkw import Fkw
from pconv.lower.kernels import (
    ConvKernel,
    WinogradInputKernel,
    WinogradListsKernel,
    WinogradOutputKernel,
    WinogradWeightsKernel,
)
from pconv.lower.layout import planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.reorder import Shapes
from pconv.lower.winograd import SLICES, Winograd, point_lists, spacing


def prepare_weights(layer: str, way: Winograd, stored: Fkw, kernel: ConvKernel, shapes: Shapes) -> list[Step]:
    """Build the steps that run when the model is opened: each point's list of kernels, and its weights."""
    (taps, count), patterns = stored.weight.shape, shapes.patterns
    lanes, dtype = kernel.output.lanes, kernel.output.dtype
    points = Tensor(f"{layer}:weights", way.points, replace(planar(1, count), dtype=dtype))
    transform = WinogradWeightsKernel(way.size, patterns, lanes, way.skips, way.taps, dtype)
    data = {"scale": stored.weight} | ({"shape": stored.shape} if stored.shape.size else {})
    tasks = chunks(count // lanes, count * way.points)
    params = {"planes": count // lanes, "tasks": tasks}
    work = Work((taps, count), (way.points, count))
    listed = [_lists(layer, way, stored, kernel, shapes)] if way.skips else []
    inputs = tuple(step.output for step in listed)
    for step in listed:
        params |= {"apart": step.params["slots"], "first": step.params["words"] * step.tasks}
    return [
        *listed,
        Step(points.name, "Winograd", transform, inputs, points, work, data, params, tasks, once=True),
    ]


def _lists(layer: str, way: Winograd, stored: Fkw, kernel: ConvKernel, shapes: Shapes) -> Step:
    """Build the step that lists the kernels of each point; codegen/c/point_lists.py says how they lie in memory."""
    patterns = shapes.patterns
    count = len(point_lists(way.size, patterns, way.taps)[0])
    slots = int(stored.slot[-1]) if stored.slot is not None else int(stored.offset[-1]) * stored.group
    if stored.uniform:
        slots *= stored.groups
    words = 2 * stored.offset.size + -(-stored.run.size // 2) + -(-stored.index.size // 2)
    output = Tensor(f"{layer}:lists", 1, planar(1, count * (words + slots)))
    spec = WinogradListsKernel(
        way.size, patterns, kernel.group, kernel.mixed, stored.uniform, kernel.block, kernel.span, way.taps
    )
    data: dict[str, NDArray[Any]] = {
        "index": stored.index,
        "run": stored.run,
        "offset": stored.offset,
        "shape": stored.shape,
    }
    if stored.slot is not None:
        data["slot"] = stored.slot
    params = {
        "groups": stored.groups,
        "channels": shapes.ids.shape[1],
        "slots": slots,
        "words": words,
    }
    work = Work((1, slots), (count, slots))
    return Step(output.name, "Winograd", spec, (), output, work, data, params, count, once=True)


def to_points(layer: str, key: str, way: Winograd, bare: ConvKernel, source: Tensor) -> Step:
    """Build the step that transforms a layer's input."""
    channels = source.channels * way.stride**2
    points = _points(f"{layer}:transform", way, bare, channels, 0)
    kernel = WinogradInputKernel(
        source.layout,
        points.layout,
        bare.computed,
        way.size,
        bare.pads,
        bare.by_lane,
        way.taps,
        way.stride,
        way.strip,
    )
    return _step(points.name, "Winograd", key, kernel, (source,), points, channels, points, {})


def products_of(layer: str, way: Winograd, bare: ConvKernel, points: Tensor, output: Tensor) -> Tensor:
    """Return where the products of a layer's points stand: behind these, where both are in the scratch."""
    return _points(f"{layer}:products", way, bare, output.channels, points.nbytes)


def sums_of_slices(layer: str, bare: ConvKernel, output: Tensor) -> Tensor:
    """Return where the sums of slices of a layer's channels wait for `from_points`."""
    return _points(f"{layer}:slices", SLICES, bare, output.channels, 0)


def from_points(
    layer: str,
    key: str,
    way: Winograd,
    bare: ConvKernel,
    bias: NDArray[np.float32],
    products: Tensor,
    residual: Sequence[Tensor],
    output: Tensor,
) -> Step:
    """Build the step that transforms products, or slices' sums, to a layer's output, with all that follows them."""
    kernel = WinogradOutputKernel(
        products.layout,
        output.layout,
        bare.computed,
        bare.residual,
        way.size,
        bare.activation,
        bare.pool,
        bare.by_lane,
        way.taps,
        way.strip,
    )
    inputs = (products, *residual)
    name, op = (f"{layer}:sum", "Sum") if way == SLICES else (f"{layer}:inverse", "Winograd")
    return _step(name, op, key, kernel, inputs, output, output.channels, products, {"shift": bias})


def in_strips(way: Winograd, bare: ConvKernel, before: Step, conv: Step, after: Step) -> Step:
    """Put the three steps of a layer together: strip by strip, in a thread's scratch."""
    prepared, (_, *residual) = conv.inputs[1:], after.inputs
    return replace(
        conv,
        inputs=(*before.inputs, *prepared, *residual),
        output=after.output,
        data={**conv.data, **after.data},
        params={
            **conv.params,
            "grain": 1,
            "each": conv.tasks,
            "strip": way.strip,
            "tiles": way.vectors(bare.computed),
        },
        tasks=way.strips(bare.computed),
        around=(before, after),
    )


def _points(name: str, way: Winograd, bare: ConvKernel, channels: int, offset: int) -> Tensor:
    points = Tensor(name, way.points * spacing(channels), way.layout(bare.computed))
    return replace(points, space="scratch", offset=offset) if way.strip else points


def _step(
    name: str,
    op: str,
    key: str,
    kernel: WinogradInputKernel | WinogradOutputKernel,
    inputs: tuple[Tensor, ...],
    output: Tensor,
    planes: int,
    points: Tensor,
    data: Mapping[str, NDArray[Any]],
) -> Step:
    tasks = chunks(planes, 2 * points.channels * points.layout.plane_elems)
    before, after = ((t.channels, t.layout.height, t.layout.width) for t in (inputs[0], output))
    params = {"planes": planes, "tasks": tasks, "apart": spacing(planes)}
    return Step(name, op, kernel, inputs, output, Work(before, after, key=key), data, params, tasks)
