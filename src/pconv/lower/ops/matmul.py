"""Products of two computed matrices, one a plane, on dense memory.

rows of a:  a00 a01 ..      a tile: each element of a column of `a` times vectors of a packed row of `b`
            a10 a11 ..      b packed: the columns of a panel side by side, [k, columns], as often as it is read
"""

from collections.abc import Sequence

from pconv.graph.nodes import NodeView
from pconv.lower.context import Context, Operator, chunks
from pconv.lower.kernels import MatMulKernel
from pconv.lower.layout import Layout, planar
from pconv.lower.plan import Step, Tensor, Work
from pconv.targets import Target

COLUMNS, VECTORS = 16, 2
"""Columns of a tile at least, and vectors."""
SPARE = 2
"""Registers that a tile leaves for what it reads of the first matrix."""
PLANES = 8
"""Planes from which on each is one task; of fewer, rows are shared out."""
MACS = 12
"""Multiply-adds in the time of the copy of an element."""


def _wants(node: NodeView, ctx: Context, output: Layout) -> list[Layout | None]:
    return [planar(*node.shapes[name][2:]) for name in node.tensors]


def _emit(node: NodeView, ctx: Context, inputs: Sequence[Tensor], output: Tensor) -> list[Step]:
    planes, m, n = node.out_shape[1:]
    transposed = bool(node.integer("transpose_a")), bool(node.integer("transpose_b"))
    k = node.in_shape[2 if transposed[0] else 3]
    kernel = _tiled(planes, m, k, n, transposed, node.number("scale"), ctx.target)
    panel = Tensor(f"{node.name}:panel", 1, planar(k, kernel.columns), "scratch", 0)
    units, macs = planes * kernel.parts, planes * m * k * n
    tasks = chunks(units, macs // MACS)
    work = Work(
        node.in_shape[1:], node.out_shape[1:], macs=macs, dense_macs=macs, reason="dense: both are computed"
    )
    params, room = {"planes": planes, "tasks": tasks}, panel if ctx.target.lanes > 1 else None
    return [Step(node.name, "MatMul", kernel, tuple(inputs), output, work, {}, params, tasks, room=room)]


def _tiled(
    planes: int, m: int, k: int, n: int, transposed: tuple[bool, bool], scale: float, target: Target
) -> MatMulKernel:
    """Return the kernel with the largest tile that the registers hold; all tiles have about as many rows."""
    lanes = target.lanes_f32
    vectors = min(max(VECTORS, COLUMNS // lanes), -(-n // lanes))
    most = (target.vector_registers - SPARE - vectors) // vectors
    tiles = -(-m // most)
    parts = 1 if planes >= PLANES else min(tiles, -(-PLANES // planes))
    return MatMulKernel(m, k, n, transposed, scale, lanes, -(-m // tiles), vectors, parts)


MATMUL = Operator(_wants, _emit, planar_output=True, bare_inputs=True)
