"""What loading ahead saves on a core that runs in order, by llvm-mca: each convolution of the registry's layers.

python benchmarks/aarch64_in_order.py             compile and ask; writes results/aarch64_in_order.json, docs/aarch64.md
python benchmarks/aarch64_in_order.py --tables    only write the table

Nothing runs. In halves, which never run in Winograd's way, so that the loops are those of convolutions. Both ways are
compiled for cortex-a55, each with the schedule that the cost model chooses for it. Needs llvm-19.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pages
from aarch64 import inner_loops
from pconv import targets
from pconv.bench.case import Case, network
from pconv.bench.registry import FAMILIES
from pconv.build import build_executable
from pconv.codegen import generate
from pconv.lower import lower
from pconv.targets import Target

HERE = Path(__file__).parent
RESULTS = pages.RESULTS / "aarch64_in_order.json"
PAGE, MARK = pages.DOCS / "aarch64.md", "in-order"
CORE, DTYPE = "cortex-a55", "fp16"
LEAST = 16
"""Multiply-adds of a loop that is looked at."""


def main() -> None:
    """Ask, and write the result and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", action="store_true", help="only write the table")
    if not parser.parse_args().tables:
        results = [compare(case) for case in FAMILIES["layers"] if case.op == "Conv"]
        RESULTS.write_text(json.dumps({"core": CORE, "dtype": DTYPE, "results": results}, indent=1) + "\n")
    pages.write(PAGE, MARK, body())


def compare(case: Case) -> dict[str, Any]:
    """Compile one layer both ways; return the cycles of a multiply-add in each."""
    ahead = targets.get("linux-aarch64", CORE, DTYPE)
    plain = replace(ahead, in_order=False, spare_registers=targets.get("aarch64").spare_registers)
    row = {
        "layer": case.name,
        "plain": cycles_per_fmla(case, plain),
        "ahead": cycles_per_fmla(case, ahead),
    }
    print(json.dumps(row), flush=True)
    return row


def cycles_per_fmla(case: Case, target: Target) -> float:
    """Return the mean over all inner loops of a layer, each weighted by its multiply-adds."""
    with TemporaryDirectory() as folder:
        text = (HERE / "aarch64" / "ours.c").read_text()
        program = build_executable(
            generate(lower(network([case]), target)), text, Path(folder) / "main", bare=True
        )
        found = [loop for _, loop in inner_loops.Text.read(program).loops if loop.fmla >= LEAST]
    cycles = inner_loops.modelled_cycles(found, CORE)
    return round(sum(map(cycles.__getitem__, found)) / sum(loop.fmla for loop in found), 3)


def body() -> str:
    """Give what the stored results say."""
    document = json.loads(RESULTS.read_text("utf-8"))
    rows = [
        (f"`{row['layer']}`", f"{row['plain']:.2f}", f"{row['ahead']:.2f}") for row in document["results"]
    ]
    said = (
        f"By `benchmarks/aarch64_in_order.py`: cycles each multiply-add in the inner loops, {document['dtype']}, by "
        f"llvm-mca for {document['core']}, whose model has two units, so that 0.5 would be all they can do."
    )
    return f"{pages.table(('layer', 'as on other cores', 'loads ahead'), rows)}\n\n{said}"


if __name__ == "__main__":
    main()
