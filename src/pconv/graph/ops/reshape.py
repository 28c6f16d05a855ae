"""Flatten, Reshape, Squeeze, Unsqueeze -> Flatten (any change of shape that keeps the order of elements)."""

from math import prod

from ..nodes import Shape
from ..site import Operand, Site, shape_of


def flatten(site: Site) -> Operand:
    """Convert Flatten."""
    x = site.tensor()
    shape = _shape(site)
    axis = int(site.attr("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return site.shaped(x, (prod(shape[:axis]), prod(shape[axis:])))


def reshape(site: Site) -> Operand:
    """Convert Reshape to a constant shape; a batch that the export froze becomes 1."""
    x = site.tensor()
    old, target = _shape(site), site.ints("shape", 1)
    if target is None:
        raise site.malformed("its shape is missing")
    sizes = list(target)
    if sizes and sizes[0] == site.builder.source_batch:
        sizes[0] = 1
    if not site.attr("allowzero", 0):
        sizes = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(sizes)]
    known = prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known > 0 and prod(old) % known == 0:
        sizes[sizes.index(-1)] = prod(old) // known
    if min(sizes, default=1) < 1 or prod(sizes) != prod(old):
        raise site.unsupported(
            f"shape {list(target)} does not fit one sample {list(old)}",
            "as many elements as the input has",
            "Reshape each sample on its own, and give the sizes that the model was exported with.",
        )
    return site.shaped(x, sizes)


def squeeze(site: Site) -> Operand:
    """Convert Squeeze; its axes are an input from opset 13 on."""
    x = site.tensor()
    shape, axes = _shape(site), site.ints("axes", 1)
    if axes == ():
        raise site.unsupported(
            "its axes are an empty list, of which ONNX drops none and ONNX Runtime every one of size 1",
            "axes to drop, or no list",
        )
    if axes is None and not site.reads_unbatched:
        # Without axes every 1 goes; the batch, which need not be 1, stays, but in an output of a model for one sample.
        site.drops_batch = "in outputs" if site.builder.one_sample else None
        return site.reshape(x, [1, *(size for size in shape[1:] if size > 1)])
    if axes is None:
        axes = tuple(i for i, size in enumerate(shape) if size == 1)
    drop = {site.source_axis(axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in drop):
        raise site.malformed(f"axes {list(axes)} of {list(shape)} are not all of size 1")
    return site.shaped(x, [size for i, size in enumerate(shape) if i not in drop])


def unsqueeze(site: Site) -> Operand:
    """Convert Unsqueeze; its axes are an input from opset 13 on."""
    x = site.tensor()
    axes = site.ints("axes", 1)
    if axes is None:
        raise site.malformed("its axes are missing")
    rank = len(_shape(site)) + len(axes)
    new, old = {site.source_axis(axis, rank) for axis in axes}, iter(_shape(site))
    return site.shaped(x, [1 if i in new else next(old) for i in range(rank)])


def _shape(site: Site) -> Shape:
    """Give the shape that the source gives what is read."""
    return shape_of(site.tensor())[int(site.reads_unbatched) :]


CONVERTERS = {"Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze}
