"""Gemm, MatMul with constant weights -> Gemm with weight [out, k] and a bias; of images, channels last, a 1x1 Conv."""

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .transpose import last_again, last_as_image


def gemm(site: Site) -> Operand:
    """Convert Gemm: alpha and beta go into the constants."""
    if site.attr("transA", 0):
        raise site.unsupported("transA = 1", "transA = 0")
    weight = site.weight(1)
    if weight.ndim != 2:
        raise site.malformed(f"its weight has shape {list(weight.shape)}")
    weight = weight if site.attr("transB", 0) else weight.T
    bias = site.constant(2)
    bias = np.zeros((), np.float32) if bias is None else bias
    try:
        bias = np.broadcast_to(bias, (1, weight.shape[0]))[0]
    except ValueError:
        raise site.malformed(
            f"its bias {list(bias.shape)} does not broadcast to {weight.shape[0]} outputs"
        ) from None
    return _emit(site, _times(weight, site.attr("alpha", 1.0)), _times(bias, site.attr("beta", 1.0)))


def matmul(site: Site) -> Operand:
    """Convert MatMul of activations and a constant matrix."""
    weight = site.weight(1)
    if weight.ndim != 2:
        raise site.unsupported(f"its weight has shape {list(weight.shape)}", "a matrix [k, out]")
    if isinstance(x := site.operand(0), ir.Value) and len(shape_of(x)) > 2:
        return _pointwise(site, x, weight)
    return _emit(site, weight.T, np.zeros(weight.shape[1], np.float32))


def _pointwise(site: Site, x: ir.Value, weight: Array) -> Operand:
    """Append a 1x1 convolution of what has its channels last: an image, or rows of tokens."""
    *before, channels = shape_of(x)
    if weight.shape[0] != channels:
        raise site.malformed(f"its weight takes {weight.shape[0]} features, its input has {channels}")
    image, filters = last_as_image(site, x, "image"), weight.shape[1]
    weights = [("weight", weight.T[:, :, None, None]), ("bias", np.zeros(filters, np.float32))]
    done = site.emit("Conv", [image], (1, filters, *shape_of(image)[2:]), weights=weights, step="conv")
    return last_again(site, done, (*before, filters))


def _times(array: Array, factor: float) -> Array:
    return array if factor == 1.0 else array * np.float32(factor)


def _emit(site: Site, weight: Array, bias: Array) -> Operand:
    x = site.tensor(rank=2)
    if weight.shape[1] != shape_of(x)[1]:
        raise site.malformed(f"its weight takes {weight.shape[1]} features, its input has {shape_of(x)[1]}")
    return site.emit("Gemm", [x], (1, weight.shape[0]), weights=[("weight", weight), ("bias", bias)])


CONVERTERS = {"Gemm": gemm, "MatMul": matmul}
