"""TopK of one: the largest and where it stands."""

from ..site import Operand, Site, shape_of
from .arg_max import place_of_largest
from .reduce import largest


def top_k(site: Site) -> list[Operand]:
    """Convert TopK; how many is an attribute before opset 10."""
    count, x = site.ints("k", 1), site.tensor()
    if count != (1,):
        raise site.unsupported(
            f"it takes {count[0] if count else 'none'} of them",
            "the largest one",
            "Take more outside of the model.",
        )
    shape = shape_of(x)
    axis = site.axis(int(site.attr("axis", -1)), len(shape))
    if axis == 0:
        raise site.unsupported("it is over axis 0", "any axis but the batch")
    kept = (*shape[:axis], 1, *shape[axis + 1 :])
    smallest = not site.attr("largest", 1)
    signed = site.scaled(x, -1.0, step="minus") if smallest else x
    value = largest(site, signed, (axis,))
    place = site.reshape(place_of_largest(site, signed, axis), kept, "places")
    return [site.scaled(value, -1.0, step="least") if smallest else value, place]


CONVERTERS = {"TopK": top_k}
