"""Concat: along channels, or along another axis, which is brought there and back."""

from ..site import Operand, Site, shape_of


def concat(site: Site) -> Operand:
    """Convert Concat of activations."""
    parts = [site.either(i) for i in range(len(site.operands))]
    shapes = [shape_of(part) for part in parts]
    axis = site.axis(int(site.attr("axis", 1)), len(shapes[0]))
    if axis == 0:
        raise site.unsupported("axis 0", "any axis but the batch")
    if len({(shape[:axis], shape[axis + 1 :]) for shape in shapes}) != 1:
        raise site.malformed(f"its inputs {[list(shape) for shape in shapes]} differ beside axis {axis}")
    if len(parts) == 1:
        return parts[0]
    parts = [site.swap(part, axis, f"part{i}") for i, part in enumerate(parts)]
    joined = (1, sum(shape_of(part)[1] for part in parts), *shape_of(parts[0])[2:])
    return site.swap(site.emit("Concat", parts, joined, step="" if axis == 1 else "joined"), axis)


CONVERTERS = {"Concat": concat}
