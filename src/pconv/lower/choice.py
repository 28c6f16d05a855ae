"""Sparse or dense, and on which schedule: all ways to run a convolution, ranked by the cost model.

A picker takes one of them: the model's first (`pick_modelled`), or the one that tuning measured to be fastest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pconv.lower import winograd
from pconv.lower.kernels import ConvKernel, digest
from pconv.lower.layout import LINE_BYTES
from pconv.lower.reorder import Shapes, classes, dense_shapes, kernel_shapes, pattern_shapes
from pconv.lower.schedule import Schedule, rank_schedules
from pconv.lower.winograd import Winograd
from pconv.lower.work_items import rank_work_items
from pconv.targets import Target

LONGEST_SUM = 256
"""Multiply-adds that halves sum up: the rounding of n sums grows with the square root of n, 256 stay near 1e-3."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One way to run a layer: how its weights are read, on which schedule, and through which transform if any."""

    kind: str
    shapes: Shapes
    members: list[NDArray[np.int64]]
    schedule: Schedule
    winograd: Winograd | None = None

    @property
    def name(self) -> str:
        """What tells this way from the others of the same layer, in words; what tuning writes down."""
        kernel = self.schedule.kernel
        parts = [
            self.kind,
            *(["tile {}x{}".format(*self.winograd.size)] if self.winograd else []),
            *([f"strip {self.winograd.strip}"] if self.winograd and self.winograd.strip else []),
            f"{'mixed ' if kernel.mixed else ''}g{kernel.group}",
        ]
        if kernel.positions:
            return " ".join([*parts, f"in lanes, {kernel.positions} outputs"])
        parts += [
            f"{kernel.tile[0]}x{kernel.tile[1]}",
            "by channel"
            if kernel.by_channel
            else "by table"
            if kernel.by_table
            else f"passes {kernel.passes}",
        ]
        parts += [f"block {kernel.block}"] if kernel.block else []
        parts += [f"{kernel.slices} slices"] if kernel.slices > 1 else []
        parts += ["fetching input"] if kernel.prefetch_next else []
        parts += ["fetching output"] if kernel.prefetch_output else []
        parts += ["fetching kernels"] if kernel.prefetch_kernel else []
        parts += ["fetching weights"] if kernel.prefetch_weights else []
        parts += [f"work group {kernel.work_group}"] if kernel.work_group else []
        return " ".join(parts)


Picker = Callable[[str, Sequence[Choice]], tuple[Choice, str]]
"""From a layer's key and its choices, best modelled first, to the one that runs and a note for the report."""


