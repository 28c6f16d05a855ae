"""Sliding windows: what Conv, MaxPool and AveragePool share."""

from dataclasses import dataclass

from .site import Site


@dataclass(frozen=True, slots=True)
class Window:
    """A resolved window over an image: all pads explicit, the output's size known.

    `extra` is how far ceil_mode lets the last window stand out beyond the padded image, [bottom, right].
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    extra: tuple[int, int]
    out: tuple[int, int]


def resolve(site: Site, image: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Resolve strides, dilations, pads, auto_pad and ceil_mode of a node over an image [h, w] or one row."""
    if len(kernel) not in (1, 2):
        raise site.unsupported(
            f"kernel_shape {list(kernel)} is {len(kernel)}-D",
            "1-D and 2-D windows over [n, c, l] and [n, c, h, w]",
        )
    rank = len(kernel)
    strides, dilations = site.attr("strides", (1,) * rank), site.attr("dilations", (1,) * rank)
    pads = site.attr("pads", (0,) * 2 * rank)
    if (len(strides), len(dilations), len(pads)) != (rank, rank, 2 * rank):
        raise site.malformed(f"strides, dilations and pads need {rank}, {rank} and {2 * rank} numbers")
    kernel, strides, dilations = (two(values, 1) for values in (kernel, strides, dilations))
    pads = (*two(pads[:rank], 0), *two(pads[rank:], 0))
    if min(kernel) < 1 or min(strides) < 1 or min(dilations) < 1:
        raise site.malformed("kernel_shape, strides and dilations are at least 1")
    if min(pads) < 0:
        raise site.unsupported(f"pads {list(pads)} crop the image", "pads of at least 0")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = site.attr("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0, 0, 0, 0)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same(image, reach, strides, upper=mode == "SAME_UPPER")
    elif mode != "NOTSET":
        raise site.malformed(f"auto_pad {mode!r} does not exist")
    ceil = bool(site.attr("ceil_mode", 0))
    axes = [_axis(image[a], reach[a], strides[a], pads[a], pads[a + 2], ceil) for a in (0, 1)]
    if min(out for out, _ in axes) < 1:
        raise site.malformed(f"the window {list(kernel)} is larger than its padded input {list(image)}")
    return Window(
        (kernel[0], kernel[1]),
        strides,
        dilations,
        pads,
        extra=(axes[0][1], axes[1][1]),
        out=(axes[0][0], axes[1][0]),
    )


def two(values: tuple[int, ...], rows: int) -> tuple[int, int]:
    """Give numbers for rows and columns, of which those of a window over one row name the columns alone."""
    return (values[0], values[1]) if len(values) == 2 else (rows, values[0])


def _axis(size: int, reach: int, stride: int, before: int, after: int, ceil: bool) -> tuple[int, int]:
    """Give the output's size along one axis, and how far the last window stands out."""
    room = size + before + after - reach
    out = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (out - 1) * stride >= size + before:
        out -= 1  # a window may not begin in the padding at the end
    return out, max(0, (out - 1) * stride - room)


def _same(
    image: tuple[int, ...], reach: list[int], strides: tuple[int, int], *, upper: bool
) -> tuple[int, int, int, int]:
    total = [max(0, (-(-i // s) - 1) * s + r - i) for i, r, s in zip(image, reach, strides, strict=True)]
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    before, after = (small, large) if upper else (large, small)
    return before[0], before[1], after[0], after[1]
