"""ConvTranspose -> a convolution for each phase of the stride, all in one, and their outputs interleaved.

    stride 2, kernel 4:    y[2 q + phase] = sum over m of x[q - m] * w[phase + 2 m]

Each phase is a filter of its own, of the kernel's every second row and column, so nothing is multiplied by zeros.
"""

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from ..window import two


def conv_transpose(site: Site) -> Operand:
    """Convert a transposed convolution of an image or of rows; weights are [ic, oc / group, kh, kw] or [.., k]."""
    x, weight = site.image(), site.weight(1)
    rank = len(shape_of(site.tensor())) - 2
    if weight.ndim != 2 + rank:
        raise site.unsupported(
            f"its weight has shape {list(weight.shape)}",
            "kernels [ic, oc, kh, kw] of an image, [ic, oc, k] of rows",
        )
    group, channels = int(site.attr("group", 1)), shape_of(x)[1]
    if group < 1 or channels % group or weight.shape[0] != channels:
        raise site.malformed(
            f"weight {list(weight.shape)} with group {group} does not fit {channels} input channels"
        )
    if site.attr("kernel_shape", weight.shape[2:]) != weight.shape[2:]:
        raise site.malformed(f"kernel_shape contradicts its weight {list(weight.shape)}")
    filters = weight.shape[1] * group
    bias = site.constant(2)
    bias = np.zeros(filters, np.float32) if bias is None else bias
    if bias.shape != (filters,):
        raise site.malformed(f"its bias has shape {list(bias.shape)}, not [{filters}]")
    strides = two(site.attr("strides", (1,) * rank), 1)
    dilations = two(site.attr("dilations", (1,) * rank), 1)
    kernel = dilated(weight.reshape(*weight.shape[:2], *two(weight.shape[2:], 1)), dilations)
    pads, out = _place(site, shape_of(x)[2:], kernel.shape[2:], strides)
    return site.like_operand(
        transposed(site, x, phases_of(kernel, group, strides), bias, group, strides, pads, out)
    )


def _place(
    site: Site, image: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give the pads at the top and left, and the output's size."""
    rank = len(shape_of(site.tensor())) - 2
    extra = two(site.attr("output_padding", (0,) * rank), 0)
    full = [(i - 1) * s + r for i, s, r in zip(image, strides, reach, strict=True)]
    most = [f + e for f, e in zip(full, extra, strict=True)]
    asked, mode = site.attr("output_shape"), site.attr("auto_pad", "NOTSET")
    if asked is not None:
        asked = two(tuple(asked)[-rank:], 1)
        if any(a > m for a, m in zip(asked, most, strict=True)):
            raise site.unsupported(
                f"output_shape {list(asked)} is more than its windows reach", f"up to {most}"
            )
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        asked = tuple(min(i * s, m) for i, s, m in zip(image, strides, most, strict=True))
    if asked is not None:
        total = [m - a for m, a in zip(most, asked, strict=True)]
        half = [(t + (mode != "SAME_UPPER")) // 2 for t in total]
        pads, out = (half[0], half[1]), (asked[0], asked[1])
    elif mode in ("NOTSET", "VALID"):
        given = site.attr("pads", (0,) * 2 * rank) if mode == "NOTSET" else (0,) * 2 * rank
        (top, left), (bottom, right) = two(given[:rank], 0), two(given[rank:], 0)
        if min(top, left, bottom, right) < 0:
            raise site.unsupported(f"pads {[top, left, bottom, right]} add to the output", "at least 0")
        pads = (top, left)
        out = (full[0] + extra[0] - top - bottom, full[1] + extra[1] - left - right)
    else:
        raise site.malformed(f"auto_pad {mode!r} does not exist")
    if min(out) < 1:
        raise site.malformed(f"its output would be {list(out)}")
    return pads, out


def dilated(weight: Array, dilations: tuple[int, int]) -> Array:
    """Put the zeros of a dilation into the kernels."""
    (kh, kw), (dy, dx) = weight.shape[2:], dilations
    kernel = np.zeros((*weight.shape[:2], (kh - 1) * dy + 1, (kw - 1) * dx + 1), np.float32)
    kernel[:, :, ::dy, ::dx] = weight
    return kernel


def phases_of(kernel: Array, group: int, strides: tuple[int, int]) -> Array:
    """Give the filters [oc * phases, ic / group, mh, mw] of a convolution, those of one output channel together."""
    (sy, sx), (ic, oc) = strides, kernel.shape[:2]
    mh, mw = -(-kernel.shape[2] // sy), -(-kernel.shape[3] // sx)
    whole = np.zeros((ic, oc, mh * sy, mw * sx), np.float32)
    whole[:, :, : kernel.shape[2], : kernel.shape[3]] = kernel
    parts = whole.reshape(group, ic // group, oc, mh, sy, mw, sx)[:, :, :, ::-1, :, ::-1]
    return parts.transpose(0, 2, 4, 6, 1, 3, 5).reshape(group * oc * sy * sx, ic // group, mh, mw)


def transposed(
    site: Site,
    x: ir.Value,
    filters: Array,
    bias: Array,
    group: int,
    strides: tuple[int, int],
    pads: tuple[int, int],
    out: tuple[int, int],
) -> ir.Value:
    """Append the convolution over whole blocks of the stride, the interleaving, and what cuts off the rest."""
    image, reach, steps = shape_of(x)[2:], filters.shape[2:], range(2)
    skip = [min(pads[i] // strides[i], reach[i] - 1) for i in steps]
    blocks = [-(-(pads[i] - skip[i] * strides[i] + out[i]) // strides[i]) for i in steps]
    after = [max(0, skip[i] + blocks[i] - image[i]) for i in steps]
    rows = [reach[i] - 1 - skip[i] + image[i] + after[i] - reach[i] + 1 for i in steps]
    phases = strides[0] * strides[1]
    constants = [("weight", filters), ("bias", np.repeat(bias, phases))]
    conv_pads = (reach[0] - 1 - skip[0], reach[1] - 1 - skip[1], after[0], after[1])
    shape = (1, len(filters), *rows)
    cut = [pads[i] - skip[i] * strides[i] for i in steps]
    whole = (rows[0] * strides[0], rows[1] * strides[1]) == out and not any(cut)
    step = "" if phases == 1 and whole else "phases"
    y = site.emit("Conv", [x], shape, weights=constants, step=step, pads=conv_pads, group=group)
    y = _interleaved(site, y, strides, "" if whole else "interleaved")
    if whole:
        return y
    channels = shape_of(y)[1]
    return site.emit(
        "Subsample", [y], (1, channels, *out), starts=(0, cut[0], cut[1]), sizes=(channels, *out)
    )


def _interleaved(site: Site, y: ir.Value, strides: tuple[int, int], step: str) -> ir.Value:
    """Append what turns channels [c, sy, sx] of an image into rows and columns."""
    (sy, sx), (_, channels, h, w) = strides, shape_of(y)
    if sy == sx:
        shape = (1, channels // (sy * sx), h * sy, w * sx)
        if sy == 1:
            return y
        return site.emit("DepthToSpace", [y], shape, step=step, blocksize=sy, mode="CRD")
    six = site.reshape(y, (1, channels // (sy * sx), sy, sx, h, w), step="six")
    perm = (0, 1, 4, 2, 5, 3)
    moved = site.emit("Transpose", [six], [shape_of(six)[i] for i in perm], step="moved", perm=perm)
    return site.reshape(moved, (1, channels // (sy * sx), h * sy, w * sx), step=step)


CONVERTERS = {"ConvTranspose": conv_transpose}
