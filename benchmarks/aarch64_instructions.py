"""Count the instructions of one inference on AArch64, ours and other engines', on the same weights.

python benchmarks/aarch64_instructions.py                       count; writes results/aarch64.json, docs/aarch64.md
python benchmarks/aarch64_instructions.py resnet18 --engine pconv     one case, one engine; other counts stay
python benchmarks/aarch64_instructions.py --tables              only rewrite the tables

An emulator counts what is executed, exactly, and models an L1 cache of 64 KiB in four ways and an L2 cache of 512 KiB
in eight; nothing is timed, and no count is a millisecond. Weights are random, pruned by magnitude. Needs what
aarch64/testbed.py needs, and llvm-19.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import pages
from aarch64 import inner_loops, tables
from aarch64.testbed import CPU, WHEELS, Testbed
from pconv import Recipe, targets, zoo
from pconv.bench import machine, peers
from pconv.bench.peers.base import ConvertingPeer
from pconv.build import build_executable
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.compiler import read_model
from pconv.graph import load
from pconv.graph.prune import prune_model, save
from pconv.lower import lower

HERE = Path(__file__).parent
RESULTS = pages.RESULTS / "aarch64.json"
PAGE, MARK = tables.PAGE, "aarch64"
OURS = "pconv"
ENGINES = {
    OURS: ("float32", "float16"),
    "ncnn": ("float32", "float16"),
    "mnn": ("float32", "float16"),
    "onnxruntime": ("float32",),
}
MAX_ERROR = {"float32": 5e-3, "float16": 6e-2}
"""Of the largest value; Winograd convolutions are less exact than plain ones."""
OURS_ERROR = {"float32": 1e-4, "float16": 2e-2}
OUR_TYPES = {"float32": "fp32", "float16": "fp16"}
BLOCKS = 100_000
"""More than a program has: all blocks of a step are looked at."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A network to count, how it is pruned, and the instructions that it may take: a share of ncnn's."""

    name: str
    title: str
    make: Callable[[], Any]
    shape: tuple[int, int, int, int]
    rate: float
    goals: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    paired: bool = False


def _layer() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Conv2d(64, 64, 3, padding=1).eval()


CASES = (
    Case("conv", "conv 64->64 3x3 @56, 8x", _layer, (1, 64, 56, 56), 8.0, {"float32": 0.45}),
    Case(
        "resnet18",
        "ResNet-18 @224, 3x3 at 8x, 1x1 at 4x",
        lambda: zoo.create("resnet18"),
        (1, 3, 224, 224),
        8.0,
        {"float32": 0.45, "float16": 0.5},
        {"rate_1x1": 4.0},
    ),
    Case(
        "vgg16",
        "VGG-16's convolutions @224, 8x",
        lambda: zoo.create("vgg16").features,
        (1, 3, 224, 224),
        8.0,
        {"float32": 0.42},
    ),
    Case(
        "mobilenet_v2",
        "MobileNetV2 @224, 1x1 at 4x",
        lambda: zoo.create("mobilenet_v2"),
        (1, 3, 224, 224),
        8.0,
        {"float32": 0.6},
        {"rate_1x1": 4.0, "first": "dense", "depthwise": "dense"},
        paired=True,
    ),
)
APART = "groups of 4, layers apart"
KINDS = {"dense": (1, True), "free, 8 shapes": (1, False), "groups of 4": (4, False), APART: (4, False)}
"""What ours compiles: the group that shares kernels, and whether zeros are ignored. Layers that are paired count apart
as well, in the networks that have any."""


