"""A plan as text, for `pconv inspect`."""

from collections.abc import Sequence

import numpy as np

from pconv.lower.cost import footprint
from pconv.lower.kernels import ConvKernel
from pconv.lower.layout import Layout
from pconv.lower.loads import load_program
from pconv.lower.plan import Plan, Step, Tensor
from pconv.lower.tiles import tiles


def describe_plan(plan: Plan) -> str:
    """Return one line a step: what runs, on what, how much work, and why so."""
    rows = [("layer", "operator", "output", "MACs", "of dense", "micro-kernel")]
    for step in plan.all_steps:
        work = step.work
        share = f"{work.macs / work.dense_macs:.1%}" if work.dense_macs else ""
        macs = f"{work.macs:,}" if work.dense_macs else ""
        note = work.reason or ("once, when the model is opened" if step.once else "")
        kernel = f"{step.kernel.name}  ({note})" if note else step.kernel.name
        rows.append((step.name, step.op, "x".join(map(str, work.out_shape)), macs, share, kernel))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head = f"plan of {plan.name} for {plan.target.name}: {len(plan.steps)} steps, arena {plan.arena_bytes:,} bytes"
    return "\n".join((head, *(_line(row, widths) for row in rows)))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Write one row, its numbers to the right; the last column is as long as it is."""
    *cells, last = row
    sides = "<<<>>"
    return "  ".join(
        (*(f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths, strict=False)), last)
    )


def describe_step(step: Step) -> str:
    """Return all that the plan says of one step, with FKR, FKW and LRE where it is a convolution."""
    work = step.work
    lines = [
        f"{step.name} ({step.op}): {step.kernel.name}",
        f"  tasks     {step.tasks}",
        *(f"  input     {_tensor(t)}" for t in step.inputs),
        f"  output    {_tensor(step.output)}{f', in place of {step.over}' if step.over else ''}",
    ]
    if work.dense_macs:
        lines.append(
            f"  work      {work.macs:,} multiply-adds of the dense {work.dense_macs:,}; {work.reason}"
        )
        lines.append(f"  weights   {work.weights_bytes:,} bytes, index {work.index_bytes:,} bytes")
    lines += [f"  constant  {name}: {a.dtype}{list(a.shape)}" for name, a in step.data.items()]
    if isinstance(step.kernel, ConvKernel):
        lines += _conv(step, step.kernel)
    return "\n".join(lines)


def _conv(step: Step, kernel: ConvKernel) -> list[str]:
    taps = len(kernel.patterns[0])
    lines = [
        f"  FKR       {step.params['groups']} groups of {kernel.group} filters that share "
        f"{'what they load' if kernel.mixed else 'their kernels'}; "
        f"first: {step.data['order'][: kernel.group].tolist()}",
    ]
    counts = step.data["run"].sum(axis=0)
    if kernel.by_table:
        counts = np.bincount(step.data["shape"], minlength=len(kernel.patterns))
    if kernel.mixed:
        counts = np.array([sum(n * len(of) for n, of in zip(counts, kernel.sharers, strict=True))])
    for i in range(len(kernel.patterns[:64])):
        if kernel.positions:
            lines.append(f"  pattern   {kernel.picture(i)}: {counts[i]} kernels")
            continue
        loads = len(load_program(kernel, range(taps), i, kernel.tile))
        plain = taps * kernel.tile[0] * kernel.tile[1]
        lines.append(
            f"  pattern   {kernel.picture(i)}: {counts[i]} kernels; LRE {loads} loads instead of {plain}"
        )
    if kernel.lists:
        lines.append(
            f"  points    {kernel.points}, with {len(set(kernel.lists))} lists of kernels among them"
        )
    if kernel.positions:
        lines.append(
            f"  lanes     {kernel.group} filters for up to {kernel.positions} outputs at a time, then transposed"
        )
    lines.append(f"  tile      {kernel.tile[0]} x {kernel.tile[1]} vectors, {len(tiles(kernel))} tiles")
    if kernel.by_channel:
        rows, cols = footprint(kernel, kernel.tile)
        held, each = ("near", f"block of {kernel.block} channels") if kernel.block else ("held", "channel")
        lines.append(
            f"  {held}      {rows} x {cols} vectors of each {each}, for {kernel.span} groups of filters"
        )
    if kernel.slices > 1:
        lines.append(f"  slices    {kernel.slices} of the channels, each with sums of its own")
    return lines


def _tensor(tensor: Tensor) -> str:
    where = {
        "arena": f"arena + {tensor.offset:,}",
        "prepared": f"prepared + {tensor.offset:,}",
        "input": "the caller's input",
        "output": "the caller's output",
        "scratch": f"scratch + {tensor.offset:,}",
    }
    return f"{tensor.name} [{tensor.channels}] {_layout(tensor.layout)} at {where[tensor.space]}"


def _layout(layout: Layout) -> str:
    if layout.planar:
        return f"{layout.height}x{layout.width} dense"
    halo = f"{layout.top},{layout.left},{layout.bottom},{layout.right}"
    side_by_side = f"{layout.images} images of " if layout.images > 1 else ""
    blocks = f"{layout.rows}x{layout.cols} blocks of {layout.block_h}x{layout.block_w}"
    return (
        f"{side_by_side}{layout.height}x{layout.width} as {blocks}, "
        f"of {layout.dtype.stored}, halo {halo}, plane {layout.plane_bytes:,} bytes"
    )
