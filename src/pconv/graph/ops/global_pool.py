"""GlobalAveragePool, and ReduceMean over the image, which is the same."""

from ..site import Operand, Site, shape_of


def global_average_pool(site: Site) -> Operand:
    """Convert GlobalAveragePool."""
    x = site.tensor(rank=4)
    return site.emit("GlobalAveragePool", [x], (*shape_of(x)[:2], 1, 1))


def reduce_mean(site: Site) -> Operand:
    """Convert ReduceMean over height and width; its axes are an input from opset 18 on."""
    x = site.tensor(rank=4)
    axes = {
        site.axis(a, 4) for a in site.ints("axes", 1) or range(0 if site.attr("noop_with_empty_axes") else 4)
    }
    if axes != {2, 3}:
        raise site.unsupported(f"the mean is over axes {sorted(axes)}", "[2, 3] (height and width)")
    keep, channels = bool(site.attr("keepdims", 1)), shape_of(x)[:2]
    pooled = site.emit("GlobalAveragePool", [x], (*channels, 1, 1), step="" if keep else "pool")
    return pooled if keep else site.reshape(pooled, channels)


CONVERTERS = {"GlobalAveragePool": global_average_pool, "ReduceMean": reduce_mean}
