"""What pconv knows about a CPU: plain data, no code paths."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One instruction set on one operating system.

    `cflags` are for clang and gcc; `zig_cflags` say the same to zig cc, which names CPUs its own way.
    `cpu` is the core whose timing the code is scheduled for, "" for none in particular: it changes no
    instruction set. `features` are the CPU flags, as /proc/cpuinfo spells them, without which the code cannot run; an
    artefact checks them itself when it is opened.

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

    @property
    def vector_bytes(self) -> int:
        """Return the width of one vector register."""
        return 4 * self.lanes_f32
