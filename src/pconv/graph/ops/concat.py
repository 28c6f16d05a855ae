"""Concat along channels."""

from ..site import Operand, Site, shape_of


def concat(site: Site) -> Operand:
    """Convert Concat of activations along axis 1."""
    parts = [site.tensor(i) for i in range(len(site.operands))]
    shapes = [shape_of(part) for part in parts]
    axis = site.axis(int(site.attr("axis", 1)), len(shapes[0]))
    if axis != 1:
        raise site.unsupported(f"axis {axis}", "axis 1 (channels)")
    if len({(shape[:1], shape[2:]) for shape in shapes}) != 1:
        raise site.malformed(f"its inputs {[list(shape) for shape in shapes]} differ beside the channels")
    if len(parts) == 1:
        return parts[0]
    channels = sum(shape[1] for shape in shapes)
    return site.emit("Concat", parts, (1, channels, *shapes[0][2:]))


CONVERTERS = {"Concat": concat}
