"""Answers of whole networks on AArch64: every network of the zoo, dense and pruned, against ONNX Runtime.

python benchmarks/aarch64_zoo.py                     all; writes results/aarch64_zoo.json, docs/aarch64.md
python benchmarks/aarch64_zoo.py resnet18 dncnn      some; the rows of others stay
python benchmarks/aarch64_zoo.py --tables            only write the table

Each is compiled once for each type and runs in the emulators of several cores. Weights are random, pruned by magnitude
in one shot, which is right for comparing answers and says nothing about accuracy. Needs qemu-user.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import pages
from pconv import Recipe, targets, zoo
from pconv.bench import machine
from pconv.build import build_executable
from pconv.codegen import generate
from pconv.compiler import read_model
from pconv.graph import load
from pconv.graph.prune import prune_model, save
from pconv.lower import lower

HERE = Path(__file__).parent
RESULTS = pages.RESULTS / "aarch64_zoo.json"
PAGE, MARK = pages.DOCS / "aarch64.md", "zoo"
RATE = 8.0
GROUPS = (1, 4)
CORES = {"fp32": ("cortex-a53", "cortex-a76", "max"), "fp16": ("cortex-a76", "max")}
SMALL = dict.fromkeys(("resnet18", "resnet34", "resnet50", "mobilenet_v2", "vgg16", "vgg16_bn"), 64) | {
    "dncnn": 48
}
"""Images smaller than the zoo's own, where an emulator would take minutes."""
CONVOLUTIONS = ("vgg16", "vgg16_bn")
"""Networks whose classifier takes no small image: they run without it."""


def main() -> None:
    """Check, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all)")
    parser.add_argument("--tables", action="store_true", help="only write the table")
    asked = parser.parse_args()
    for name in () if asked.tables else asked.names or zoo.names():
        rows = []
        for row in check(name):
            print(json.dumps(row), flush=True)
            rows.append(row)
        update(name, rows)
    pages.write(PAGE, MARK, body())


def check(name: str) -> Iterator[dict[str, Any]]:
    """Compare a network's answers: the error relative to the largest output."""
    import onnxruntime

    n, channels, height, width = zoo.input_shape(name)
    shape = (n, channels, SMALL.get(name, height), SMALL.get(name, width))
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    with TemporaryDirectory(prefix="pconv-aarch64-") as folder:
        for variant, path in write_variants(name, shape, Path(folder)):
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            (expected,) = session.run(None, {session.get_inputs()[0].name: x})
            for dtype in CORES:
                for core, y in answers(path, dtype, x, Path(folder)):
                    error = np.abs(y.reshape(expected.shape) - expected).max() / np.abs(expected).max()
                    yield {
                        "network": name,
                        "variant": variant,
                        "input": list(shape),
                        "dtype": dtype,
                        "core": core,
                        "relative_error": float(error),
                    }


def write_variants(name: str, shape: tuple[int, int, int, int], folder: Path) -> Iterator[tuple[str, Path]]:
    """Write a network as ONNX files: dense, then pruned."""
    module = zoo.create(name)
    dense = load(module.features if name in CONVOLUTIONS else module, inputs=shape)
    for group in (0, *GROUPS):
        recipe = Recipe(compression_rate=RATE, group=group) if group else None
        path = folder / f"g{group}.onnx"
        save(prune_model(dense, recipe)[0] if recipe else dense, path)
        yield (f"pruned to {RATE:g}x in groups of {group}" if group else "dense"), path


def answers(path: Path, dtype: str, x: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Compile a model for a type; run it on each core."""
    program = generate(lower(read_model(path, None), targets.get("linux-aarch64", dtype=dtype)))
    main, source, result = folder / "ours", folder / "x.raw", folder / "y.raw"
    build_executable(program, (HERE / "aarch64" / "ours.c").read_text(), main, bare=True)
    source.write_bytes(x.tobytes())
    for core in CORES[dtype]:
        command = ["qemu-aarch64", "-cpu", core, main, source, result, "once"]
        subprocess.run(list(map(str, command)), check=True)
        yield core, np.fromfile(result, np.float32)


def update(name: str, rows: list[dict[str, Any]]) -> None:
    """Put a network's rows in the place of its older ones."""
    document = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {"results": []}
    kept = [row for row in document["results"] if row["network"] != name]
    said = {"machine": machine.record(("numpy", "onnxruntime"), compiler=machine.compiler())}
    ranked = sorted([*kept, *rows], key=lambda row: zoo.names().index(row["network"]))
    RESULTS.write_text(json.dumps({**said, "results": ranked}, indent=1) + "\n", encoding="utf-8")


def body() -> str:
    """Give what the stored results say: the largest error of each network's weights on any core."""
    results = json.loads(RESULTS.read_text("utf-8"))["results"]
    rows = []
    for name in dict.fromkeys(row["network"] for row in results):
        of_this = [row for row in results if row["network"] == name]
        size = f"{of_this[0]['input'][3]}x{of_this[0]['input'][2]}"
        rows.append(
            (name, size, *(_largest(of_this, dtype, dense) for dtype in CORES for dense in (True, False)))
        )
    headings = ("network", "image", *(f"{kind}, {dtype}" for dtype in CORES for kind in ("dense", "pruned")))
    return pages.table(headings, rows)


def _largest(rows: list[dict[str, Any]], dtype: str, dense: bool) -> str:
    errors = [
        row["relative_error"]
        for row in rows
        if row["dtype"] == dtype and (row["variant"] == "dense") == dense
    ]
    return f"{max(errors):.1e}"


if __name__ == "__main__":
    main()
