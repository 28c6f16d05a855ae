"""Turn a convolution whose taps read mostly padding into a sum of 1x1 convolutions, each of the part that a tap reads.

Conv(3x3, dilation 24, pads 24) of an image 33x33      the middle tap reads all of it, the others 9 rows or columns:
                                                       a quarter of the multiplications are left

    x -> Subsample -> Conv(tap) -> Pad -> Add -> Add ... ----.
    x --------------------------------------------------> Conv(middle tap, bias, activation)

Where each phase of an image has two positions at most, this is less than the phases side by side (`part_dilated`) are,
unless a filter reads so few channels that the copies around each tap are most of it. Source: ours.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir

from ..edit import get, ints, is_op, make_node, put, set_weight, source, weight
from ..site import Array, shape_of

MOST = 2
"""Positions of a phase."""
MANY = 16
"""Channels that a filter reads, from which on products cost more than the copies around each tap."""
Read = tuple[int, int, int]
"""A tap, and the outputs for which it reads the image, not its padding: from, to."""


def split_dilated(graph: ir.Graph) -> None:
    """Split every such convolution of many channels that has stride 1, keeps its image's size, and stands alone."""
    for node in list(graph):
        if not is_op(node, "Conv") or max(ints(node, "dilations")) == 1 or ints(node, "strides") != (1, 1):
            continue
        image, (_, channels, *taps) = shape_of(source(node))[2:], weight(node, 1).shape
        sides = zip(image, taps, ints(node, "dilations"), strict=True)
        few = all(size <= MOST * apart for size, count, apart in sides if count > 1)
        alone = len(node.inputs) == 3 and not get(node, "pool")
        if few and channels >= MANY and alone and shape_of(node.outputs[0])[2:] == image:
            _split(graph, node, list(product(*(_reads(node, axis) for axis in (0, 1)))))


def _reads(node: ir.Node, axis: int) -> Iterator[Read]:
    """Give the taps along an axis that read any of the image."""
    size, taps = shape_of(source(node))[2 + axis], weight(node, 1).shape[2 + axis]
    for tap in range(taps):
        at = tap * ints(node, "dilations")[axis] - ints(node, "pads")[axis]
        if abs(at) < size:
            yield tap, max(0, -at), min(size, size - at)


def _split(graph: ir.Graph, node: ir.Node, reads: Sequence[tuple[Read, ...]]) -> None:
    kernel, dilations, pads = weight(node, 1), ints(node, "dilations"), ints(node, "pads")
    (channels, *image), filters = shape_of(source(node))[1:], kernel.shape[0]
    whole = (1, filters, *image)
    middle = [read for read in reads if [axis[1:] for axis in read] == [(0, size) for size in image]]
    if len(middle) != 1:
        return

    def add(
        op: str, name: str, tensors: list[ir.Value], shape: Sequence[int], *weights: Any, **attrs: Any
    ) -> ir.Value:
        made = make_node(graph, op, f"{node.name}:{name}", tensors, shape, *weights, **attrs)
        graph.insert_before(node, made)
        return made.outputs[0]

    total = None
    for rows, columns in reads:
        if (rows, columns) == middle[0]:
            continue
        (y, top, bottom), (x, left, right) = rows, columns
        size, tap = (bottom - top, right - left), f"{y}_{x}"
        starts = (0, top + y * dilations[0] - pads[0], left + x * dilations[1] - pads[1])
        around = (top, left, image[0] - bottom, image[1] - right)
        sizes = (channels, *size)
        read = add("Subsample", f"read{tap}", [source(node)], (1, *sizes), starts=starts, sizes=sizes)
        weights = {"weight": _tap(kernel, y, x), "bias": np.zeros(filters, np.float32)}
        part = add("Conv", f"tap{tap}", [read], (1, filters, *size), weights, group=get(node, "group"))
        part = add("Pad", f"whole{tap}", [part], whole, pads=around)
        total = part if total is None else add("Add", f"sum{tap}", [total, part], whole)
    set_weight(node, 1, _tap(kernel, middle[0][0][0], middle[0][1][0]))
    put(node, dilations=(1, 1), pads=(0, 0, 0, 0))
    if total is not None:
        node.resize_inputs(4)
        node.replace_input_with(3, total)


def _tap(kernel: Array, y: int, x: int) -> Array:
    return np.ascontiguousarray(kernel[:, :, y : y + 1, x : x + 1])
