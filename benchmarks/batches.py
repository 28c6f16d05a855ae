"""Measure what a batch is good for: images one after another, and as one batch of which each thread runs whole images.

    python benchmarks/batches.py                    all networks, three minutes; writes the table of performance.md
    python benchmarks/batches.py --only resnet18    a look at one of them; the others' results stay
    python benchmarks/batches.py --page             only writes the table

ONNX Runtime takes the dense network with the same batch. All take turns in one run, after the answers were compared;
turns count in which the cores were near (`line_ns`: see `pconv.bench.distance`).
"""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cores
import pages
from pconv import Engine, compile, zoo
from pconv.bench import machine, timing
from pconv.bench.compare import max_rel_err
from pconv.bench.distance import Distance
from pconv.bench.peers.base import FP32_MAX_REL_ERR
from pconv.bench.peers.onnxruntime import OnnxRuntime
from speed import NETWORKS
from speed_tables import TITLES
from variants import make_variants

RESULTS = pages.RESULTS / "batches.json"
PAGE, MARK = pages.DOCS / "performance.md", "batches"
MEASURED = ("vgg16", "resnet18", "resnet50", "mobilenet_v2")
GROUP = 4


def main() -> None:
    """Measure network by network; what is done is written at once."""
    arguments = _arguments()
    if not arguments.page:
        for name in arguments.only:
            document = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"networks": {}}
            document["networks"][name] = measure(name, arguments.batch, arguments.threads, arguments.seconds)
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {RESULTS}", flush=True)
    pages.write(PAGE, MARK, body())


def measure(name: str, batch: int, threads: int, seconds: float) -> dict[str, Any]:
    """Time one network, dense and pruned. Units: milliseconds for a whole batch."""
    shape = (batch, *zoo.input_shape(name)[1:])
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pruning = next(one for one in NETWORKS[name] if one.group == GROUP)
    with TemporaryDirectory(prefix="pconv-batches-") as folder, ExitStack() as stack, timing.alone():
        print(f"{name}: exporting, compiling", flush=True)
        dense, pruned = make_variants(name, [pruning], Path(folder))
        engines = {
            kind: stack.enter_context(compile(variant.path, threads=threads))
            for kind, variant in (("dense", dense), ("pruned", pruned))
        }
        peer = OnnxRuntime().load(zoo.to_onnx(name, Path(folder) / "batch.onnx", shape=shape), threads)
        feed = {engines["dense"].inputs[0].name: images}
        one = {engines["pruned"].inputs[0].name: images[:1]}
        judge = OnnxRuntime().load(pruned.path, threads)
        error = max(
            max_rel_err([engines["dense"](images)], peer(feed)),
            max_rel_err([engines["pruned"](images[:1])], judge(one)),
        )
        if error > FP32_MAX_REL_ERR:
            raise SystemExit(f"{name}: {error:.1e} off ONNX Runtime; nothing was timed.")
        calls: dict[str, Callable[[], object]] = {"onnxruntime batch": lambda: peer(feed)}
        for kind, engine in engines.items():
            if not np.array_equal(engine(images), np.concatenate(one_by_one(engine, images))):
                raise SystemExit(f"{name}: a batch's answers are not those of its images; nothing was timed.")
            calls[f"{kind} one by one"] = partial(one_by_one, engine, images)
            calls[f"{kind} batch"] = partial(engine, images)
        print(f"{name}: measuring", flush=True)
        distance = Distance()
        samples = timing.interleave(calls, seconds, settle_s=timing.SETTLE_S, distance=distance)
        cores.require_near(name, distance.readings)
    return {
        "machine": machine.record(("numpy", "onnxruntime"), compiler=machine.compiler()),
        "settings": {"batch": batch, "threads": threads, "rate": pruned.rate, "group": pruned.group},
        "max_rel_err": error,
        "line_ns": distance.readings,
        "samples_ms": samples,
    }


def one_by_one(engine: Engine, images: NDArray[np.float32]) -> list[Any]:
    """Run a batch's images one after another."""
    return [engine(images[i : i + 1]) for i in range(len(images))]


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8"))["networks"])


def render(networks: dict[str, Any]) -> str:
    """Give a table of milliseconds an image, and below it where it was measured."""
    rows = []
    for name in (name for name in MEASURED if name in networks):
        record = networks[name]
        images, settings = record["settings"]["batch"], record["settings"]
        ms = {call: median(samples) / images for call, samples in record["samples_ms"].items()}
        cells = [f"{ms['onnxruntime batch']:.2f}"]
        for kind in ("dense", "pruned"):
            alone, together = ms[f"{kind} one by one"], ms[f"{kind} batch"]
            cells += [f"{alone:.2f}", f"{together:.2f} ({alone / together:.2f}x)"]
        rows.append([f"{TITLES[name]}, {settings['rate']:g}x in groups of {settings['group']}", *cells])
    headings = [
        "ms an image",
        "ONNX Runtime, dense, batch",
        "pconv, dense, one by one",
        "pconv, dense, batch",
        "pconv, pruned, one by one",
        "pconv, pruned, batch",
    ]
    said = {
        f"Batches of {r['settings']['batch']}, {r['settings']['threads']} threads; {machine.line(r['machine'])}."
        for r in networks.values()
    }
    return f"{pages.table(headings, rows)}\n\n{fill(' '.join(sorted(said)), 120)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=MEASURED, choices=MEASURED)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each network")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
