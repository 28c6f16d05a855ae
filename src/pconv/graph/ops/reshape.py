"""Flatten, Reshape, Squeeze, Unsqueeze -> Flatten (any change of shape that keeps the order of elements)."""

from math import prod

from ..site import Operand, Site, shape_of


def flatten(site: Site) -> Operand:
    """Convert Flatten."""
    x = site.tensor()
    shape = shape_of(x)
    axis = int(site.attr("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return site.reshape(x, (prod(shape[:axis]), prod(shape[axis:])))


def reshape(site: Site) -> Operand:
    """Convert Reshape to a constant shape; a batch that the export froze becomes 1."""
    x = site.tensor()
    old, target = shape_of(x), site.ints("shape", 1)
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
    if len(sizes) == 1 and {use.node.op_type for use in site.node.outputs[0].uses()} == {"Gather"}:
        return x  # which gather.py gives a batch again
    return site.reshape(x, sizes)


def squeeze(site: Site) -> Operand:
    """Convert Squeeze; its axes are an input from opset 13 on."""
    x = site.tensor()
    shape, axes = shape_of(x), site.ints("axes", 1)
    if axes is None:
        # Without axes every 1 goes; the batch, which need not be 1, stays.
        drop = {i for i, size in enumerate(shape) if size == 1 and i > 0}
    else:
        drop = {site.axis(axis, len(shape)) for axis in axes}
        if any(shape[axis] != 1 for axis in drop):
            raise site.malformed(f"axes {list(axes)} of {list(shape)} are not all of size 1")
    return site.reshape(x, [size for i, size in enumerate(shape) if i not in drop])


def unsqueeze(site: Site) -> Operand:
    """Convert Unsqueeze; its axes are an input from opset 13 on."""
    x = site.tensor()
    axes = site.ints("axes", 1)
    if axes is None:
        raise site.malformed("its axes are missing")
    rank = len(shape_of(x)) + len(axes)
    new, old = {site.axis(axis, rank) for axis in axes}, iter(shape_of(x))
    return site.reshape(x, [1 if i in new else next(old) for i in range(rank)])


CONVERTERS = {"Flatten": flatten, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze}
