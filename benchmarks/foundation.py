"""Measure what README.md claims: speed against ONNX Runtime, shares of the FMA peak, compile times, sizes.

    python benchmarks/foundation.py                                      all networks, 20 quiet minutes
    python benchmarks/foundation.py vgg16_cifar --seconds 2 -o x.json    a quick look at one of them

Each network is one interleaved run in which the engines take turns. Pruning is one shot by magnitude on
random weights, which is right for timing and says nothing about accuracy.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pconv import Recipe, compile
from pconv.bench import machine, peak
from pconv.bench.compare import Network, compare
from pconv.bench.peers import get
from variants import Pruning, Variant, make_variants, measure_layers

RESULTS = Path(__file__).parent / "results" / "foundation.json"
RATE = 8.0
LOADS = 7
PEER = "onnxruntime"


@dataclass(frozen=True)
class Case:
    """Say how a network is measured: dense, and pruned in these groups, on so many threads."""

    groups: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1,)


CASES = {"vgg16": Case((1, 4), (1, 2)), "resnet18": Case(), "resnet50": Case(())}


def main() -> None:
    """Measure, and write the results."""
    arguments = _arguments()
    document: dict[str, Any] = {"results": [], "compile": [], "layers": []}
    for name in arguments.networks:
        case = CASES.get(name, Case())
        print(f"{name}: exporting and pruning", flush=True)
        with TemporaryDirectory(prefix="pconv-foundation-") as folder, _cache(Path(folder)):
            variants = make_variants(name, [Pruning(RATE, g) for g in case.groups], Path(folder))
            for variant in variants:
                print(f"{name}: compiling, {variant.name}", flush=True)
                document["compile"].append({"model": name, **measure_compile(variant, Path(folder))})
            document["results"] += measure_speed(name, case, variants, arguments.seconds)
            for variant in variants:
                document["layers"].append({"model": name, **measure_layers(variant)})
    described = machine.record(
        ("numpy", PEER), compiler=machine.compiler(), fma_peak_gflops=peak.measure_if_possible()
    )
    settings = {"seconds": arguments.seconds, "rate": RATE, "patterns": Recipe().patterns}
    document = {"machine": described, "settings": settings, **document}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {arguments.output}")


def measure_compile(variant: Variant, folder: Path) -> dict[str, Any]:
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


def measure_speed(name: str, case: Case, variants: list[Variant], seconds: float) -> list[dict[str, Any]]:
    """Time all variants in our engine and the dense one in the peer: one interleaved run per thread count."""
    networks = [Network(v.path, compile(v.path), v.compression, v.group) for v in variants]
    results = compare(
        name,
        networks,
        [get(PEER)],
        case.threads,
        seconds,
        on_event=lambda text, share: None if share else print(text, flush=True),
        on_wait=lambda: print("another benchmark is running; waiting for its end", flush=True),
    )
    return [result.as_json() for result in results]


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
    parser = argparse.ArgumentParser(description="Measure what README.md claims.")
    parser.add_argument("networks", nargs="*", default=list(CASES), help=f"default: {' '.join(CASES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="per network and thread count")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
