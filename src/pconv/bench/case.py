"""A micro-kernel's case: one small layer as data, and the graph of any number of them side by side."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import GraphView, NodeView, Shape
from pconv.graph.spec import OPS, Attrs, AttrValue
from pconv.masks import magnitude_masks
from pconv.recipe import LayerRule

PROBE = 2


@dataclass(frozen=True, slots=True)
class Sparsity:
    """What a layer keeps: 1 of `keep_one_of` kernels in each filter, each in a shape of `patterns`.

    `group` filters share both; `removed` filters, from the first on, keep nothing.
    """

    keep_one_of: float = 1.0
    patterns: str | None = None
    group: int = 1
    removed: int = 0

    def mask(self, weights: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Choose the kept weights by magnitude."""
        keep = max(1, round(weights.shape[1] / self.keep_one_of))
        rule = LayerRule(weights.shape, keep, self.patterns, self.group)
        mask = magnitude_masks({"": weights}, {"": rule})[""].copy()
        mask[: self.removed] = False
        return mask


DENSE = Sparsity()


@dataclass(frozen=True, slots=True)
class Case:
    """One layer. `image` is empty for a matrix row; `kernel` and `filters` are of its weights, if it has any.

    `before` is an activation put before the layer: without one it reads the model's input where that lies,
    with one a blocks layout. `tensors` counts its run-time inputs, the second of which has the shape `other` if that is
    not the first one's. A Resize copies `filters` times, or interpolates to an image of `kernel`.
    """

    name: str
    op: str
    channels: int = 0
    image: tuple[int, ...] = ()
    filters: int = 0
    kernel: tuple[int, ...] = ()
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    sparsity: Sparsity = DENSE
    tensors: int = 1
    before: str = ""
    other: tuple[int, ...] = ()

    @property
    def in_shape(self) -> Shape:
        """Shape of each run-time input."""
        return (1, self.channels, *self.image)


def network(cases: Sequence[Case], probe: bool = False) -> GraphView:
    """Return one graph of all cases, each with inputs and an output of its own.

    With `probe` every image is also averaged over 5x5 windows, as a second output: that reads the halo which
    the case's micro-kernel leaves around its blocks.
    """
    builder = NetworkBuilder()
    for case in cases:
        residual = case.op == "Conv" and case.tensors == 2
        shapes = [case.in_shape, out_shape(case)] if residual else [case.in_shape] * case.tensors
        shapes[1:] = [(1, *case.other)] if case.other else shapes[1:]
        tensors = [builder.input(f"{case.name}.x{i}", shape) for i, shape in enumerate(shapes)]
        if case.before:
            attrs: Attrs = {"activation": case.before, "act_min": -1.0, "act_max": 1.0}
            tensors = [builder.layer(Case(f"{x}.before", "Activation", attrs=attrs), [x]) for x in tensors]
        builder.outputs.append(builder.layer(case, tensors))
        if probe and case.image and len(builder.shapes[case.name]) == 4:
            size = 2 * PROBE + 1
            window: Attrs = {"kernel_shape": (size, size), "pads": (PROBE,) * 4, "count_include_pad": 1}
            average = Case(f"{case.name}.probe", "AveragePool", attrs=window)
            builder.outputs.append(builder.layer(average, [case.name]))
    return builder.graph("cases")


class NetworkBuilder:
    """Put cases together, each on any tensors that are there; `outputs` names what is returned."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.nodes: list[NodeView] = []
        self.shapes: dict[str, Shape] = {}

    def input(self, name: str, shape: Shape) -> str:
        """Add an input of the model."""
        self.inputs.append(name)
        self.shapes[name] = shape
        return name

    def layer(self, case: Case, tensors: Sequence[str]) -> str:
        """Add a case that reads `tensors`, whose shapes count; its output has the case's name, which is returned."""
        _, channels, *image = self.shapes[tensors[0]] if tensors else case.in_shape
        placed = replace(case, channels=channels, image=tuple(image), tensors=len(tensors))
        name, weights, out = case.name, _weights(placed), out_shape(placed)
        if case.op == "Concat":
            out = (1, sum(self.shapes[x][1] for x in tensors), *image)
        constants = [f"{name}.w{i}" for i in range(len(weights))]
        inputs = (*tensors[:1], *constants, *tensors[1:])  # a residual stands behind the weights
        self.shapes |= {n: w.shape for n, w in zip(constants, weights, strict=True)} | {name: out}
        node = NodeView(
            name=name,
            op=case.op,
            inputs=inputs,
            output=name,
            shapes=MappingProxyType({n: self.shapes[n] for n in (*inputs, name)}),
            attrs=MappingProxyType(OPS[case.op].attrs | dict(case.attrs)),
            weights=MappingProxyType(dict(enumerate(weights, len(tensors[:1])))),
        )
        self.nodes.append(node)
        return name

    def graph(self, name: str) -> GraphView:
        """Return the network."""
        return GraphView(
            name=name,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            nodes=tuple(self.nodes),
            shapes=MappingProxyType(self.shapes),
            metadata=MappingProxyType({}),
        )


