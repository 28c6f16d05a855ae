"""Cut taps off a convolution's kernels that read nothing but padding.

Conv(3x3, dilation 36, pads 36) of an image 33x33    =>    Conv(1x1): all rows and columns but the middle lie outside
"""

import onnx_ir as ir

from ..edit import ints, is_op, put, set_weight, source, weight
from ..site import shape_of


def drop_padding_taps(graph: ir.Graph) -> None:
    """Cut them off the ends of every kernel, in rows and columns."""
    for node in graph:
        if is_op(node, "Conv"):
            for axis in (0, 1):
                _cut(node, axis)


def _cut(node: ir.Node, axis: int) -> None:
    kernel, pads = weight(node, 1), list(ints(node, "pads"))
    size, out = shape_of(source(node))[2 + axis], shape_of(node.outputs[0])[2 + axis]
    step, apart = ints(node, "strides")[axis], ints(node, "dilations")[axis]
    taps = kernel.shape[2 + axis]
    out *= 2 if node.attributes["pool"].value else 1
    first = [tap * apart - pads[axis] for tap in range(taps)]  # what the first output reads by each tap
    reads = [at < size and at + (out - 1) * step >= 0 for at in first]
    if all(reads) or not any(reads):
        return
    begin, end = reads.index(True), taps - reads[::-1].index(True)
    before, after = pads[axis] - begin * apart, pads[axis + 2] - (taps - end) * apart
    if min(before, after) < 0:
        return
    pads[axis], pads[axis + 2] = before, after
    dilations = list(ints(node, "dilations"))
    dilations[axis] = apart if end - begin > 1 else 1
    put(node, pads=tuple(pads), dilations=tuple(dilations))
    set_weight(node, 1, kernel[:, :, begin:end] if axis == 0 else kernel[:, :, :, begin:end])
