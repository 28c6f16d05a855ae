"""Steps that write over an input: a residual layer's output takes the place of what it adds, if that is read no more.

    apart      x 3 MB -> conv, conv, conv + x -> y 3 MB      x and y do not fit L2 together
    in place   x 3 MB -> conv, conv, conv + x -> x           each line is read and written while it is near

An element of that input is read by the very task that writes the element, just before; halos are written alone. GPUs
compute the outputs at an image's edge twice, and cannot. Source: ours.
"""

from collections.abc import Sequence
from dataclasses import replace

from pconv.lower.kernels import ConvKernel, ElementwiseKernel, WinogradOutputKernel
from pconv.lower.plan import Step, Tensor
from pconv.targets import Target


def write_in_place(steps: Sequence[Step], target: Target) -> list[Step]:
    """Let each step that can write over an input that no later step reads; what is made once stays for the next run."""
    if target.lanes == 1:
        return list(steps)
    last = {tensor.name: i for i, step in enumerate(steps) for tensor in step.inputs}
    kept = {step.output.name for step in steps if step.once}
    found = []
    for i, step in enumerate(steps):
        under = _under(step)
        if under and under.name not in kept and last[under.name] == i and _fits(step, under):
            step = _over(step, under)
        found.append(step)
    return found


def _fits(step: Step, under: Tensor) -> bool:
    """Tell whether an output can lie where an input does, which the step reads in no other way."""
    places = under.space == step.output.space == "arena" and under.layout == step.output.layout
    return places and [tensor.name for tensor in step.inputs].count(under.name) == 1


def _under(step: Step) -> Tensor | None:
    """Return the input that is read element by element, where there is one: the residual, or the first operand."""
    kernel = step.around[1].kernel if step.around else step.kernel
    if isinstance(kernel, ConvKernel | WinogradOutputKernel) and kernel.residual:
        return step.inputs[-1]
    # Of dense rows, the compiler would ask whether input and output overlap, and then take no vectors.
    blocks = isinstance(kernel, ElementwiseKernel) and not kernel.output.planar
    return step.inputs[0] if blocks else None


def _over(step: Step, under: Tensor) -> Step:
    kernel = step.kernel
    if isinstance(kernel, ConvKernel) and kernel.residual:
        kernel = replace(kernel, in_place=True)
    return replace(step, kernel=kernel, over=under.name)
