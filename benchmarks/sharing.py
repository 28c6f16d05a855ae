"""Measure that a second thread does no harm: where cores are far from each other, or another program holds one.

    python benchmarks/sharing.py                 four networks, two minutes; writes the table of kernels.md
    python benchmarks/sharing.py --page          only writes the table

An engine with one thread, one with two, and one with two that always share each sample, which is what a profiled one
does, take turns; then again beside a program that never rests. Without that, turns count in which the cores were near
(`line_ns`: see `pconv.bench.distance`).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import cores
import pages
from pconv import Engine, compile, zoo
from pconv.bench import machine, timing
from pconv.bench.distance import Distance
from speed import NETWORKS
from speed_tables import TITLES
from variants import make_variants

RESULTS = pages.RESULTS / "sharing.json"
PAGE, MARK = pages.DOCS / "kernels.md", "sharing"
MEASURED = ("resnet18_cifar", "mobilenet_v2", "resnet18", "vgg16")
GROUP = 4
WAYS = ("1 thread", "2 threads, always shared", "2 threads")
TIMES = ("alone on the machine", "beside a busy program")


def main() -> None:
    """Measure all networks, and write the table."""
    arguments = _arguments()
    if not arguments.page:
        with timing.alone():
            networks = {name: measure(name, arguments.seconds) for name in MEASURED}
        document = {"machine": machine.record(("numpy",), compiler=machine.compiler()), "networks": networks}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {RESULTS}", flush=True)
    pages.write(PAGE, MARK, render(json.loads(RESULTS.read_text("utf-8"))))


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Time one pruned network. Units: milliseconds."""
    image = np.random.default_rng(0).standard_normal((1, *zoo.input_shape(name)[1:])).astype(np.float32)
    pruning = next(one for one in NETWORKS[name] if one.group == GROUP)
    with TemporaryDirectory(prefix="pconv-sharing-") as folder, ExitStack() as stack:
        print(f"{name}: compiling", flush=True)
        pruned = make_variants(name, [pruning], Path(folder))[1]
        engines = [stack.enter_context(compile(pruned.path, threads=threads)) for threads in (1, 2, 2)]
        always_shared(engines[WAYS.index("2 threads, always shared")])
        if not all(np.array_equal(engine(image), engines[0](image)) for engine in engines):
            raise SystemExit(f"{name}: answers differ with the number of threads; nothing was timed.")
        calls = {way: _call(engine, image) for way, engine in zip(WAYS, engines, strict=True)}
        samples, line = {}, Distance()
        others: tuple[AbstractContextManager[None], ...] = (nullcontext(), busy_program())
        for what, beside, distance in zip(TIMES, others, (line, None), strict=True):
            print(f"{name}: measuring {what}", flush=True)
            with beside:
                samples[what] = timing.interleave(calls, seconds, warmup=20, settle_s=0.05, distance=distance)
    cores.require_near(name, line.readings)
    return {"rate": pruned.rate, "group": pruned.group, "line_ns": line.readings, "samples_ms": samples}


def always_shared(engine: Engine) -> None:
    """Let an engine profile: then all threads share every step, whatever it costs."""
    engine._c.pconv_profile(engine._handle, 1)


@contextmanager
def busy_program() -> Iterator[None]:
    """Run a program of one thread that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


def _call(engine: Engine, image: Any) -> Callable[[], object]:
    return lambda: engine(image)


def render(document: dict[str, Any]) -> str:
    """Give a table of milliseconds, and below it where it was measured."""
    rows = []
    for name, record in document["networks"].items():
        for what in TIMES:
            cells = [f"{median(record['samples_ms'][what][way]):.2f} ms" for way in WAYS]
            rows.append(
                [f"{TITLES[name]}, {record['rate']:g}x in groups of {record['group']}, {what}", *cells]
            )
    return f"{pages.table(['medians', *WAYS], rows)}\n\n{machine.line(document['machine'])}."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each network, twice")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