def pick_modelled(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Take the choice that is modelled fastest."""
    return choices[0], ""


def ranked_choices(
    bare: ConvKernel, weight: NDArray[np.float32], groups: int, target: Target, force_dense: bool
) -> list[Choice]:
    """Return the ways to run a layer, best modelled first; its zeros are ignored where dense is asked for."""
    ways: dict[str, Shapes] = {}
    dense = dense_shapes(weight, groups)
    if not force_dense and np.count_nonzero(weight) < weight.size:
        patterns = pattern_shapes(weight, groups)
        if patterns is not None and patterns.patterns != dense.patterns:
            ways["pattern-sparse" if patterns.taps > 1 else "sparse"] = patterns
        kept = kernel_shapes(weight, groups)
        if kept.kernels < dense.kernels:
            ways["kernel-sparse" if kept.taps > 1 else "sparse"] = kept
    ways["dense"] = dense
    choices = [choice for kind, shapes in ways.items() for choice in _schedules(kind, bare, shapes, target)]
    some = ways.get("pattern-sparse", ways.get("kernel-sparse", dense))
    if winograd.strided(bare.size, bare.stride, bare.dilation, groups):
        some = winograd.phases(weight)[1]
    elif some.kernels < dense.kernels:
        choices += _winograd("kernel-sparse Winograd", bare, some, groups, target)
        some = dense
    choices += _winograd("dense Winograd", bare, some, groups, target)
    return sorted(choices, key=lambda c: c.schedule.cycles)


def layer_key(bare: ConvKernel, choices: Sequence[Choice]) -> str:
    """Return what tuning knows a layer by: its shape, its layouts and its class of sparsity, in any network."""
    (kh, kw), out = bare.size, bare.output
    ways = {choice.kind: _sparsity_class(choice) for choice in choices}
    oc, ic = next(choice for choice in choices if choice.winograd is None).shapes.ids.shape
    images = f"{out.images} of " if out.images > 1 else ""
    shape = f"conv{kh}x{kw}s{bare.stride[0]} {ic}->{oc} @{images}{out.height}x{out.width}"
    sparsity = ", ".join(f"{kind} {ways[kind]}" for kind in sorted(ways))
    return f"{shape} ({sparsity}) {digest((bare, sorted(ways.items())))}"


def _sparsity_class(choice: Choice) -> str:
    """Say how sparse a way is: shapes x taps, kept kernels, and how many filters at least share them."""
    shapes, share = choice.shapes, min(m.size for m in choice.members)
    return f"{len(shapes.patterns)}x{shapes.taps}, {shapes.kernels} kernels, shared by {share}"


def runner_up(best: Choice, choices: Sequence[Choice]) -> str:
    """Name the next choice and its modelled time against the one taken."""
    others = [choice for choice in choices if choice is not best]
    if not others:
        return ""
    factor = others[0].schedule.cycles / best.schedule.cycles
    return f"{others[0].name}: modelled {factor:.2f}x the time"


def reason(
    best: Choice, choices: Sequence[Choice], weight: NDArray[np.float32], force_dense: bool, note: str
) -> str:
    """Say why a layer runs as it does."""
    zeros = 1.0 - np.count_nonzero(weight) / weight.size
    why = _why_kind(best, choices, zeros, force_dense)
    return f"{best.kind}: {why}; {note}" if note else f"{best.kind}: {why}"


def _why_kind(best: Choice, choices: Sequence[Choice], zeros: float, force_dense: bool) -> str:
    if zeros == 0:
        lead, decided = "no zeros", True
    elif force_dense:
        lead, decided = f"asked for, though {zeros:.0%} of the weights are zero", True
    elif all(choice.kind.startswith("dense") for choice in choices):
        lead, decided = f"{zeros:.0%} zeros, but in too many shapes for patterns and in every kernel", True
    else:
        lead, decided = f"{zeros:.0%} zeros", False
    other = next((choice for choice in choices if choice.kind != best.kind), None)
    if other is None or (decided and not best.winograd):
        return lead
    return f"{lead}, modelled {other.schedule.cycles / best.schedule.cycles:.2f}x faster than {other.kind}"


def _winograd(kind: str, bare: ConvKernel, shapes: Shapes, groups: int, target: Target) -> list[Choice]:
    """Return the ways to run a layer by multiplying points of tiles, if it is of that kind."""
    found = []
    for way in winograd.ways(bare, groups, shapes, target):
        besides = way.cycles(bare, shapes, target)
        lines, costs = way.weights(shapes) * target.dtype.elem_bytes / LINE_BYTES, target.costs
        pointwise, kernels = way.pointwise(bare, shapes.patterns), way.weights(shapes) // way.points
        members = classes(shapes if way.skips else shapes.pointwise)
        name = "pattern-sparse Winograd" if way.skips and way.stride == 1 else kind
        for choice in _schedules(name, pointwise, shapes.pointwise, target, members, kernels):
            cycles = way.points * way.strips(bare.computed) * choice.schedule.cycles + besides
            if choice.schedule.kernel.mixed or choice.schedule.kernel.group == 1:
                cycles = costs.free_points * (cycles + costs.cold * lines)
            schedule = replace(choice.schedule, cycles=cycles)
            found.append(replace(choice, shapes=shapes, winograd=way, schedule=schedule))
    return found


def _schedules(
    kind: str,
    bare: ConvKernel,
    shapes: Shapes,
    target: Target,
    members: list[NDArray[np.int64]] | None = None,
    kernels: int | None = None,
) -> list[Choice]:
    """Return the ways to run a layer of some shapes; `kernels` are those kept, where lists leave out some of them."""
    members = classes(shapes) if members is None else members
    kernels = shapes.kernels if kernels is None else kernels
    longest = shapes.taps * int((shapes.ids >= 0).sum(axis=1).max())
    kernel = replace(
        bare,
        patterns=shapes.patterns,
        uniform=len(members) == 1,
        widen_after=LONGEST_SUM if target.dtype.narrow and longest > LONGEST_SUM else 0,
    )
    sizes = tuple(sorted(m.size for m in members))
    if target.lanes == 1:
        ranked = rank_work_items(kernel, kernels, sizes)
    else:
        ranked = rank_schedules(kernel, target, shapes.ids.shape[1], kernels, sizes)
    return [Choice(kind, shapes, members, schedule) for schedule in ranked]