class Counting:
    """One case's weights and answers in a folder, and what runs on them."""

    def __init__(self, case: Case, testbed: Testbed, folder: Path) -> None:
        self.case, self.testbed, self.folder = case, testbed, folder
        self.models = {}
        self.answers = {}
        self.names: list[str] = []
        self.x = np.random.default_rng(0).standard_normal(case.shape, np.float32)
        for group in {group for group, _ in KINDS.values()}:
            recipe = Recipe(compression_rate=case.rate, group=group, **case.settings)
            pruned, _ = prune_model(load(case.make(), inputs=case.shape), recipe)
            self.models[group] = folder / f"g{group}.onnx"
            save(pruned, self.models[group])
            self.answers[group] = self._judge(self.models[group])

    def ours(self, kind: str, dtype: str) -> Record:
        """Count ours: the whole, and step by step."""
        group, dense = KINDS[kind]
        view = read_model(self.models[group], None)
        layers = frozenset(node.name for node in view.nodes if node.op == "Conv") if dense else frozenset()
        target = replace(targets.get("linux-aarch64", CPU, OUR_TYPES[dtype]), pairs=kind != APART)
        program = generate(lower(view, target, layers))
        main, source, result = self.folder / "ours", self.folder / "x.raw", self.folder / "y.raw"
        build_executable(program, (HERE / "aarch64" / "ours.c").read_text(), main, bare=True)
        source.write_bytes(self.x.tobytes())
        counts = self.testbed.count([main, source, result], top=BLOCKS)
        whole = next(region for region in counts if region["mark"] == 1)
        steps = [region for region in counts if isinstance(region["mark"], int) and region["mark"] > 1]
        error = self._error(np.fromfile(result, np.float32), group, OURS_ERROR[dtype], f"ours, {kind}")
        text = inner_loops.Text.read(main)
        loops = inner_loops.describe(text, [step["top"] for step in steps])
        return {
            "engine": OURS,
            "kind": kind,
            "dtype": dtype,
            "max_rel_err": error,
            **_kept(whole),
            "layers": [
                {
                    "name": said["name"],
                    "micro_kernel": said["micro_kernel"],
                    "macs": said["macs"],
                    **_kept(step),
                    "inner_loops": inner,
                }
                for said, step, inner in zip(program.manifest["layers"], steps, loops, strict=True)
            ],
        }

    def peer(self, engine: str, dtype: str) -> Record:
        """Count another engine."""
        work = self.folder / engine
        work.mkdir(exist_ok=True)
        np.save(work / "x.npy", self.x)
        peer = peers.get(engine)
        if isinstance(peer, ConvertingPeer):
            shutil.copytree(peer.converted(self.models[1]), work, dirs_exist_ok=True)
        else:
            shutil.copy(self.models[1], work / "model.onnx")
        counts = self.testbed.count_peer(engine, work, dtype, self.names)
        error = self._error(np.load(work / "y.npy"), 1, MAX_ERROR[dtype], engine)
        return {"engine": engine, "kind": "dense", "dtype": dtype, "max_rel_err": error, **_kept(counts)}

    def _judge(self, path: Path) -> np.ndarray:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.names = [session.get_inputs()[0].name, session.get_outputs()[0].name]
        return np.asarray(session.run(self.names[1:], {self.names[0]: self.x})[0])

    def _error(self, answer: np.ndarray, group: int, allowed: float, who: str) -> float:
        wanted = self.answers[group]
        error = float(np.abs(answer.reshape(wanted.shape) - wanted).max() / np.abs(wanted).max())
        if not error <= allowed:
            sys.exit(
                f"{self.case.name}, {who}: wrong by {error:.1e} of the largest value; allowed {allowed:.0e}"
            )
        return error


def _kept(counts: Record) -> Record:
    """Keep of the plugin's counts what tells of work and of memory."""
    loads = counts.get("vload", 0) + counts.get("load", 0)
    return {
        "instructions": counts["insn"],
        "fmla": counts.get("vfma32", 0) + counts.get("vfma16", 0),
        "loads": loads,
        "stores": counts.get("vstore", 0) + counts.get("store", 0),
        "l1_misses": counts["l1_miss"],
        "l2_misses": counts["l2_miss"],
    }


def measure(
    case: Case, testbed: Testbed, engines: list[str], kinds: list[str], dtypes: list[str]
) -> Iterator[Record]:
    """Count one case by the engines asked for, in the types asked for, ours in the kinds asked for."""
    with TemporaryDirectory(prefix="pconv-aarch64-") as folder:
        counting = Counting(case, testbed, Path(folder))
        for engine in engines:
            for dtype in (known for known in ENGINES[engine] if known in dtypes):
                if engine == OURS:
                    yield from (counting.ours(kind, dtype) for kind in kinds if case.paired or kind != APART)
                else:
                    yield counting.peer(engine, dtype)


def update(case: Case, row: Record) -> None:
    """Put a row in the place of the older one that it counts again."""
    document = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {"cases": {}}
    document["machine"] = machine.record(("numpy", "onnx"), compiler=machine.compiler())
    document["emulated"] = {"cpu": CPU, "engines": WHEELS, "mca": inner_loops.CORE}
    old = document["cases"].get(case.name, {}).get("results", [])
    kept = [other for other in old if _key(other) != _key(row)]
    said = {"title": case.title, "goals": case.goals, "results": [*kept, row]}
    document["cases"][case.name] = said
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _key(row: Record) -> tuple[str, str, str]:
    return row["engine"], row["kind"], row["dtype"]


def body() -> str:
    """Give what the stored results say."""
    return tables.render(json.loads(RESULTS.read_text("utf-8")))


def main() -> None:
    """Count, unless asked for the tables only."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (default: all)")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="an engine (default: all)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="a kind of ours (default: all)")
    parser.add_argument("--dtype", action="append", choices=OUR_TYPES, help="a type (default: all)")
    parser.add_argument("--testbed", type=Path, default=Cache().root / "aarch64", help="where it is kept")
    parser.add_argument("--tables", action="store_true", help="only rewrite the tables")
    asked = parser.parse_args()
    if not asked.tables:
        for case in CASES:
            if not asked.names or case.name in asked.names:
                engines, kinds = asked.engine or list(ENGINES), asked.kind or list(KINDS)
                dtypes = asked.dtype or list(OUR_TYPES)
                for row in measure(case, Testbed(asked.testbed), engines, kinds, dtypes):
                    said = {name: value for name, value in row.items() if name != "layers"}
                    print(json.dumps({"case": case.name, **said}), flush=True)
                    update(case, row)
    pages.write(PAGE, MARK, body())


if __name__ == "__main__":
    main()
