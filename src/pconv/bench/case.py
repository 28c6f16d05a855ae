"""A micro-kernel's case: one small layer as data, and the graph of any number of them side by side."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pconv.graph.nodes import GraphView, NodeView, Shape
from pconv.graph.spec import OPS, AttrValue
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
    with one a blocks layout. `tensors` counts its run-time inputs.
    """

    name: str
    op: str
    channels: int
    image: tuple[int, ...] = ()
    filters: int = 0
    kernel: tuple[int, ...] = ()
    attrs: Mapping[str, AttrValue] = field(default_factory=dict)
    sparsity: Sparsity = DENSE
    tensors: int = 1
    before: str = ""

    @property
    def in_shape(self) -> Shape:
        """Shape of each run-time input."""
        return (1, self.channels, *self.image)


def network(cases: Sequence[Case], probe: bool = False) -> GraphView:
    """Return one graph of all cases, each with inputs and an output of its own.

    With `probe` every image is also averaged over 5x5 windows, as a second output: that reads the halo which
    the case's micro-kernel leaves around its blocks.
    """
    builder = _Builder()
    for case in cases:
        builder.add(case, probe)
    return GraphView(
        name="cases",
        inputs=tuple(builder.inputs),
        outputs=tuple(builder.outputs),
        nodes=tuple(builder.nodes),
        shapes=MappingProxyType(builder.shapes),
        metadata=MappingProxyType({}),
    )


class _Builder:
    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.nodes: list[NodeView] = []
        self.shapes: dict[str, Shape] = {}

    def add(self, case: Case, probe: bool) -> None:
        names = [f"{case.name}.x{i}" for i in range(case.tensors)]
        weights = _weights(case)
        out = _out_shape(case, weights)
        for i, name in enumerate(names):
            self.shapes[name] = out if case.op == "Conv" and i == 1 else case.in_shape
        self.inputs += names
        if case.before:
            bounds = {"act_min": -1.0, "act_max": 1.0} if case.before == "clip" else {}
            names = [
                self._node(
                    f"{n}.before", "Activation", [n], self.shapes[n], {"activation": case.before, **bounds}
                )
                for n in names
            ]
        self.outputs.append(self._node(case.name, case.op, names, out, case.attrs, weights))
        if probe and len(out) == 4:
            size = 2 * PROBE + 1
            window: dict[str, AttrValue] = {
                "kernel_shape": (size, size),
                "pads": (PROBE,) * 4,
                "count_include_pad": 1,
            }
            self.outputs.append(self._node(f"{case.name}.probe", "AveragePool", [case.name], out, window))

    def _node(
        self,
        name: str,
        op: str,
        tensors: Sequence[str],
        out: Shape,
        attrs: Mapping[str, AttrValue],
        weights: Sequence[NDArray[np.float32]] = (),
    ) -> str:
        """Add a node whose output has the node's name; a convolution's residual stands behind its weights."""
        constants = [f"{name}.w{i}" for i in range(len(weights))]
        inputs = (tensors[0], *constants, *tensors[1:])
        self.shapes[name] = out
        self.shapes |= {n: w.shape for n, w in zip(constants, weights, strict=True)}
        node = NodeView(
            name=name,
            op=op,
            inputs=inputs,
            output=name,
            shapes=MappingProxyType({n: self.shapes[n] for n in (*inputs, name)}),
            attrs=MappingProxyType(OPS[op].attrs | dict(attrs)),
            weights=MappingProxyType(dict(enumerate(weights, 1))),
        )
        self.nodes.append(node)
        return name


def _weights(case: Case) -> list[NDArray[np.float32]]:
    """Draw a case's constants, always the same ones; sums of products keep unit scale."""
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    if case.op == "Affine":
        return [random.standard_normal(case.channels, np.float32) for _ in range(2)]
    if case.op not in ("Conv", "Gemm"):
        return []
    groups = case.attrs.get("group", 1)
    assert isinstance(groups, int)
    weight = random.standard_normal((case.filters, case.channels // groups, *case.kernel), np.float32)
    weight = np.where(case.sparsity.mask(weight), weight, np.float32(0))
    terms = np.count_nonzero(weight) / case.filters
    return [weight / np.float32(max(terms, 1) ** 0.5), random.standard_normal(case.filters, np.float32)]


def _out_shape(case: Case, weights: Sequence[NDArray[np.float32]]) -> Shape:
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
        case "Pad":
            top, left, bottom, right = ints("pads")
            return (1, case.channels, case.image[0] + top + bottom, case.image[1] + left + right)
        case _:
            return case.in_shape
