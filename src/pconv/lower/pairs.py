"""A convolution and the depthwise one behind it, some channels at a time: what is between them never leaves L2.

    apart      expand 96 filters -> 96 planes of 112x112, 5 MB through L3 -> depthwise 96
    together   expand 8 filters -> 8 planes in a thread's scratch -> depthwise 8, twelve times over

A depthwise filter reads one channel and can follow as soon as that is there. Both layers go through their filters in
one order, that of the first. A task is a block of them, so that threads also meet once less. Source: ours.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.lower.kernels import ConvKernel
from pconv.lower.plan import Step
from pconv.lower.schedule import SHARES
from pconv.targets import Target

L2_SHARE = 4
"""The part of L2 that a block of channels takes at most, and what is between takes at least, is one in so many."""


def pair_steps(steps: Sequence[Step], target: Target) -> list[Step]:
    """Let each depthwise layer run within the convolution before it, where only that layer reads a large output."""
    if not target.pairs:
        return list(steps)
    found, readers = list(steps), Counter(tensor.name for step in steps for tensor in step.inputs)
    for i in range(len(found) - 1):
        first, behind = found[i : i + 2]
        if readers[first.output.name] == 1 and (blocks := _blocks(first, behind, target)):
            found[i : i + 2] = _paired(first, behind, blocks, target)
    return found


def _blocks(first: Step, behind: Step, target: Target) -> int:
    """Return into how many blocks of equal size two layers are cut, 0 where they cannot run together."""
    between, near = first.output, target.l2_bytes // L2_SHARE
    if behind.inputs != (between,) or between.space != "arena" or between.nbytes <= near:
        return 0
    if not (_plain(first) and _plain(behind) and _depthwise(behind)):
        return 0
    # Every filter is in a group of equal size, so that blocks of groups are blocks of channels.
    groups, filters = first.params["groups"], between.channels
    if first.data["order"].size != filters:
        return 0
    most = near // between.layout.plane_bytes
    return next((n for n in range(SHARES, groups + 1) if groups % n == 0 and filters // n <= most), 0)


def _plain(step: Step) -> bool:
    """Tell whether a step is a convolution that can be done for some filters at a time."""
    kernel = step.kernel
    return (
        isinstance(kernel, ConvKernel)
        and not (step.within or step.around)
        and not (kernel.block or kernel.by_channel)
        and kernel.points == 1
        and kernel.residual is None
    )


def _depthwise(step: Step) -> bool:
    """Tell whether each filter, all of which are there, reads the channel of its own number alone, or nothing."""
    order, offset, index = (step.data[name].astype(np.int64) for name in ("order", "offset", "index"))
    lone = step.params["groups"] == order.size == step.output.channels and offset.size == order.size + 1
    return lone and bool(np.array_equal(index, np.repeat(order, np.diff(offset))))


def _paired(first: Step, behind: Step, blocks: int, target: Target) -> list[Step]:
    """Return the two steps, the second within the first."""
    assert isinstance(first.kernel, ConvKernel) and isinstance(behind.kernel, ConvKernel)
    claims = behind.output.layout if target.claims and _alike(first, behind) else None
    order, channels = first.data["order"], first.output.channels // blocks
    between = replace(first.output, space="scratch", offset=0, channels=channels)
    note = f"; {channels} channels at a time, in turns with"
    return [
        replace(
            first,
            kernel=replace(_near(first.kernel, blocks), prefetch_output=False, claims=claims),
            output=between,
            data={**first.data, "order": np.arange(order.size, dtype=order.dtype)},
            params={**first.params, "parts": blocks, "grain": 1},
            work=replace(first.work, reason=f"{first.work.reason}{note} {behind.name}"),
            tasks=blocks,
        ),
        replace(
            behind,
            kernel=_near(behind.kernel, blocks),
            inputs=(between,),
            data=_in_order(behind.data, order),
            params={**behind.params, "parts": blocks, "grain": 1},
            work=replace(behind.work, reason=f"{behind.work.reason}{note} {first.name}"),
            tasks=0,
            within=True,
        ),
    ]


def _alike(first: Step, behind: Step) -> bool:
    """Tell whether each tile of the first layer has a place of its own in the second one's output."""
    assert isinstance(first.kernel, ConvKernel)
    sizes = [
        (t.layout.rows, t.layout.cols, t.layout.block_h, t.layout.block_w)
        for t in (first.output, behind.output)
    ]
    return sizes[0] == sizes[1] and behind.output.space == "arena" and not first.kernel.positions


def _near(kernel: ConvKernel, blocks: int) -> ConvKernel:
    """Return the kernel for so many blocks of filters, whose input is near."""
    return replace(kernel, parts=blocks, span=1, prefetch_next=False, prefetch_kernel=False)


def _in_order(data: Mapping[str, NDArray[Any]], order: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return a depthwise layer's constants for filters in this order, in which its channels are too."""
    at, offset = np.argsort(data["order"])[order], data["offset"].astype(np.int64)
    counts, starts = np.diff(offset)[at], offset[:-1][at]
    ends = np.concatenate([[0], np.cumsum(counts)])
    kernels = np.repeat(starts - ends[:-1], counts) + np.arange(ends[-1])
    moved = {
        "order": order,
        "bias": data["bias"][at],
        "run": data["run"].reshape(order.size, -1)[at],
        "offset": ends.astype(data["offset"].dtype),
        "index": np.repeat(np.arange(order.size), counts).astype(data["index"].dtype),
        "weight": data["weight"].reshape(kernels.size, -1)[kernels].ravel(),
    }
    return moved | ({"shape": data["shape"][kernels]} if "shape" in data else {})
