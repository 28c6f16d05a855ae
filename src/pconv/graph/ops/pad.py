"""Pad with zeros: over the image -> Pad, over channels -> Subsample that takes all and pads."""

from ..site import Operand, Site, shape_of


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
    if (mode := site.attr("mode", "constant")) != "constant":
        raise site.unsupported(f"mode {mode!r}", "'constant' with value 0")
    value = site.constant(2)
    if site.attr("value", 0.0) or (value is not None and value.any()):
        raise site.unsupported("its value is not 0", "value 0")
    if min(pads) < 0 or before[0] or after[0]:
        raise site.unsupported(f"pads {list(pads)}", "pads of at least 0 over channels, rows and columns")
    _, c, h, w = shape_of(x)
    image = (before[2], before[3], after[2], after[3])
    if before[1] or after[1]:
        step, c_out = "channels" if any(image) else "", before[1] + c + after[1]
        x = site.emit(
            "Subsample", [x], (1, c_out, h, w), step=step, sizes=(c, h, w), channel_pad=(before[1], after[1])
        )
    if any(image):
        _, c, h, w = shape_of(x)
        x = site.emit("Pad", [x], (1, c, image[0] + h + image[2], image[1] + w + image[3]), pads=image)
    return x


CONVERTERS = {"Pad": pad}
