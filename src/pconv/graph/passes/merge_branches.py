"""Merge linear branches of one image whose results are added, as RepVGG and MobileOne have them while they are trained.

    Conv(x, w) + Conv(x, v)             =>    Conv(x, w + v), where the taps of one lie among those of the other
    Conv(x, w) + Affine(x, s), or + x   =>    Conv(x, w + s), s, or 1, in the middle, from each channel to itself

Where weights are pruned, branches merge only if that adds no place to those of the larger one, or if both together
multiply no less than all its places do. Source: ours; RepVGG (arXiv 2101.03697, section 3.3) does it before the export.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..edit import absorb, detach, get, ints, is_op, set_weight, sole_consumer, source, weight
from ..site import Array, shape_of
from ..spec import ACTIVATION_DEFAULTS


@dataclass(frozen=True, slots=True)
class _Branch:
    """One convolution of several that are added: weight [o, i, kh, kw], bias [o], pads above and to the left."""

    weight: Array
    bias: Array
    pads: tuple[int, ...] = (0, 0)
    dilations: tuple[int, ...] = (1, 1)


def merge_branches(graph: ir.Graph) -> None:
    """Merge both operands of every Add that alone uses them."""
    for add in list(graph):
        if is_op(add, "Add") and not _merge(add, 0):
            _merge(add, 1)


def _merge(add: ir.Node, i: int) -> bool:
    """Let the convolution that computes operand `i` compute the other one too; was that possible?"""
    conv, other = source(add, i).producer(), source(add, 1 - i)
    host = None if conv is None or not is_op(conv, "Conv") else _convolution(conv, add)
    if conv is None or host is None or shape_of(other) != shape_of(conv.outputs[0]):
        return False
    branch = _branch(other, conv, add)
    placed = None if branch is None else _placed(host, branch)
    if branch is None or placed is None:
        return False
    set_weight(conv, 1, (host.weight.astype(np.float64) + placed).astype(np.float32))
    set_weight(conv, 2, (host.bias.astype(np.float64) + branch.bias).astype(np.float32))
    for attr in ACTIVATION_DEFAULTS:
        conv.attributes[attr] = add.attributes[attr]
    absorb(conv, add)
    node = other.producer()
    if node is not None and other is not source(conv):
        detach(node)
    return True


def _branch(value: ir.Value, conv: ir.Node, add: ir.Node) -> _Branch | None:
    """Give what computes a value as a convolution of the same image, strides and groups as `conv`, if it is one."""
    node, image, strides, group = value.producer(), source(conv), ints(conv, "strides"), get(conv, "group")
    if value is image:
        scale, shift = np.ones(shape_of(image)[1], np.float32), np.zeros(shape_of(image)[1], np.float32)
    elif node is None or not is_op(node, "Conv", "Affine") or source(node) is not image:
        return None
    elif is_op(node, "Conv"):
        alike = ints(node, "strides") == strides and get(node, "group") == group
        return _convolution(node, add) if alike else None
    elif sole_consumer(node) is not add or get(node, "activation") != "none":
        return None
    else:
        scale, shift = weight(node, 1), weight(node, 2)
    if strides != (1, 1):
        return None
    oc, ic = weight(conv, 1).shape[:2]
    own = np.zeros((oc, ic, 1, 1), np.float32)
    own[np.arange(oc), np.arange(oc) % ic, 0, 0] = scale
    return _Branch(own, shift)


def _convolution(node: ir.Node, add: ir.Node) -> _Branch | None:
    """Give a convolution that only an Add uses, None if it does more than that."""
    plain = get(node, "activation") == "none" and get(node, "pool") == "" and len(node.inputs) == 3
    if not plain or sole_consumer(node) is not add:
        return None
    return _Branch(weight(node, 1), weight(node, 2), ints(node, "pads")[:2], ints(node, "dilations"))


def _placed(host: _Branch, branch: _Branch) -> Array | None:
    """Give a branch's weights at the places of the host's; None where it has taps elsewhere, or apart less is done."""
    places: list[NDArray[np.int64]] = []
    for axis in (0, 1):
        step, taps = host.dilations[axis], np.arange(branch.weight.shape[2 + axis])
        at = taps * branch.dilations[axis] - branch.pads[axis] + host.pads[axis]
        if (at % step).any() or at.min() < 0 or at.max() // step >= host.weight.shape[2 + axis]:
            return None
        places.append(at // step)
    placed = np.zeros_like(host.weight)
    placed[:, :, places[0][:, None], places[1]] = branch.weight
    apart = np.count_nonzero(host.weight) + np.count_nonzero(branch.weight)
    return None if placed[host.weight == 0].any() and placed.size > apart else placed
