"""The Plan: what runs, in which order, on which memory, with which constants. Frozen, printable, without C.

`lower` makes it, `codegen` prints it. Every step names a micro-kernel (a spec from `kernels/`), its tensors and its
constants; nothing about the network remains implicit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from pconv.lower.kernels import Kernel
from pconv.lower.layout import LINE_BYTES, Layout
from pconv.targets import Target

Part = Literal["before", "folded", "behind"]
Space = Literal["arena", "prepared", "input", "output", "scratch"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a value lives.

    `offset` is in bytes from the start of the arena, of what is prepared once, or of a thread's scratch, or the number
    of the model's input or output.
    """

    name: str
    channels: int
    layout: Layout
    space: Space = "arena"
    offset: int = -1

    @property
    def nbytes(self) -> int:
        """Size in bytes, halo and padding included."""
        return self.channels * self.layout.plane_bytes


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does, for the report. `macs` are executed, `dense_macs` what the dense layer would execute.

    `weights_stored` is the type of the weights ("" where there are none). `bound` is what limits it by the cost model,
    whose estimate is `modelled_cycles` (0: not modelled); `key` is what tuning knows the layer by, of which this may be
    one of several steps.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    macs: int = 0
    dense_macs: int = 0
    weights_bytes: int = 0
    index_bytes: int = 0
    patterns: int = 0
    group: int = 0
    reason: str = ""
    runner_up: str = ""
    bound: str = ""
    modelled_cycles: float = 0.0
    key: str = ""
    weights_stored: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call of a micro-kernel. `data` are constants by the names its kernel asks for, `params` integers.

    With `once` it runs when the model is opened, not for each sample, and its output stays. `around` are the steps of
    Winograd's transforms where these and the multiplications take turns: each task is a strip of tiles, on which all
    three work in the thread's scratch. What is `within` has no tasks of its own: those of the step before it are blocks
    of channels, on which both work in turns, the output of the first in the thread's scratch. `over` names the input
    whose place the output takes, "" where it has its own. `room` is what a task keeps in the thread's scratch. `part`
    is where it stands when several images lie side by side: see `fold`.
    """

    name: str
    op: str
    kernel: Kernel
    inputs: tuple[Tensor, ...]
    output: Tensor
    work: Work
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)
    tasks: int = 1
    once: bool = False
    around: "tuple[Step, Step] | None" = None
    within: bool = False
    over: str = ""
    room: Tensor | None = None
    part: Part = "before"

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """All micro-kernels that the step calls, in order."""
        return (self.around[0].kernel, self.kernel, self.around[1].kernel) if self.around else (self.kernel,)

    @property
    def scratch_bytes(self) -> int:
        """What each thread needs for itself, a multiple of 64."""
        ends = [
            t.offset + t.nbytes
            for s in (self, *(self.around or ()))
            for t in (*s.inputs, s.output, s.room)
            if t and t.space == "scratch"
        ]
        return -(-max(ends, default=0) // LINE_BYTES) * LINE_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A lowered network. A result that is copied out is a tensor of its own; `output_names` are the model's.

    `output_types` are what the model calls its outputs, by numpy's names; in memory they are floats. `preparation` are
    the steps that run once, `steps` those of each sample, or part by part of so many `images` of a batch: see `fold`.
    """

    name: str
    target: Target
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    output_names: tuple[str, ...]
    output_types: tuple[str, ...]
    preparation: tuple[Step, ...]
    steps: tuple[Step, ...]
    arena_bytes: int
    prepared_bytes: int
    images: int = 1

    def count(self, part: Part) -> int:
        """Count the steps of a part."""
        return sum(step.part == part for step in self.steps)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """What runs once, and then what runs for each sample."""
        return *self.preparation, *self.steps

    @property
    def scratch_bytes(self) -> int:
        """What each thread needs for itself, a multiple of 64."""
        return max((step.scratch_bytes for step in self.steps), default=0)
