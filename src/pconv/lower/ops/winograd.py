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
    Taps,
    WinogradInputKernel,
    WinogradOutputKernel,
    WinogradWeightsKernel,
)
from pconv.lower.layout import planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.lower.winograd import Winograd, spacing


def weights_to_points(layer: str, way: Winograd, stored: Fkw, patterns: tuple[Taps, ...], lanes: int) -> Step:
    """Build the step that transforms a layer's weights, when the model is opened."""
    taps, count = stored.weight.shape
    points = Tensor(f"{layer}:weights", way.points, planar(1, count))
    kernel = WinogradWeightsKernel(way.size, patterns, lanes, way.skips, way.taps)
    data = {"scale": stored.weight} | ({"shape": stored.shape} if stored.shape.size else {})
    tasks = chunks(count // lanes, count * way.points)
    params = {"planes": count // lanes, "tasks": tasks}
    work = Work((taps, count), (way.points, count))
    return Step(points.name, "Winograd", kernel, (), points, work, data, params, tasks, once=True)


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
    return _step(points.name, key, kernel, (source,), points, channels, points, {})


def products_of(layer: str, way: Winograd, bare: ConvKernel, points: Tensor, output: Tensor) -> Tensor:
    """Return where the products of a layer's points stand: behind these, where both are in the scratch."""
    return _points(f"{layer}:products", way, bare, output.channels, points.nbytes)


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
    """Build the step that transforms products to a layer's output, with all that follows a convolution."""
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
    return _step(f"{layer}:inverse", key, kernel, inputs, output, output.channels, products, {"shift": bias})


def in_strips(way: Winograd, bare: ConvKernel, before: Step, conv: Step, after: Step) -> Step:
    """Put the three steps of a layer together: strip by strip, in a thread's scratch."""
    weights, (_, *residual) = conv.inputs[1], after.inputs
    return replace(
        conv,
        inputs=(*before.inputs, weights, *residual),
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
    return Step(name, "Winograd", kernel, inputs, output, Work(before, after, key=key), data, params, tasks)
