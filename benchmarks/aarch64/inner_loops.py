"""Find the inner loops in which a step executes its multiply-adds, and ask llvm-mca for the cycles of each.

llvm-mca knows a core's issue width, ports and latencies and nothing of its caches: every load hits L1.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

OBJDUMP, MCA = "llvm-objdump-19", "llvm-mca-19"
CORE = "neoverse-n1"
ITERATIONS = 100

_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_BRANCH = re.compile(r"^(b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?0x([0-9a-f]+)")
_TARGET = re.compile(r"0x[0-9a-f]+\s+<.*>$")

Block = Mapping[str, Any]


@dataclass(frozen=True)
class Loop:
    """The instructions of one turn."""

    lines: tuple[str, ...]

    @cached_property
    def fmla(self) -> int:
        """Count the multiply-adds of a turn."""
        return sum(line.startswith("fmla") for line in self.lines)


@dataclass(frozen=True)
class Text:
    """A program's instructions, in the order of their addresses."""

    lines: Sequence[str]
    places: Mapping[int, int]

    @classmethod
    def read(cls, program: Path) -> "Text":
        """Disassemble a program."""
        said = _call(OBJDUMP, "-d", "--no-show-raw-insn", "--mattr=+all", str(program))
        found = [match.groups() for line in said.splitlines() if (match := _LINE.match(line))]
        lines = [" ".join(text.split()) for _, text in found]
        return cls(lines, {int(address, 16): i for i, (address, _) in enumerate(found)})

    @cached_property
    def loops(self) -> Sequence[tuple[int, Loop]]:
        """Return the innermost loops that multiply and add, each with the place of its first instruction."""
        found, latest = [], -1
        for i, line in enumerate(self.lines):
            match = _BRANCH.match(line)
            start = self.places.get(int(match[2], 16), i + 1) if match else i + 1
            if start > i:
                continue
            if start > latest and (loop := Loop(tuple(self.lines[start : i + 1]))).fmla:
                found.append((start, loop))
            latest = max(latest, start)
        return found

    def executed(self, blocks: Iterable[Block]) -> Mapping[Loop, int]:
        """Return the multiply-adds that were executed in each loop."""
        times: Counter[int] = Counter()
        for block in blocks:
            if block["fma"] and (first := self.places.get(int(block["va"], 16))) is not None:
                for i in range(first, first + block["insn"]):
                    times[i] += block["n"]
        found: Counter[Loop] = Counter()
        for start, loop in self.loops:
            found[loop] += sum(
                times[i] for i, line in enumerate(loop.lines, start) if line.startswith("fmla")
            )
        return +found


def describe(text: Text, steps: Sequence[Sequence[Block]]) -> list[dict[str, Any] | None]:
    """Say for each step how many inner loops it ran, and the modelled cycles of their multiply-adds.

    Args:
        text: The program.
        steps: The blocks that each step executed.
    """
    executed = [text.executed(blocks) for blocks in steps]
    cycles = modelled_cycles({loop for step in executed for loop in step})
    return [_described(step, cycles) if step else None for step in executed]


def _described(step: Mapping[Loop, int], cycles: Mapping[Loop, float]) -> dict[str, Any]:
    each = {loop: cycles[loop] / loop.fmla for loop in step}
    total = sum(step.values())
    return {
        "loops": len(step),
        "fmla": total,
        "cycles_per_fmla": round(sum(each[loop] * n for loop, n in step.items()) / total, 3),
        "fastest": round(min(each.values()), 3),
        "slowest": round(max(each.values()), 3),
    }


def modelled_cycles(loops: Iterable[Loop], core: str = CORE) -> dict[Loop, float]:
    """Ask for the cycles of one turn of each loop."""
    asked = sorted(set(loops), key=lambda loop: loop.lines)
    if not asked:
        return {}
    options = ("-mtriple=aarch64", f"-mcpu={core}", f"-iterations={ITERATIONS}")
    regions = (
        f"# LLVM-MCA-BEGIN\nloop{i}:\n{_body(loop, i)}\n# LLVM-MCA-END" for i, loop in enumerate(asked)
    )
    text = "\n".join(regions) + "\n"
    said = _call(
        MCA, *options, "-mattr=+fullfp16", "-instruction-info=false", "-resource-pressure=false", text=text
    )
    found = [int(count) / ITERATIONS for count in re.findall(r"Total Cycles:\s+(\d+)", said)]
    if len(found) != len(asked):
        sys.exit(f"{MCA} said {len(found)} times how many cycles, of {len(asked)}: {said[:300]}")
    return dict(zip(asked, found, strict=True))


def _body(loop: Loop, number: int) -> str:
    return "\n".join(_TARGET.sub(f"loop{number}", line) for line in loop.lines)


def _call(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed (exit code {done.returncode}): {done.stderr[-800:]}")
    return done.stdout
