"""Pad: over the image -> Pad, over channels -> Subsample that takes all and pads."""

import numpy as np
import onnx_ir as ir

from ..site import Operand, Site, shape_of

_MODES = ("constant", "reflect", "edge")


def pad(site: Site) -> Operand:
    """Convert Pad; pads and value are attributes before opset 11, axes an input from opset 18 on."""
    x = site.tensor(rank=4)
    pads = site.ints("pads", 1)
    if pads is None:
        raise site.malformed("its pads are missing")
    axes = [site.axis(axis, 4) for axis in site.ints("axes", 3) or range(4)]
    if len(pads) != 2 * len(axes):
        raise site.malformed(f"{len(pads)} pads for {len(axes)} axes")
    if not any(pads):
        return x
    before, after = [0] * 4, [0] * 4
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    mode, value = _mode(site), _value(site)
    if min(pads) < 0 or before[0] or after[0]:
        raise site.unsupported(f"pads {list(pads)}", "pads of at least 0 over channels, rows and columns")
    image, channels = (before[2], before[3], after[2], after[3]), (before[1], after[1])
    if mode != "constant" and any(channels):
        raise site.unsupported(f"mode {mode!r} over channels", "'constant' there")
    if mode == "reflect" and any(pad >= shape_of(x)[2 + i % 2] for i, pad in enumerate(image)):
        raise site.malformed(f"mode 'reflect' with pads {list(image)} of an image {list(shape_of(x)[2:])}")
    if not value or mode != "constant":
        return _pad(site, x, channels, image, mode)
    # Around x - value there are zeros; then the value is added everywhere.
    x = _shifted(site, x, -value, "minus")
    return _shifted(site, _pad(site, x, channels, image, mode, "pad"), value)


def _mode(site: Site) -> str:
    mode = str(site.attr("mode", "constant"))
    if mode not in _MODES:
        raise site.unsupported(f"mode {mode!r}", ", ".join(_MODES))
    return mode


def _value(site: Site) -> float:
    value = site.constant(2)
    given = float(site.attr("value", 0.0)) if value is None or not value.size else float(value.reshape(-1)[0])
    if not np.isfinite(given):
        raise site.unsupported(f"its value is {given}", "a finite value")
    return given


def _pad(
    site: Site,
    x: ir.Value,
    channels: tuple[int, int],
    image: tuple[int, int, int, int],
    mode: str,
    step: str = "",
) -> ir.Value:
    _, c, h, w = shape_of(x)
    if any(channels):
        done = f"{step}.channels" if step else "channels" if any(image) else ""
        shape = (1, channels[0] + c + channels[1], h, w)
        x = site.emit("Subsample", [x], shape, step=done, sizes=(c, h, w), channel_pad=channels)
    if any(image):
        _, c, h, w = shape_of(x)
        shape = (1, c, image[0] + h + image[2], image[1] + w + image[3])
        x = site.emit("Pad", [x], shape, step=step, pads=image, mode=mode)
    return x


def _shifted(site: Site, x: ir.Value, by: float, step: str = "") -> ir.Value:
    ones = np.ones(shape_of(x)[1])
    return site.emit("Affine", [x], shape_of(x), step=step, weights=[("scale", ones), ("shift", by * ones)])


CONVERTERS = {"Pad": pad}
