"""What pconv knows about a CPU: plain data, no code paths."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Costs:
    """What the cost model (lower/cost.py) asks of a CPU, in cycles.

    `overlap` is the n of (fma^n + memory^n)^(1/n): 1 where loads and multiply-adds share the issue slots. `load` is
    for a load from L1, `row` for each row of input under a tile, `loop` for a kernel, `run` for a pattern, `store`
    for a vector of output, `group` for a group of filters; `l2_line` for a line from L2, and `far_line` from beyond,
    `far_store` for a line of an output that leaves L2, `far_row` for each stretch of it.
    """

    overlap: float = 3.0
    load: float = 0.4
    row: float = 1.5
    loop: float = 2.0
    run: float = 6.0
    store: float = 2.0
    group: float = 30.0
    l2_line: float = 1.2
    far_line: float = 4.0
    far_store: float = 8.0
    far_row: float = 40.0


@dataclass(frozen=True, slots=True)
class Target:
    """One instruction set on one operating system.

    `cflags` are for clang and gcc; `zig_cflags` say the same to zig cc, which names CPUs its own way.
    `cpu` is the core whose timing the code is scheduled for, "" for none in particular: it changes no
    instruction set. `features` are the CPU flags, as /proc/cpuinfo spells them, without which the code cannot run; an
    artefact checks them itself when it is opened.

    `fma_by_lane` says that a multiply-add takes one factor from any lane of a register.

    Units: `l1_bytes` and `l2_bytes` are the data caches of one core.
    """

    name: str
    arch: str
    os: str
    lanes_f32: int
    vector_registers: int
    fma_units: int
    cflags: tuple[str, ...]
    zig_target: str | None
    zig_cflags: tuple[str, ...]
    features: tuple[str, ...]
    l1_bytes: int
    l2_bytes: int
    cpu: str = ""
    fma_by_lane: bool = False
    costs: Costs = Costs()

    @property
    def vector_bytes(self) -> int:
        """Return the width of one vector register."""
        return 4 * self.lanes_f32