def _weights(case: Case) -> list[NDArray[np.float32]]:
    """Draw a case's constants, always the same ones; sums of products keep unit scale."""
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    if case.op == "Affine":
        return [random.standard_normal(case.channels, np.float32) for _ in range(2)]
    if case.op == "Constant":
        return [random.standard_normal(case.in_shape, np.float32)]
    if case.op == "PRelu":
        return [random.standard_normal(case.channels, np.float32)]
    if case.op == "Resize":
        sizes = zip(out_shape(case)[2:], case.image, strict=True)
        return [_nearest(*size) if case.filters else _linear(*size) for size in sizes]
    if case.op not in ("Conv", "Gemm"):
        return []
    groups = case.attrs.get("group", 1)
    assert isinstance(groups, int)
    weight = random.standard_normal((case.filters, case.channels // groups, *case.kernel), np.float32)
    weight = np.where(case.sparsity.mask(weight), weight, np.float32(0))
    terms = np.count_nonzero(weight) / case.filters
    return [weight / np.float32(max(terms, 1) ** 0.5), random.standard_normal(case.filters, np.float32)]


def _nearest(out: int, size: int) -> NDArray[np.float32]:
    """Return what copies each of `size` positions as often as there is room."""
    return np.asarray(np.arange(out)[:, None] * size // out == np.arange(size), np.float32)


def _linear(out: int, size: int) -> NDArray[np.float32]:
    """Return what interpolates `size` positions at `out`, from the first to the last."""
    x = np.linspace(0, size - 1, out)[:, None]
    return np.asarray(np.maximum(0, 1 - np.abs(x - np.arange(size))), np.float32)


def out_shape(case: Case) -> Shape:
    """Give the shape of a case's output."""
    attrs: Mapping[str, AttrValue] = OPS[case.op].attrs | dict(case.attrs)

    def ints(name: str) -> tuple[int, ...]:
        value = attrs[name]
        assert isinstance(value, tuple)
        return value

    def windows(kernel: tuple[int, ...], dilations: tuple[int, ...] = (1, 1)) -> tuple[int, ...]:
        pads, strides = ints("pads"), ints("strides")
        return tuple(
            (case.image[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
            for i in (0, 1)
        )

    match case.op:
        case "Conv":
            image = windows(case.kernel, ints("dilations"))
            return (1, case.filters, *(size // 2 if attrs["pool"] else size for size in image))
        case "Gemm":
            return (1, case.filters)
        case "MaxPool" | "AveragePool":
            return (1, case.channels, *windows(ints("kernel_shape")))
        case "GlobalAveragePool":
            return (1, case.channels, 1, 1)
        case "MatMul":
            m, n = case.image[bool(attrs["transpose_a"])], case.other[1 if attrs["transpose_b"] else 2]
            return (1, case.channels, m, n)
        case "ArgMax":
            return (1, 1, *case.image)
        case "Flatten":
            return (1, prod(case.in_shape))
        case "Concat":
            return (1, case.channels * case.tensors, *case.image)
        case "DepthToSpace":
            block = attrs["blocksize"]
            assert isinstance(block, int)
            return (1, case.channels // block**2, case.image[0] * block, case.image[1] * block)
        case "Subsample":
            channels, *sizes = ints("sizes")
            return (1, channels + sum(ints("channel_pad")), *sizes)
        case "Resize":
            return (1, case.channels, *(case.kernel or (side * case.filters for side in case.image)))
        case "Transpose":
            return tuple(case.in_shape[axis] for axis in ints("perm"))
        case "Pad":
            top, left, bottom, right = ints("pads")
            return (1, case.channels, case.image[0] + top + bottom, case.image[1] + left + right)
        case _:
            return case.in_shape
