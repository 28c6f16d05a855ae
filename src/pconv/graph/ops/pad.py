"""Pad: over the image -> Pad, over channels -> Subsample that takes all and pads.

What has more dimensions is an image of its last two.
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Operand, Site, shape_of

_MODES = ("constant", "reflect", "edge")


def pad(site: Site) -> Operand:
    """Convert Pad; pads and value are attributes before opset 11, axes an input from opset 18 on."""
    x = site.tensor()
    shape, rank = shape_of(x), len(shape_of(x))
    pads = site.ints("pads", 1)
    if pads is None:
        raise site.malformed("its pads are missing")
    axes = [site.axis(axis, rank) for axis in site.ints("axes", 3) or range(rank - site.reads_unbatched)]
    if len(pads) != 2 * len(axes):
        raise site.malformed(f"{len(pads)} pads for {len(axes)} axes")
    if not any(pads):
        return x
    ends = [[0] * rank, [0] * rank]
    for i, axis in enumerate(axes):
        ends[0][axis], ends[1][axis] = pads[i], pads[i + len(axes)]
    mode, value = _mode(site), _value(site)
    outside = any(end[0] or (rank > 4 and any(end[1:-2])) for end in ends)
    if rank < 3 or outside or (min(pads) < 0 and mode != "constant"):
        raise site.unsupported(
            f"pads {list(pads)}",
            "pads over rows and columns, of 3 and 4 dimensions over channels too, "
            "of at least 0 where the mode is not constant",
        )
    rows = shape[2:-1][-1:] or (1,)
    x = site.reshape(x, (1, prod(shape[1 : max(2, rank - 2)]), *rows, shape[-1]), "image")
    before, after = ([0, *(end[1:2] if rank < 5 else [0]), *(end[2:-1][-1:] or [0]), end[-1]] for end in ends)
    x = _cropped(site, x, before, after)
    before, after = [max(pad, 0) for pad in before], [max(pad, 0) for pad in after]
    image, channels = (before[2], before[3], after[2], after[3]), (before[1], after[1])
    if mode != "constant" and any(channels):
        raise site.unsupported(f"mode {mode!r} over channels", "'constant' there")
    if mode == "reflect" and any(pad >= shape_of(x)[2 + i % 2] for i, pad in enumerate(image)):
        raise site.malformed(f"mode 'reflect' with pads {list(image)} of an image {list(shape_of(x)[2:])}")
    y = _pad(site, x, channels, image, mode, value if mode == "constant" else 0.0)
    if rank == 4:
        return y
    done = shape_of(y)
    return site.named(
        y, site.reshape(y, (1, done[1], done[3]) if rank == 3 else (*shape[:-2], *done[2:]), "shaped")
    )


def _cropped(site: Site, x: ir.Value, before: list[int], after: list[int]) -> ir.Value:
    """Append what takes away as much as negative pads say; where nothing is padded, it is the last step."""
    last = max((axis for axis in (1, 2, 3) if min(before[axis], after[axis]) < 0), default=0)
    for axis in (1, 2, 3):
        taken = range(shape_of(x)[axis])[max(0, -before[axis]) : shape_of(x)[axis] + min(0, after[axis])]
        if not taken:
            raise site.malformed(f"its pads take away all of axis {axis}")
        pads = any(pad > 0 for pad in (*before, *after))
        x = site.cut(x, axis, taken, f"crop{axis}" if pads or axis != last else "")
    return x


def _mode(site: Site) -> str:
    mode = str(site.attr("mode", "constant"))
    if mode not in _MODES:
        raise site.unsupported(f"mode {mode!r}", ", ".join(_MODES))
    return mode


def _value(site: Site) -> float:
    value = site.constant(2)
    given = float(site.attr("value", 0.0)) if value is None or not value.size else float(value.reshape(-1)[0])
    padded = site.node.outputs[0]
    readers = {use.node.op_type for use in padded.uses()}
    if given == -np.inf and readers == {"MaxPool"} and not padded.is_graph_output():
        return float(np.finfo(np.float32).min)  # no more than any other value wins a maximum
    if not np.isfinite(given):
        raise site.unsupported(
            f"its value is {given}", "a finite value; -inf where only MaxPool reads it, and no output is it"
        )
    return given


def _pad(
    site: Site,
    x: ir.Value,
    channels: tuple[int, int],
    image: tuple[int, int, int, int],
    mode: str,
    value: float,
) -> ir.Value:
    """Append what pads channels, then what pads the image; a value is added where zeros were put, and only there."""
    _, c, h, w = shape_of(x)
    last = "channels" if any(image) else ""
    if any(channels):
        done = "channels.zeros" if value else last
        shape = (1, channels[0] + c + channels[1], h, w)
        x = site.emit("Subsample", [x], shape, step=done, sizes=(c, h, w), channel_pad=channels)
        if value:
            put = np.pad(np.zeros(c), channels, constant_values=value)
            constants = [("scale", np.ones_like(put)), ("shift", put)]
            x = site.emit("Affine", [x], shape, step=last, weights=constants)
    if any(image):
        _, c, *_ = shape_of(x)
        shape = (1, c, image[0] + h + image[2], image[1] + w + image[3])
        x = site.emit("Pad", [x], shape, step="zeros" if value else "", pads=image, mode=mode)
        if value:
            put = np.pad(
                np.zeros((1, 1, h, w)), ((0, 0), (0, 0), image[::2], image[1::2]), constant_values=value
            )
            rim = site.emit("Constant", [], put.shape, step="value", weights=[("value", put)])
            x = site.emit("Add", [x, rim], shape)
    return x


CONVERTERS = {"Pad": pad}
