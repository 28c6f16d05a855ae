"""What an operator's lowering may ask for, and the two functions that each file under ops/ provides.

Every operator file registers `wants` and `emit`:

    wants(node, ctx, output) -> a Layout for each run-time input (its halo is a minimum), or None for "as it is"
    emit(node, ctx, inputs, output) -> the steps, in order

Layouts are settled from the network's end to its start (`wants`), steps are emitted from start to end (`emit`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from pconv.graph.nodes import GraphView, NodeView, is_image
from pconv.lower.choice import Picker, pick_modelled
from pconv.lower.fold import Fold
from pconv.lower.kernels import Activation
from pconv.lower.layout import Layout, natural, planar
from pconv.lower.plan import Step, Tensor
from pconv.targets import Target
from pconv.targets.dtype import DType


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The network being lowered, its target, the layers the user wants dense, who picks the schedules, and what of a
    batch lies side by side.
    """

    graph: GraphView
    target: Target
    dense: frozenset[str] = frozenset()
    pick: Picker = pick_modelled
    fold: Fold = field(default_factory=Fold)

    def natural(self, value: str, images: int = 1) -> Layout:
        """Return the layout that a value has unless its operator says otherwise, with so many images side by side."""
        shape, target = self.graph.shapes[value], self.target
        if not is_image(shape):
            return planar(1, 1)
        if target.lanes == 1:
            return planar(shape[2], shape[3])
        return natural(shape[2], shape[3], target.lanes, target.dtype, target.fma_by_lane, images)

    def type_of(self, layout: Layout) -> DType:
        """Return what numbers lie in a layout; a device has one type, whatever its layouts say."""
        return self.target.dtype if self.target.lanes == 1 else layout.dtype

    def channels(self, value: str) -> int:
        """Return the planes of a value; what is no image is that many planes of one element."""
        shape = self.graph.shapes[value]
        return shape[1] if is_image(shape) else prod(shape)

    def is_dense(self, node: NodeView) -> bool:
        """Tell whether the user wants a layer dense, or the layer that it is a part of."""
        return not self.dense.isdisjoint((node.name, node.name.rpartition(":")[0]))

    def nonnegative(self, value: str) -> bool:
        """Tell whether a value cannot be below zero, as after a ReLU."""
        node = next((n for n in self.graph.nodes if n.output == value), None)
        if node is None:
            return False
        if node.op in ("MaxPool", "AveragePool", "GlobalAveragePool", "Concat"):
            return all(self.nonnegative(name) for name in node.tensors)
        kind = node.attrs.get("activation", "none")
        return kind in ("relu", "sigmoid", "softplus", "exp", "sqrt", "above", "atleast") or (
            kind == "clip" and node.number("act_min") >= 0
        )


Wants = Callable[[NodeView, Context, Layout], Sequence[Layout | None]]
Emit = Callable[[NodeView, Context, Sequence[Tensor], Tensor], list[Step]]


@dataclass(frozen=True, slots=True)
class Operator:
    """How one operator is lowered. `planar_output` says that it writes dense NCHW whatever comes next, `planar_result`
    that it does so where nobody reads it in blocks, `planar_through` that it does where all of its tensors are;
    `bare_inputs` that it reads dense planes without a halo.
    """

    wants: Wants
    emit: Emit
    planar_output: bool = False
    planar_result: bool = False
    planar_through: bool = False
    bare_inputs: bool = False


def activation_of(node: NodeView) -> Activation:
    """Read a node's fused activation."""
    kind = node.text("activation")
    low = node.number("act_min") if kind in ("clip", "leaky", "elu", "above", "atleast") else 0.0
    return Activation(kind, low, node.number("act_max") if kind == "clip" else 0.0)


def chunks(parts: int, work: int) -> int:
    """Return in how many tasks to cut `parts` equal parts of `work` element operations in all."""
    return max(1, min(parts, 16, work // 20_000))
