"""Let products of matrices read and write these the other way round, where that saves a transpose.

[1, c, n, k] -> Transpose -> MatMul(b)                     =>    MatMul(transpose_b)        the same of a
MatMul(a, b) -> Transpose -> rows, whose channels these are    =>    MatMul(b', a') -> Flatten
"""

import onnx_ir as ir

from ..edit import is_op, make_node, put, sole_consumer, source
from ..moves import Dims, behind, moved, moves, stay, whole, write
from ..site import shape_of


def turn_matmul(graph: ir.Graph) -> None:
    """Turn every product, and then its operands."""
    for node in list(graph):
        if is_op(node, "MatMul"):
            _turn_result(graph, node)
            for i, name in enumerate(("transpose_a", "transpose_b")):
                _turn_operand(graph, node, i, name)


def _turn_operand(graph: ir.Graph, node: ir.Node, i: int, name: str) -> None:
    value = source(node, i)
    before, chain = behind(value)
    dims = moved(whole(shape_of(before)), chain)
    if dims is None or stay(dims):
        return
    turned = _swapped(dims)
    if stay(turned):
        shape = [shape_of(value)[axis] for axis in (0, 1, 3, 2)]
        made = make_node(graph, "Flatten", f"{node.name}.{'ab'[i]}", [before], shape)
        graph.insert_before(node, made)
        node.replace_input_with(i, made.outputs[0])
        put(node, **{name: 1 - int(node.attributes[name].value)})


def _turn_result(graph: ir.Graph, node: ir.Node) -> None:
    chain: list[ir.Node] = []
    after = sole_consumer(node)
    while after is not None and moves(after):
        chain.append(after)
        after = sole_consumer(after)
    shape = shape_of(node.outputs[0])
    turned = moved(_swapped(whole([shape[axis] for axis in (0, 1, 3, 2)])), chain)
    if not chain or turned is None or not stay(turned) or stay(moved(whole(shape), chain) or []):
        return
    a, b = source(node, 0), source(node, 1)
    node.replace_input_with(0, b)
    node.replace_input_with(1, a)
    flags = [int(node.attributes[name].value) for name in ("transpose_a", "transpose_b")]
    put(node, transpose_a=1 - flags[1], transpose_b=1 - flags[0])
    node.outputs[0].shape = ir.Shape([shape[axis] for axis in (0, 1, 3, 2)])
    write(graph, chain[-1], node.outputs[0], turned)


def _swapped(dims: Dims) -> Dims:
    return [*dims[:-2], dims[-1], dims[-2]]
