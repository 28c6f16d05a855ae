"""Take the channels that a slice takes later, after its image was moved: as of queries, keys and values.

Conv -> [1, n, 3, heads, d] -> [3, 1, heads, n, d] -> Subsample (one of three)
    =>    Conv -> Subsample (a third of the channels) -> [1, heads, n, d]

Where each head has its own third, they are rows of an image whose channels are the heads.
"""

from math import prod

import onnx_ir as ir

from ..edit import ints, is_op, make_node, source
from ..moves import Dims, behind, moved, whole, write
from ..site import shape_of


def hoist_slice(graph: ir.Graph) -> None:
    """Move every slice of one range up to an image of which it is one of channels."""
    heads: dict[tuple[ir.Value, tuple[int, ...]], ir.Value] = {}
    for node in list(graph):
        if not is_op(node, "Subsample") or any(ints(node, "channel_pad")) or ints(node, "steps") != (1, 1):
            continue
        image, chain = behind(source(node))
        before = shape_of(image)
        dims = moved(whole(before), chain)
        if len(before) != 4 or not chain or dims is None:
            continue
        taken = _taken(dims, ints(node, "starts"), ints(node, "sizes"))
        if taken is None:
            continue
        dims, stride, start, size, most = taken
        plane = before[2] * before[3]
        if before[1] * plane % (stride * most) or stride % plane:
            continue
        each, outer = stride // plane, before[1] * plane // (stride * most)
        sizes = (outer * size * each, *before[2:])
        if outer == 1:
            image = _before(graph, node, "Subsample", "channels", image, sizes, start * each)
        else:
            rows, width = each * before[2], before[3]
            shape = (outer, most * rows, width)
            if (image, shape) not in heads:
                heads[image, shape] = _before(graph, node, "Flatten", "heads", image, shape)
            image = heads[image, shape]
            image = _before(
                graph, node, "Subsample", "rows", image, (outer, size * rows, width), 0, start * rows
            )
            image = _before(graph, node, "Flatten", "channels", image, sizes)
            dims = [[(n, s // most * size if s >= stride * most else s) for n, s in dim] for dim in dims]
        write(graph, node, image, dims)


def _before(
    graph: ir.Graph, node: ir.Node, op: str, step: str, value: ir.Value, sizes: tuple[int, ...], *starts: int
) -> ir.Value:
    """Insert a node that gives an image of some sizes; a slice of it from some channel, some row on."""
    attrs = {"starts": (*starts, 0, 0)[:3], "sizes": sizes} if op == "Subsample" else {}
    made = make_node(graph, op, f"{node.name}.{step}", [value], (1, *sizes), {}, **attrs)
    graph.insert_before(node, made)
    return made.outputs[0]


def _taken(
    dims: Dims, starts: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[Dims, int, int, int, int] | None:
    """Give the dimensions that are left, and the one part that is cut: its stride, where from, how many, of how many.

    None where that is not one range of one part.
    """
    cut = [i for i, dim in enumerate(dims[1:]) if sizes[i] != _size(dim)]
    if len(cut) != 1 or any(start for i, start in enumerate(starts) if i not in cut):
        return None
    axis = cut[0]
    (most, stride), *inner = dims[axis + 1]
    each = _size(inner)
    if starts[axis] % each or sizes[axis] % each:
        return None
    start, size = starts[axis] // each, sizes[axis] // each
    left = [*dims[: axis + 1], [*([(size, stride)] if size > 1 else []), *inner], *dims[axis + 2 :]]
    return left, stride, start, size, most


def _size(dim: list[tuple[int, int]]) -> int:
    return prod(size for size, _ in dim)
