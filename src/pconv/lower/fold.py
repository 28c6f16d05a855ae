"""A batch folded into the lanes: where images are too small to fill vectors, several of them lie side by side.

    7x7 alone, 16 lanes       4x4 blocks of 2x2: 64 places for 49 elements, and a halo larger than the blocks
    16 images of 7x7          a lane each: 49 vectors, none of them idle, and weights are read once for all

    image 0  -> before -> |
    image 1  -> before -> | folded, once for all images | -> behind -> image 0, 1, ...
    ...                   |

What is before and behind runs image by image, as large images would leave the caches. Source: ours; PatDNN and PCONV
run one image at a time.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import get_args

from pconv.errors import BuildError
from pconv.graph.nodes import GraphView, NodeView, Shape, is_image
from pconv.lower.kernels import GatherKernel
from pconv.lower.plan import Part, Step
from pconv.targets import Target

MOST_VECTORS = 16
"""An image that fills so many vectors gains nothing."""

FOLDABLE = frozenset(
    {
        *("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Activation", "Affine", "PRelu"),
        *("Add", "Sub", "Mul", "Div", "Keep", "Max", "Min", "Concat", "ChannelShuffle", "Subsample"),
    }
)
"""Operators whose steps know several images side by side."""


@dataclass(frozen=True, slots=True)
class Fold:
    """How many images lie side by side, and in which values."""

    images: int = 1
    values: frozenset[str] = frozenset()

    def of(self, value: str) -> int:
        """Return how many images lie side by side in a value."""
        return self.images if value in self.values else 1


def fold(graph: GraphView, images: int, target: Target) -> Fold:
    """Choose what so many images of a batch run through side by side: the first layers on small images that will do.

    Those before the last large image will not where a layer behind them needs an early value, or an input, as a gate's
    product does: that is of another image by then. A network with an output that has no batch takes one image alone.

    Raises: BuildError for so many images as cannot share the target's lanes.
    """
    allowed = [1 << i for i in range(target.lanes.bit_length())]
    if images not in allowed:
        raise BuildError(
            f"fold: {images!r} images cannot share the lanes of {target.name}; "
            f"allowed {', '.join(map(str, allowed))}."
        )
    ends = [graph.shapes[name] for name in (*graph.inputs, *graph.outputs)]
    if images == 1 or any(shape[:1] != (1,) for shape in ends):
        return Fold()
    most = MOST_VECTORS * target.lanes
    large = [i for i, node in enumerate(graph.nodes, 1) if _largest(node) > most]
    for start in (0, max(large, default=0)):
        if values := _stretch(graph, most, start):
            return Fold(images, values)
    return Fold()


def _stretch(graph: GraphView, most: int, start: int) -> frozenset[str]:
    """Return the values of the first layers, from number `start` on, that can be folded, with images of up to `most`
    elements; nothing where one behind needs an early value.
    """
    known = {node.output for node in graph.nodes if node.op == "Constant"}
    folded: set[str] = set()
    behind: set[str] = set()
    for i, node in enumerate(graph.nodes):
        late = behind.intersection(node.tensors)
        if i >= start and not late and _foldable(node) and _largest(node) <= most:
            folded.add(node.output)
        elif late or folded.intersection(node.tensors):
            behind.add(node.output)
            if not (known | folded | behind).issuperset(node.tensors):
                return frozenset()
    return frozenset(folded)


def _foldable(node: NodeView) -> bool:
    return node.op in FOLDABLE and all(map(is_image, _shapes(node)))


def _largest(node: NodeView) -> int:
    """Count the elements of the largest image that a node reads or writes."""
    return max((shape[2] * shape[3] for shape in _shapes(node) if is_image(shape)), default=0)


def _shapes(node: NodeView) -> list[Shape]:
    return [node.out_shape, *(node.shapes[name] for name in node.tensors)]


def in_parts(steps: Sequence[Step]) -> list[Step]:
    """Put steps in the order of their parts, and say of those in lanes together how many images there are."""
    behind: set[str] = set()
    early: set[str] = set()
    found = []
    for step in steps:
        part = _part(step, behind)
        if part == "behind":
            behind.add(step.output.name)
            # By then it is of the last image that came before: `fold` chooses so that nobody reads it.
            assert early.isdisjoint(tensor.name for tensor in step.inputs), step.name
        elif part == "before" and step.output.layout.images == 1 and not step.once:
            early.add(step.output.name)
        if part == "folded" and step.work.reason:
            note = f"{step.work.reason}; {step.output.layout.images} images side by side"
            step = replace(step, work=replace(step.work, reason=note))
        found.append(replace(step, part=part))
    return sorted(found, key=lambda step: get_args(Part).index(step.part))


def _part(step: Step, behind: AbstractSet[str]) -> Part:
    """Tell where a step stands. What brings an image to its lanes is before, what takes it from there is behind."""
    if step.output.layout.images > 1:
        brings = isinstance(step.kernel, GatherKernel) and step.kernel.source.images == 1
        return "before" if brings else "folded"
    late = any(tensor.layout.images > 1 or tensor.name in behind for tensor in step.inputs)
    return "behind" if late else "before"
