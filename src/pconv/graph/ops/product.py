"""Products of two computed matrices, as in attention -> MatMul, one matrix a plane.

[1, heads, m, k] @ [1, heads, k, n]    rows [1, m, k] are one plane, what stands before the matrices is put together
Einsum bhid,bhjd->bhij                 letters of both, of the first, of the second and of the sum, in this order
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from ..nodes import Shape
from ..site import Operand, Site, shape_of
from .expand import spread
from .transpose import permuted


def product(site: Site, a: ir.Value, b: ir.Value) -> ir.Value:
    """Append a @ b of at least three dimensions; what one lacks before the matrices is repeated."""
    one, other = shape_of(a), shape_of(b)
    if len(one) != len(other) or len(one) < 3:
        raise site.unsupported(
            f"it multiplies computed matrices {list(one)} and {list(other)}",
            "3 dimensions and more, as many of either where the batch is open",
        )
    pairs = list(zip(one[:-2], other[:-2], strict=True))
    if one[-1] != other[-2] or any(x != y and 1 not in (x, y) for x, y in pairs):
        raise site.malformed(f"it multiplies {list(one)} and {list(other)}")
    before, (m, k), n = tuple(max(pair) for pair in pairs), one[-2:], other[-1]
    if prod(other[:-2]) == 1:  # the rows of all are one matrix
        planes, rows = 1, prod(before) * m
    else:
        planes, rows = prod(before), m
        a, b = spread(site, a, (*before, m, k), "first.wide"), spread(site, b, (*before, k, n), "second.wide")
    a = site.reshape(a, (1, planes, rows, k), "first")
    b = site.reshape(b, (1, planes, k, n), "second")
    y = site.emit("MatMul", [a, b], (1, planes, rows, n), step="product")
    return site.reshape(y, (*before, m, n), "shaped")


def einsum(site: Site) -> Operand:
    """Convert Einsum of two operands that is one product of matrices; a constant one may lack the batch."""
    equation = str(site.attr("equation", "")).replace(" ", "")
    terms, _, result = equation.partition("->")
    parts = terms.split(",")
    simple = len(parts) == 2 and all(len(set(term)) == len(term) for term in (*parts, result))
    letters = set("".join(parts))
    shared = set(parts[0]) & set(parts[-1])
    if not simple or "." in equation or not letters - shared <= set(result) <= letters:
        raise site.unsupported(f"the equation {equation}", "one product of two matrices")
    operands = [_whole(site, i) for i in (0, 1)]
    sizes: dict[str, int] = {}
    for term, operand in zip(parts, operands, strict=True):
        if len(term) != len(shape_of(operand)) - 1 or any(
            sizes.setdefault(x, size) != size for x, size in zip(term, shape_of(operand)[1:], strict=True)
        ):
            raise site.malformed(
                f"the equation {equation} does not fit {[list(shape_of(x)[1:]) for x in operands]}"
            )
    computed = [term for term, x in zip(parts, site.operands, strict=True) if isinstance(x, ir.Value)]
    if not site.reads_unbatched and {term[:1] for term in computed} != {result[:1] or None}:
        raise site.unsupported(f"the equation {equation}", "the batch first in all of it")
    one, other = parts
    both, summed = [x for x in one if x in shared and x in result], [x for x in one if x not in result]
    rows, columns = [x for x in one if x not in shared], [x for x in other if x not in shared]

    def size(*kinds: list[str]) -> Shape:
        return tuple(prod(sizes[x] for x in kind) for kind in kinds)

    a, b = (
        site.reshape(
            permuted(site, operand, _order(term, [x for kind in kinds for x in kind]), f"{step}.moved"),
            (1, *size(*kinds)),
            f"{step}.matrices",
        )
        for step, operand, term, kinds in (
            ("one", operands[0], one, (both, rows, summed)),
            ("other", operands[1], other, (both, summed, columns)),
        )
    )
    order = [*both, *rows, *columns]
    y = site.reshape(product(site, a, b), [1, *(sizes[x] for x in order)], "parts")
    y = permuted(site, y, _order(order, result), "ordered")
    return site.last(y, shape_of(y)[not site.reads_unbatched :])


def _whole(site: Site, i: int) -> ir.Value:
    """Give an operand with one dimension more in front than its equation has letters."""
    operand = site.operand(i)
    if isinstance(operand, np.ndarray):
        return site.constant_value(operand, (1, *operand.shape), f"constant{i}")
    x = site.tensor(i)
    return x if site.reads_unbatched else site.reshape(x, (1, *shape_of(x)), f"operand{i}")


def _order(letters: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [0, *(letters.index(x) + 1 for x in wanted)]


CONVERTERS = {"Einsum": einsum}
