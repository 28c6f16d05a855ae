"""Gemm, MatMul with constant weights -> Gemm with weight [out, k] and a bias; of images, channels last, a 1x1 Conv.

A matrix and a vector, both of them computed, are products and their sums.
"""

from math import prod

import numpy as np
import onnx_ir as ir

from ..site import Array, Operand, Site, shape_of
from .arithmetic import combined
from .reduce import added
from .transpose import last_again, last_as_image, permuted


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
    """Convert MatMul of activations and a constant matrix, on either side, or of a matrix and a vector."""
    first, second = site.operand(0), site.operand(1)
    if isinstance(first, ir.Value) and isinstance(second, ir.Value):
        return _matrix_times_vector(site, first, second)
    if isinstance(second, ir.Value):
        return _left(site, second, _matrix(site, 0, len(shape_of(second))))
    x = site.tensor()
    weight = _matrix(site, 1, len(shape_of(x)))
    if len(shape_of(x)) > 2:
        return _pointwise(site, x, weight)
    return _emit(site, weight.T, np.zeros(weight.shape[1], np.float32))


def _matrix(site: Site, i: int, rank: int) -> Array:
    """Give a constant matrix, which may stand alone in more dimensions."""
    weight = site.weight(i)
    if not 2 <= weight.ndim <= rank or weight.size != weight.shape[-1] * weight.shape[-2]:
        raise site.unsupported(f"its weight has shape {list(weight.shape)}", "one matrix [k, out]")
    return weight.reshape(weight.shape[-2:])


def _matrix_times_vector(site: Site, a: ir.Value, b: ir.Value) -> Operand:
    """Append the products of two computed operands, one of which is a vector, and their sums, as in global context."""
    rank, (one, other) = len(shape_of(a)), (shape_of(a), shape_of(b))
    if rank < 3 or rank != len(other) or one[-1] != other[-2] or 1 not in (one[-2], other[-1]):
        raise site.unsupported(
            f"it multiplies two computed matrices, {list(one)} and {list(other)}, as in attention",
            "a constant matrix, or a vector",
            "Compile the part before this node, or a network of convolutions alone.",
        )
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if other[-1] == 1:
        b, axis = permuted(site, b, swapped, "vector"), rank - 1
    else:
        a, axis = permuted(site, a, swapped, "vector"), rank - 2
    product = combined(site, "Mul", a, b, "product")
    total = added(site, product, (axis,))
    return site.last(total, shape_of(total))


def _left(site: Site, x: ir.Value, weight: Array) -> Operand:
    """Append weight @ x: a 1x1 convolution whose channels are the last dimension but one."""
    shape = shape_of(x)
    axis = len(shape) - 2
    if axis < 1 or weight.shape[1] != shape[axis]:
        raise site.malformed(f"its weight {list(weight.shape)} does not fit an input {list(shape)}")
    moved = site.swap(x, axis, "channels")
    _, k, *rest = shape_of(moved)
    image = site.reshape(moved, (1, k, prod(rest[:-1]), rest[-1]), "image")
    filters = weight.shape[0]
    weights = [("weight", weight[:, :, None, None]), ("bias", np.zeros(filters, np.float32))]
    done = site.emit("Conv", [image], (1, filters, *shape_of(image)[2:]), weights=weights, step="conv")
    mixed = site.swap(site.reshape(done, (1, filters, *rest), "mixed"), axis)
    return site.last(mixed, shape_of(mixed))


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
