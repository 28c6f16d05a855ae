"""The arena: one buffer for all activations, planned by liveness.

step        0    1    2    3
a        [write read]               offset 0
b             [write read]          offset A
c                  [write read]     offset 0 again: a is dead

What is made once, when the model is opened, has a place of its own: it is the same for all samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pconv.lower.plan import Step, Tensor

ALIGN = 64


def homes(steps: Sequence[Step]) -> dict[str, str]:
    """Give for each tensor that is written over another one the first in that place."""
    found: dict[str, str] = {}
    for step in steps:
        if step.over:
            found[step.output.name] = found.get(step.over, step.over)
    return found


def lifetimes(steps: Sequence[Step]) -> dict[str, tuple[int, int]]:
    """Give for each arena tensor, with those that are written over it, the first and the last step that touches it."""
    spans: dict[str, tuple[int, int]] = {}
    home = homes(steps)
    for i, step in enumerate(steps):
        for tensor in (*step.inputs, step.output):
            if tensor.space == "arena":
                name, shared = home.get(tensor.name, tensor.name), tensor.layout.images > 1
                first, _ = spans.get(name, (i - step.within, i))
                # What several images share is there while the steps of each of them run.
                first = 0 if shared and step.part == "before" else first
                spans[name] = (first, len(steps) - 1 if shared and step.part == "behind" else i)
    return spans


def place(sizes: Mapping[str, int], spans: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Give each tensor an offset, largest first into the lowest gap; return the offsets and the total bytes."""
    placed: list[str] = []
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        first, last = spans[name]
        rivals = sorted(
            (offsets[p], offsets[p] + sizes[p])
            for p in placed
            if spans[p][0] <= last and first <= spans[p][1]
        )
        offset = 0
        for start, end in rivals:
            if offset + sizes[name] <= start:
                break
            offset = max(offset, -(-end // ALIGN) * ALIGN)
        offsets[name] = offset
        placed.append(name)
    return offsets, max((offsets[n] + sizes[n] for n in sizes), default=0)


def plan_arena(steps: Sequence[Step]) -> tuple[tuple[Step, ...], int, int]:
    """Return the steps with every tensor placed, the arena's size, and that of what is made once. Units: bytes."""
    prepared, prepared_bytes = {}, 0
    for step in steps:
        if step.once:
            prepared[step.output.name] = prepared_bytes
            prepared_bytes += -(-step.output.nbytes // ALIGN) * ALIGN
    home = homes(steps)
    sizes = {
        home.get(t.name, t.name): t.nbytes
        for s in steps
        for t in (*s.inputs, s.output)
        if t.space == "arena" and t.name not in prepared
    }
    offsets, total = place(sizes, lifetimes(steps))

    def settle(tensor: Tensor) -> Tensor:
        if tensor.space != "arena":
            return tensor
        if tensor.name in prepared:
            return replace(tensor, space="prepared", offset=prepared[tensor.name])
        return replace(tensor, offset=offsets[home.get(tensor.name, tensor.name)])

    def settled(step: Step) -> Step:
        around = (settled(step.around[0]), settled(step.around[1])) if step.around else None
        return replace(
            step, inputs=tuple(map(settle, step.inputs)), output=settle(step.output), around=around
        )

    return tuple(map(settled, steps)), total, prepared_bytes
