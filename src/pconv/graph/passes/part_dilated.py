"""Turn a convolution whose dilation is large for its image into a plain one of the image's phases, side by side.

    rows 0 3 6 | gap | 1 4 7 | gap | 2 5        dilation 3: what a tap is apart in the image is next to it here

    Conv(dilation d, pads a * d)    =>    Resize (rows and columns to their places) -> Conv(pads a) -> Resize (back)

The gaps are zeros, as many as the taps reach beyond a phase. Layouts store an image with as wide a halo as taps reach:
around each of its blocks that is a multiple of a small image. The plain convolution may also run in Winograd's way.
Source: ours; as space-to-batch, where phases become a batch.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from ..edit import get, ints, is_op, make_node, put, source, weight
from ..site import Array, shape_of

BLOCKS = 4
"""Blocks of an image, down and across, by which halos are estimated; of a single row as many as of an image."""
TIMES = 2
"""How many times as large an image must be with its halos for this to pay for two copies of it."""
MANY = 16
"""Channels and filters from which on Winograd's way pays for 3x3 kernels."""
LONG = 1 << 22
"""Elements of the matrices that say where positions go, from which on these cost more than is saved: of long sounds."""
GROWN = 1.25
"""How many times as large the phases may be, gaps included, where Winograd's way more than makes up for it."""


@dataclass(frozen=True)
class _Axis:
    """Rows, or columns, and a kernel's `taps` over them, `apart`, the first of which lies `before` an output."""

    size: int
    taps: int
    apart: int
    before: int
    after: int

    @property
    def parts(self) -> bool:
        """Tell whether as many outputs as inputs fall into the same phases."""
        return self.before + self.after == self.apart * (self.taps - 1) and self.before % self.apart == 0

    @property
    def parted(self) -> "_Axis":
        """Return the phases one behind the other, with gaps."""
        if self.apart == 1:
            return self
        before, after = self.before // self.apart, self.after // self.apart
        gap = max(before, after)
        size = self.apart * (-(-self.size // self.apart) + gap) - gap
        return _Axis(size, self.taps, 1, before, after)

    def stored(self, blocks: int) -> int:
        """Count the positions of one of so many blocks, with its halos."""
        return -(-self.size // blocks) + self.before + self.after

    @property
    def places(self) -> Array:
        """Give a 1 where each place of the phases has a position: [places, positions]."""
        at, parted = np.arange(self.size), self.parted
        gap = max(parted.before, parted.after)
        each = -(-self.size // self.apart) + gap
        found = np.zeros((parted.size, self.size), np.float32)
        found[at if self.apart == 1 else at % self.apart * each + at // self.apart, at] = 1
        return found


def part_dilated(graph: ir.Graph) -> None:
    """Part every image that its halos would make much larger, where the convolution stands alone and has stride 1."""
    for node in list(graph):
        if not is_op(node, "Conv") or ints(node, "strides") != (1, 1) or max(ints(node, "dilations")) == 1:
            continue
        pads, image, taps = ints(node, "pads"), shape_of(source(node))[2:], weight(node, 1).shape[2:]
        apart = [one if count > 1 else 1 for one, count in zip(ints(node, "dilations"), taps, strict=True)]
        axes = [_Axis(image[i], taps[i], apart[i], pads[i], pads[i + 2]) for i in (0, 1)]
        alone = len(node.inputs) == 3 and not get(node, "pool")
        if alone and all(axis.parts and axis.size * axis.parted.size < LONG for axis in axes):
            down = min(BLOCKS, image[0])
            blocks = down, BLOCKS * BLOCKS // down
            now, then = (
                prod(axis.stored(n) for axis, n in zip(some, blocks, strict=True))
                for some in (axes, [axis.parted for axis in axes])
            )
            if now > TIMES * then or (_dense(node) and _grown(axes) < GROWN):
                _part(graph, node, axes)


def _dense(node: ir.Node) -> bool:
    """Tell whether a convolution has 3x3 kernels over many channels, most of whose weights are there."""
    kernel = weight(node, 1)
    many = min(kernel.shape[:2]) >= MANY and kernel.shape[2:] == (3, 3)
    return many and 2 * int(np.count_nonzero(kernel)) > kernel.size


def _grown(axes: list[_Axis]) -> float:
    return prod(axis.parted.size / axis.size for axis in axes)


def _part(graph: ir.Graph, node: ir.Node, axes: list[_Axis]) -> None:
    parted, image, out = [axis.parted for axis in axes], source(node), node.outputs[0]
    rows, columns = (axis.places for axis in axes)
    size, filters, name, kind = [axis.size for axis in parted], shape_of(out)[1], out.name, out.type
    there, back = {"rows": rows, "columns": columns}, {"rows": rows.T, "columns": columns.T}
    apart = make_node(graph, "Resize", f"{node.name}:apart", [image], (*shape_of(image)[:2], *size), there)
    together = make_node(graph, "Resize", f"{node.name}:together", [out], shape_of(out), back)
    graph.insert_before(node, apart)
    graph.insert_after(node, together)
    out.replace_all_uses_with(together.outputs[0], replace_graph_outputs=True)
    together.replace_input_with(0, out)
    node.replace_input_with(0, apart.outputs[0])
    put(node, dilations=(1, 1), pads=tuple([a.before for a in parted] + [a.after for a in parted]))
    out.name, out.shape = together.outputs[0].name, ir.Shape((1, filters, *size))
    together.outputs[0].name, together.outputs[0].type = name, kind
