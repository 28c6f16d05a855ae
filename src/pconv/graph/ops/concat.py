"""Concat: along channels, or along another axis, which is brought there and back."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..site import Operand, Site, shape_of


def concat(site: Site) -> Operand:
    """Convert Concat of activations; along the batch of one sample, which is none then."""
    parts = [_part(site, i) for i in range(len(site.operands))]
    axis = site.axis(int(site.attr("axis", 1)), len(shape_of(parts[0])))
    if axis == 0:
        if not site.builder.one_sample:
            raise site.unsupported(
                "axis 0", "any axis but the batch where that is open", "Export the model for one sample."
            )
        parts = [site.reshape(part, (1, *shape_of(part)), f"part{i}.whole") for i, part in enumerate(parts)]
        axis, site.drops_batch = 1, "here"
    shapes = [shape_of(part) for part in parts]
    if len({(shape[:axis], shape[axis + 1 :]) for shape in shapes}) != 1:
        raise site.malformed(f"its inputs {[list(shape) for shape in shapes]} differ beside axis {axis}")
    return joined(site, parts, axis)


def _part(site: Site, i: int) -> ir.Value:
    """Give an operand; a constant beside what has no batch gets one, as that has here."""
    operand = site.operand(i)
    if site.reads_unbatched and isinstance(operand, np.ndarray):
        return site.either(i, (1, *operand.shape))
    return site.either(i)


def joined(site: Site, parts: Sequence[ir.Value], axis: int, step: str = "") -> ir.Value:
    """Append what puts activations one behind the other along an axis."""
    if len(parts) == 1:
        return parts[0]
    first = f"{step}." if step else ""
    swapped = [site.swap(part, axis, f"{first}part{i}") for i, part in enumerate(parts)]
    shape = (1, sum(shape_of(part)[1] for part in swapped), *shape_of(swapped[0])[2:])
    return site.swap(
        site.emit("Concat", swapped, shape, step=step if axis == 1 else f"{first}joined"), axis, step
    )


CONVERTERS = {"Concat": concat}
