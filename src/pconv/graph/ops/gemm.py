"""Gemm, MatMul with constant weights -> Gemm with weight [out, k] and a bias; of images, channels last, a 1x1 Conv.

MatMul of two computed matrices is in `product`.
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .product import product
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
    if bias.ndim == 2 and len(bias) > 1:
        raise site.unsupported(f"its bias has shape {list(bias.shape)}", "the same numbers for every row")
    try:
        bias = np.broadcast_to(bias, (1, weight.shape[0]))[0]
    except ValueError:
        raise site.malformed(
            f"its bias {list(bias.shape)} does not broadcast to {weight.shape[0]} outputs"
        ) from None
    weight, bias = _times(weight, site.attr("alpha", 1.0)), _times(bias, site.attr("beta", 1.0))
    if site.reads_unbatched:
        return _pointwise(site, site.tensor(), weight.T, bias)
    return _emit(site, weight, bias)


def matmul(site: Site) -> Operand:
    """Convert MatMul of activations and a constant matrix, on either side, or of two computed ones."""
    first, second = site.operand(0), site.operand(1)
    rank = max(len(shape_of(x)) for x in (first, second) if isinstance(x, ir.Value))
    if not any(isinstance(x, np.ndarray) and _is_one(x, rank) for x in (first, second)):
        y = product(site, *(_matrices(site, i, rank) for i in (0, 1)))
        return site.last(y, shape_of(y))
    if isinstance(second, ir.Value):
        return _left(site, second, _matrix(site, 0))
    x = site.tensor()
    weight = _matrix(site, 1)
    if len(shape_of(x)) > 2:
        return _pointwise(site, x, weight)
    return _emit(site, weight.T, np.zeros(weight.shape[1], np.float32))


def _is_one(weight: Array, rank: int) -> bool:
    """Tell whether a constant is one matrix, which may stand alone in more dimensions."""
    return 2 <= weight.ndim <= rank and weight.size == weight.shape[-1] * weight.shape[-2]


def _matrices(site: Site, i: int, rank: int) -> ir.Value:
    """Give an operand of a product; a constant has as many dimensions as the other one."""
    operand = site.operand(i)
    if not isinstance(operand, np.ndarray):
        return site.tensor(i)
    if not 2 <= operand.ndim <= rank or rank < 3:
        raise site.unsupported(f"its weight has shape {list(operand.shape)}", "one matrix [k, out]")
    return site.constant_value(operand, (1,) * (rank - operand.ndim) + operand.shape, f"constant{i}")


def _matrix(site: Site, i: int) -> Array:
    """Give a constant that is one matrix."""
    weight = site.weight(i)
    return weight.reshape(weight.shape[-2:])


def _left(site: Site, x: ir.Value, weight: Array) -> Operand:
    """Append weight @ x: a 1x1 convolution whose channels are the last dimension but one."""
    shape = shape_of(x)
    axis = len(shape) - 2
    if axis == 0:
        raise site.unsupported(f"it adds up the samples of {list(shape)}", "any axis but the batch")
    if weight.shape[1] != shape[axis]:
        raise site.malformed(f"its weight {list(weight.shape)} does not fit an input {list(shape)}")
    moved = site.swap(x, axis, "channels")
    _, k, *rest = shape_of(moved)
    image = site.reshape(moved, (1, k, prod(rest[:-1]), rest[-1]), "image")
    filters = weight.shape[0]
    weights = [("weight", weight[:, :, None, None]), ("bias", np.zeros(filters, np.float32))]
    done = site.emit("Conv", [image], (1, filters, *shape_of(image)[2:]), weights=weights, step="conv")
    mixed = site.swap(site.reshape(done, (1, filters, *rest), "mixed"), axis)
    return site.last(mixed, shape_of(mixed))


def _pointwise(site: Site, x: ir.Value, weight: Array, bias: Array | None = None) -> Operand:
    """Append a 1x1 convolution of what has its channels last: an image, or rows of tokens."""
    *before, channels = shape_of(x)
    if weight.shape[0] != channels:
        raise site.malformed(f"its weight takes {weight.shape[0]} features, its input has {channels}")
    image, filters = last_as_image(site, x, "image"), weight.shape[1]
    bias = np.zeros(filters, np.float32) if bias is None else bias
    weights = [("weight", weight.T[:, :, None, None]), ("bias", bias)]
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
