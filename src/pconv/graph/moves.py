"""What changes of shape and transposes do to a value, as strides: which element of it stands where.

    x [1, 6, 5] -> Flatten [1, 2, 3, 5] -> Transpose (0, 2, 1, 3)      dimensions, each of parts (size, stride) in x:
                                                                       1, 3: (3, 5), 2: (2, 15), 5: (5, 1)

So however long a chain is, it is one change of shape, one transpose and another change of shape, or fewer.
"""

from collections.abc import Sequence
from itertools import accumulate

import onnx_ir as ir

from .edit import ints, is_op, make_node, put, source
from .nodes import Shape
from .site import shape_of
from .spec import AttrValue

Part = tuple[int, int]
Dims = list[list[Part]]
"""The parts of each dimension, the outermost first; one of size 1 has none."""


def moves(node: ir.Node | None) -> bool:
    """Tell whether a node only moves elements, all of them."""
    return is_op(node, "Flatten", "Transpose")


def whole(shape: Sequence[int]) -> Dims:
    """Give the dimensions of what was not moved."""
    strides = [*accumulate(reversed(shape[1:]), lambda a, b: a * b, initial=1)][::-1]
    return [[(size, stride)] if size > 1 else [] for size, stride in zip(shape, strides, strict=True)]


def behind(value: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """Give what a value was moved from, and the nodes that moved it, in order."""
    chain: list[ir.Node] = []
    while (node := value.producer()) is not None and moves(node):
        chain.insert(0, node)
        value = source(node)
    return value, chain


def moved(dims: Dims | None, chain: Sequence[ir.Node]) -> Dims | None:
    """Give the dimensions after some nodes; None where a part would not stay whole."""
    for node in chain:
        if dims is None:
            return None
        if is_op(node, "Transpose"):
            dims = [dims[axis] for axis in ints(node, "perm")]
        else:
            dims = reshaped(dims, shape_of(node.outputs[0]))
    return dims


def reshaped(dims: Dims, shape: Sequence[int]) -> Dims | None:
    """Give the dimensions after a change of shape; None where a part would not stay whole."""
    parts = [part for dim in dims for part in dim]
    found: Dims = []
    for size in shape:
        found.append([])
        while size > 1:
            most, stride = parts.pop(0)
            if most > size and most % size == 0:  # what is left of it is the inner part
                parts.insert(0, (most // size, stride))
                most, stride = size, stride * (most // size)
            if size % most:
                return None
            found[-1].append((most, stride))
            size //= most
    return found


def merged(dims: Dims) -> list[Part]:
    """Give the parts in order, neighbours that always were neighbours as one."""
    found: list[Part] = []
    for size, stride in (part for dim in dims for part in dim):
        if found and found[-1][1] == size * stride:
            size *= found.pop()[0]
        found.append((size, stride))
    return found


def stay(dims: Dims) -> bool:
    """Tell whether the elements are in the order in which they were."""
    return len(merged(dims)) < 2


def write(graph: ir.Graph, node: ir.Node, value: ir.Value, dims: Dims) -> None:
    """Let a node be the last of those that move a value so; what moved it before is dead then, if unused."""
    shape = shape_of(node.outputs[0])
    perm = _directly(shape_of(value), dims)
    if not stay(dims) and perm is None:
        parts = merged(dims)
        order = sorted(range(len(parts)), key=lambda i: -parts[i][1])
        sizes = (1, *(parts[i][0] for i in order))
        value = _before(graph, node, "Flatten", "parts", value, sizes)
        perm = (0, *(order.index(i) + 1 for i in range(len(parts))))
    if not stay(dims):
        assert perm is not None
        before = shape_of(value)
        turned = tuple(before[axis] for axis in perm)
        if turned == shape:
            _become(node, "Transpose", value)
            put(node, perm=perm)
            return
        value = _before(graph, node, "Transpose", "turned", value, turned, perm=perm)
    _become(node, "Flatten", value)


def _directly(shape: Shape, dims: Dims) -> tuple[int, ...] | None:
    """Give the order of the dimensions of a shape that are moved as they are; None where some are cut.

    Those of size 1 go where the result has such, as far as they last; the batch stays in front, also of an output that
    lacks it.
    """
    own = [dim[0] if dim else None for dim in whole(shape)]
    _, *ones = (axis for axis, part in enumerate(own) if part is None)
    perm = [0]
    for dim in dims if dims[0] else dims[1:]:
        at = {stride: axis for axis, part in enumerate(own) if part for stride in (part[1],)}
        if not dim and ones:
            perm.append(ones.pop(0))
        left = list(dim)
        while left:
            size, stride = left.pop(0)
            while left and stride not in at and left[0][0] * left[0][1] == stride:
                inner, stride = left.pop(0)
                size *= inner
            if stride not in at or own[at[stride]] != (size, stride):
                return None
            perm.append(at[stride])
    return (*perm, *ones)


def _before(
    graph: ir.Graph, node: ir.Node, op: str, step: str, value: ir.Value, shape: Shape, **attrs: AttrValue
) -> ir.Value:
    made = make_node(graph, op, f"{node.name}.{step}", [value], shape, {}, **attrs)
    graph.insert_before(node, made)
    return made.outputs[0]


def _become(node: ir.Node, op: str, value: ir.Value) -> None:
    node.op_type = op
    node.attributes.clear()
    node.replace_input_with(0, value)
