"""Measure what README.md claims of compiling: seconds from an empty cache and a filled one, sizes, time to load.

python benchmarks/compile_times.py                         all networks, two minutes
python benchmarks/compile_times.py vgg16_cifar -o x.json   a quick look at one of them
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pages
from pconv import Recipe
from pconv.bench import machine
from variants import Pruning, Variant, make_variants

RESULTS = pages.RESULTS / "compile_times.json"
RATE = 8.0
LOADS = 7
GROUPS = {"vgg16": (1, 4), "resnet18": (1,), "resnet50": ()}
"""In which groups each network is pruned, besides being dense."""


def main() -> None:
    """Measure, and write the results."""
    arguments = _arguments()
    made = []
    for name in arguments.networks:
        with TemporaryDirectory(prefix="pconv-compile-") as folder:
            prunings = [Pruning(RATE, group) for group in GROUPS.get(name, (1,))]
            for variant in make_variants(name, prunings, Path(folder)):
                print(f"{name}: compiling, {variant.name}", flush=True)
                made.append({"model": name, **measure(variant, Path(folder))})
    document = {
        "machine": machine.record(("numpy",), compiler=machine.compiler()),
        "settings": {"rate": RATE, "patterns": Recipe().patterns},
        "compile": made,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.output}")


def measure(variant: Variant, folder: Path) -> dict[str, Any]:
    """Compile in new processes, from an empty cache and from a filled one, and load what was made.

    Units: seconds with all imports for compiling; milliseconds without them for loading.
    """
    library = folder / "net.so"
    with _cache(folder / f"cold-{variant.group}"):
        cold, cached = (_python(_COMPILE, variant.path, library) for _ in range(2))
    loads = [_python(_LOAD, library) for _ in range(LOADS)]
    file_bytes = library.stat().st_size
    dense_bytes = 4 * variant.layer_elems
    return variant.labels | {
        "cold_s": cold,
        "cached_s": cached,
        "load_ms": median(loads) * 1e3,
        "file_bytes": file_bytes,
        "dense_bytes": dense_bytes,
        "file_bytes_per_ideal": file_bytes * variant.compression / dense_bytes,
    }


_COMPILE = """
import pconv
pconv.compile(sys.argv[1]).save(sys.argv[2])
print(time.perf_counter() - begin)
"""

_LOAD = """
import pconv, pconv.runtime
begin = time.perf_counter()
pconv.load(sys.argv[1], threads=1)
print(time.perf_counter() - begin)
"""


def _python(code: str, *arguments: Path) -> float:
    """Run code in a new interpreter, and return the seconds that it prints."""
    command = [sys.executable, "-c", "import sys, time; begin = time.perf_counter()\n" + code]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Let pconv cache in `folder` instead of where it does."""
    before = os.environ.get("PCONV_CACHE")
    os.environ["PCONV_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.environ.pop("PCONV_CACHE")
        if before is not None:
            os.environ["PCONV_CACHE"] = before


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(GROUPS), help=f"default: {' '.join(GROUPS)}")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
