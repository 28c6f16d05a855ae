"""Find the loop in which a step spends its time, and ask llvm-mca how many cycles a core takes for it.

llvm-mca knows a core's issue width, ports and latencies and nothing of its caches: every load hits L1.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OBJDUMP, MCA = "llvm-objdump-19", "llvm-mca-19"
CORE = "neoverse-n1"
ITERATIONS = 100
LONGEST = 4000
"""Instructions between a loop's ends, at most."""

_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_BACK = re.compile(r"^(b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?0x([0-9a-f]+)")
_ANY_TARGET = re.compile(r"0x[0-9a-f]+\s+<.*>$")


@dataclass(frozen=True)
class Text:
    """A program's instructions, in the order of their addresses."""

    lines: Sequence[tuple[int, str]]
    places: Mapping[int, int]

    @classmethod
    def read(cls, program: Path) -> "Text":
        """Disassemble a program."""
        said = _call(OBJDUMP, "-d", "--no-show-raw-insn", "--mattr=+all", str(program))
        found = [match.groups() for line in said.splitlines() if (match := _LINE.match(line))]
        lines = [(int(address, 16), " ".join(text.split())) for address, text in found]
        return cls(lines, {address: i for i, (address, _) in enumerate(lines)})

    def loop_around(self, address: int) -> Sequence[str]:
        """Return the instructions of the innermost loop around an address; nothing where it is in none."""
        here = self.places[address]
        for i in range(here, min(here + LONGEST, len(self.lines))):
            if match := _BACK.match(self.lines[i][1]):
                start = self.places.get(int(match[2], 16), i + 1)
                if start <= here:
                    return [text for _, text in self.lines[start : i + 1]]
        return []


def describe(text: Text, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Say what the loop with the most multiply-adds among the hottest blocks consists of, and its modelled cycles."""
    hottest = max(blocks, key=lambda block: block["n"] * block["fma"], default=None)
    if hottest is None or not hottest["fma"]:
        return None
    loop = text.loop_around(int(hottest["va"], 16))
    fmla = sum(line.startswith("fmla") for line in loop)
    if not fmla:
        return None
    cycles = _cycles(loop)
    return {
        "instructions": len(loop),
        "fmla": fmla,
        "loads": sum(line.startswith(("ldr", "ldp", "ldur", "ld1")) for line in loop),
        "cycles": round(cycles, 2),
        "cycles_per_fmla": round(cycles / fmla, 3),
    }


def _cycles(loop: Sequence[str]) -> float:
    """Ask for the cycles of one turn of a loop."""
    body = "\n".join(_ANY_TARGET.sub("loop", line) for line in loop)
    options = ("-mtriple=aarch64", f"-mcpu={CORE}", f"-iterations={ITERATIONS}")
    said = _call(MCA, *options, "-mattr=+fullfp16", text=f"loop:\n{body}\n")
    match = re.search(r"Total Cycles:\s+(\d+)", said)
    if match is None:
        sys.exit(f"{MCA} said no cycles: {said[:300]}")
    return int(match[1]) / ITERATIONS


def _call(*command: str, text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed (exit code {done.returncode}): {done.stderr[-800:]}")
    return done.stdout
