"""Measure what a batch is good for: images one after another, a batch of which each thread runs whole images, and one
of which several images run side by side (`fold`).

    python benchmarks/batches.py                    all networks, five minutes; writes the table of performance.md
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
MEASURED = ("vgg16", "resnet18", "resnet50", "mobilenet_v2", "vgg16_cifar", "resnet18_cifar")
GROUP = 4
HOW = ("one by one", "batch", "folded")


def main() -> None:
    """Measure network by network; what is done is written at once."""
    arguments = _arguments()
    if not arguments.page:
        for name in arguments.only:
            document = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"networks": {}}
            document["networks"][name] = measure(
                name, arguments.batch, arguments.fold, arguments.threads, arguments.seconds
            )
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {RESULTS}", flush=True)
    pages.write(PAGE, MARK, body())


def measure(name: str, batch: int, fold: int, threads: int, seconds: float) -> dict[str, Any]:
    """Time one network, dense and pruned, with so many images side by side. Units: milliseconds for a whole batch."""
    shape = (batch, *zoo.input_shape(name)[1:])
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pruning = next(one for one in NETWORKS[name] if one.group == GROUP)
    with TemporaryDirectory(prefix="pconv-batches-") as folder, ExitStack() as stack, timing.alone():
        print(f"{name}: exporting, compiling", flush=True)
        dense, pruned = make_variants(name, [pruning], Path(folder))
        engines, folded = (
            {
                kind: stack.enter_context(compile(variant.path, threads=threads, fold=images))
                for kind, variant in (("dense", dense), ("pruned", pruned))
            }
            for images in (1, fold)
        )
        peer = OnnxRuntime().load(zoo.to_onnx(name, Path(folder) / "batch.onnx", shape=shape), threads)
        feed = {engines["dense"].inputs[0].name: images}
        one = {engines["pruned"].inputs[0].name: images[:1]}
        judge = OnnxRuntime().load(pruned.path, threads)
        error = max(
            *(max_rel_err([np.asarray(ours["dense"](images))], peer(feed)) for ours in (engines, folded)),
            *(
                max_rel_err([np.asarray(ours["pruned"](images[:1]))], judge(one))
                for ours in (engines, folded)
            ),
        )
        if error > FP32_MAX_REL_ERR:
            raise SystemExit(f"{name}: {error:.1e} off ONNX Runtime; nothing was timed.")
        calls: dict[str, Callable[[], object]] = {"onnxruntime batch": lambda: peer(feed)}
        for kind, engine in engines.items():
            for ours in (engine, folded[kind]):
                if not np.array_equal(ours(images), np.concatenate(one_by_one(ours, images))):
                    raise SystemExit(
                        f"{name}: a batch's answers are not those of its images; nothing was timed."
                    )
            ways: list[Callable[[], object]] = [partial(one_by_one, engine, images)]
            ways += [partial(engine, images), partial(folded[kind], images)]
            calls |= {f"{kind} {how}": way for how, way in zip(HOW, ways, strict=True)}
        print(f"{name}: measuring", flush=True)
        distance = Distance()
        samples = timing.interleave(calls, seconds, settle_s=timing.SETTLE_S, distance=distance)
        cores.require_near(name, distance.readings)
    return {
        "machine": machine.record(("numpy", "onnxruntime"), compiler=machine.compiler()),
        "settings": {
            "batch": batch,
            "fold": fold,
            "threads": threads,
            "rate": pruned.rate,
            "group": pruned.group,
        },
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
            alone, *together = (ms[f"{kind} {how}"] for how in HOW)
            cells += [f"{alone:.2f}", *(f"{one:.2f} ({alone / one:.2f}x)" for one in together)]
        rows.append([f"{TITLES[name]}, {settings['rate']:g}x in groups of {settings['group']}", *cells])
    ours = (f"pconv, {kind}, {how}" for kind in ("dense", "pruned") for how in HOW)
    headings = ["ms an image", "ONNX Runtime, dense, batch", *ours]
    said = {
        f"Batches of {r['settings']['batch']}, folded {r['settings']['fold']} at a time, {r['settings']['threads']} "
        f"threads; {machine.line(r['machine'])}."
        for r in networks.values()
    }
    return f"{pages.table(headings, rows)}\n\n{fill(' '.join(sorted(said)), 120)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=MEASURED, choices=MEASURED)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fold", type=int, default=4, help="images side by side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each network")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
