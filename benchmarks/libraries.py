"""Measure what a pattern library costs in speed: one network, pruned with each, engines taking turns.

    python benchmarks/libraries.py                    all networks, two minutes; writes the table of performance.md
    python benchmarks/libraries.py --only resnet18    a look at one of them; the others' results stay
    python benchmarks/libraries.py --page             only writes the table

All keep as many weights, at the rates of speed.py, each filter for itself. Larger libraries keep more of the accuracy.
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any

import numpy as np

import pages
from pconv import compile, zoo
from pconv.bench import machine, timing
from pconv.bench.compare import max_rel_err
from pconv.bench.peers.base import FP32_MAX_REL_ERR
from pconv.bench.peers.onnxruntime import OnnxRuntime
from speed import NETWORKS
from speed_tables import TITLES
from variants import make_variants

RESULTS = pages.RESULTS / "libraries.json"
PAGE, MARK = pages.DOCS / "performance.md", "libraries"
MEASURED = ("vgg16", "resnet18", "resnet50")
LIBRARIES = {"scp8": 8, "natural-12": 12, "centre3": 56, "any4": 126}
"""Shapes of each, the first of which the others are compared with."""


def main() -> None:
    """Measure network by network; what is done is written at once."""
    arguments = _arguments()
    if not arguments.page:
        for name in arguments.only:
            document = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"networks": {}}
            document["networks"][name] = measure(name, arguments.threads, arguments.seconds)
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {RESULTS}", flush=True)
    pages.write(PAGE, MARK, body())


def measure(name: str, threads: int, seconds: float) -> dict[str, Any]:
    """Time one network with each library. Units: milliseconds."""
    free = next(one for one in NETWORKS[name] if one.group == 1)
    image = np.random.default_rng(0).standard_normal(zoo.input_shape(name)).astype(np.float32)
    with TemporaryDirectory(prefix="pconv-libraries-") as temporary, ExitStack() as stack, timing.alone():
        engines, errors = {}, {}
        for library in LIBRARIES:
            print(f"{name}: pruning with {library}, compiling", flush=True)
            folder = Path(temporary) / library
            folder.mkdir()
            pruning = replace(free, settings={**free.settings, "patterns": library})
            _, pruned = make_variants(name, [pruning], folder)
            engine = engines[library] = stack.enter_context(compile(pruned.path, threads=threads))
            expected = OnnxRuntime().load(pruned.path, threads)({engine.inputs[0].name: image})
            errors[library] = max_rel_err([np.asarray(engine(image))], expected)
        if max(errors.values()) > FP32_MAX_REL_ERR:
            raise SystemExit(f"{name}: {max(errors.values()):.1e} off ONNX Runtime; nothing was timed.")
        print(f"{name}: measuring", flush=True)
        calls = {library: partial(engine, image) for library, engine in engines.items()}
        samples = timing.interleave(calls, seconds, settle_s=timing.SETTLE_S)
    return {
        "machine": machine.record(("numpy", "onnxruntime"), compiler=machine.compiler()),
        "settings": {"threads": threads, "rate": free.rate},
        "max_rel_err": errors,
        "samples_ms": samples,
    }


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8"))["networks"])


def render(networks: dict[str, Any]) -> str:
    """Give a table of milliseconds and of times that of the first library, and below it where it was measured."""
    rows = []
    for name in (name for name in MEASURED if name in networks):
        ms = {library: median(samples) for library, samples in networks[name]["samples_ms"].items()}
        first, *others = (ms[library] for library in LIBRARIES)
        cells = [f"{first:.2f} ms", *(f"{one:.2f} ms ({one / first:.2f}x)" for one in others)]
        rows.append([f"{TITLES[name]}, {networks[name]['settings']['rate']:g}x", *cells])
    headings = ["each filter free", *(f"{library}: {count} shapes" for library, count in LIBRARIES.items())]
    said = {f"{r['settings']['threads']} thread; {machine.line(r['machine'])}." for r in networks.values()}
    return f"{pages.table(headings, rows)}\n\n{fill(' '.join(sorted(said)), 120)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=MEASURED, choices=MEASURED)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each network")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
