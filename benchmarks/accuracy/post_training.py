"""Measure post-training pruning: ResNet-20 and -56 on CIFAR-10, DnCNN on Set12, from published weights.

    python benchmarks/accuracy/post_training.py                         all cases, hours on one core
    python benchmarks/accuracy/post_training.py resnet20-scp8-2.25      one of them; the others' results stay
    python benchmarks/accuracy/post_training.py --seconds 60 -o x.json  shortened, marked as such
    python benchmarks/accuracy/post_training.py --page                  only write docs/accuracy.md's table

No labels are read. Settings were chosen on the last 5,000 training images, which no case sees; the test images are
used once, by torch and by the compiled engine. Seconds are of one core: with one thread the budget counts processor
time, so that other work on the machine does not change the result.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy comes: seconds are of one core

import argparse
import copy
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import accuracy_page
import numpy as np
import torch
import trained
from PIL import Image
from torch import Tensor, nn

import pconv
from pconv import Recipe, zoo
from pconv.bench import machine
from pconv.cli import console
from pconv.demo.cifar import cifar10
from pconv.demo.data import Images, find_folder
from pconv.graph import load
from pconv.graph.prune import layer_weights, save, write_sparsity
from pconv.pruning import mirror_and_shift, post_train
from pconv.sparsity import SparsityMap

RESULTS = accuracy_page.RESULTS / "accuracy_post_training.json"
WEIGHTS = {
    "resnet20": ("resnet20_cifar", Path("cifar10_resnets") / "resnet20.pth"),
    "resnet56": ("resnet56_cifar", Path("cifar10_resnets") / "resnet56.pth"),
    "dncnn": ("dncnn", Path("dncnn_sigma25") / "dncnn_25.pth"),
}
SIGMA = 25 / 255
MAX_PSNR_DIFFERENCE_DB = 1e-3


@dataclass(frozen=True)
class Case:
    """Say what is pruned, and how long it may take; no seconds = the refit alone."""

    network: str
    patterns: str
    rate: float
    group: int = 1
    seconds: float | None = None

    @property
    def name(self) -> str:
        """Give the name on the command line."""
        shared = f"-g{self.group}" if self.group > 1 else ""
        return f"{self.network}-{self.patterns}-{self.rate:g}{shared}{'' if self.seconds else '-refit'}"


def _cases() -> list[Case]:
    found = []
    for network, libraries, seconds in (
        ("resnet20", ("scp8", "centre3", "any4"), 150.0),
        ("resnet56", ("scp8", "centre3"), 300.0),
        ("dncnn", ("scp8", "centre3"), 400.0),
    ):
        for rate in (2.25, 4.0):
            found += [
                Case(network, library, rate, 1, span) for span in (seconds, None) for library in libraries
            ]
            found += [Case(network, "scp8", rate, 4)]
    return found


CASES = {case.name: case for case in _cases()}


class Classification:
    """CIFAR-10: top-1 on the 10,000 test images."""

    batch = None

    def __init__(self) -> None:
        self.data = cifar10()

    def images(self) -> Tensor:
        """Give the unlabelled images: all but the held-out ones."""
        return torch.from_numpy(self.data.train.normalised(slice(None)))

    vary = staticmethod(mirror_and_shift)

    def recipe(self, case: Case) -> Recipe:
        """Prune all 3x3 layers but the first."""
        return Recipe(case.patterns, case.rate, group=case.group, first="dense", exclude=("linear",))

    def held_out(self, module: nn.Module) -> float:
        """Give the top-1 in percent on the last 5,000 training images."""
        return 100 * float(_right(module, self.data.held_out).mean())

    def score(self, module: nn.Module, dense: nn.Module, engine: "Sizes") -> dict[str, Any]:
        """Compare with the dense network on each test image."""
        pruned, whole = self.right(module), self.right(dense)
        compiled = self.right_compiled(engine)
        trained.require_alike(int(compiled.sum()), int(pruned.sum()))
        change = 100 * (pruned.astype(float) - whole)
        return {
            "unit": "% top-1",
            "dense": 100 * float(whole.mean()),
            "pruned": 100 * float(pruned.mean()),
            "compiled": 100 * float(compiled.mean()),
            "change": float(change.mean()),
            "standard_error": float(change.std(ddof=1) / math.sqrt(len(change))),
            "samples": len(change),
        }

    def right(self, module: nn.Module) -> Any:
        """Say for each test image whether the network knows its class."""
        return _right(module, self.data.test)

    def right_compiled(self, engine: Any) -> Any:
        """Say the same of a compiled network."""
        batches = self.data.test.batches(100)
        return np.concatenate([engine(x).argmax(1) == labels for x, labels in batches])


class Denoising:
    """DnCNN: PSNR on the 12 images of Set12 with noise of sigma 25."""

    # A step of 8 patches costs what one of 80 images costs for ResNet-20.
    batch = 8

    def images(self) -> Tensor:
        """Give CIFAR-10's pictures in grey with noise, as large as they are: scaled up, they lack fine detail."""
        grey = self.grey(cifar10().train.pixels[:16384])
        return grey + SIGMA * torch.randn(grey.shape, generator=torch.Generator().manual_seed(1))

    @staticmethod
    def grey(pixels: Any) -> Tensor:
        """Give the brightness, from 0 to 1, of pictures in red, green and blue: [n, 3, h, w] -> [n, 1, h, w]."""
        shares = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
        return (torch.from_numpy(pixels).float() / 255 * shares).sum(1, keepdim=True)

    @staticmethod
    def vary(images: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror left to right and top to bottom."""
        for axis in (2, 3):
            chosen = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
        return images

    def recipe(self, case: Case) -> Recipe:
        """Prune all layers but the first and the last."""
        return Recipe(case.patterns, case.rate, group=case.group, first="dense", exclude=("model.32",))

    def held_out(self, module: nn.Module) -> None:
        """Give nothing: no settings were chosen for this network."""

    def score(self, module: nn.Module, dense: nn.Module, engine: Any) -> dict[str, Any]:
        """Compare with the dense network on each picture; `engine` compiles for a size."""
        rows = []
        draw = torch.Generator().manual_seed(0)
        for path in sorted((find_folder("dncnn_sigma25") / "dncnn_sigma25" / "set12").glob("*.png")):
            clean = torch.from_numpy(np.asarray(Image.open(path).convert("L"), np.float32) / 255)[None, None]
            noisy = clean + SIGMA * torch.randn(clean.shape, generator=draw)
            with torch.no_grad():
                noises = dense(noisy), module(noisy), torch.from_numpy(engine(noisy.numpy()))
            rows.append([psnr(noisy - noise, clean) for noise in noises])
        whole, pruned, compiled = np.asarray(rows).T
        assert np.abs(pruned - compiled).max() < MAX_PSNR_DIFFERENCE_DB, "compiled: another PSNR"
        change = pruned - whole
        return {
            "unit": "dB PSNR",
            "dense": float(whole.mean()),
            "pruned": float(pruned.mean()),
            "compiled": float(compiled.mean()),
            "change": float(change.mean()),
            "standard_error": float(change.std(ddof=1) / math.sqrt(len(change))),
            "samples": len(change),
        }


def _right(module: nn.Module, images: Images) -> Any:
    with torch.no_grad():
        return np.concatenate(
            [module(torch.from_numpy(x)).argmax(1).numpy() == labels for x, labels in images.batches(250)]
        )


def psnr(image: Tensor, clean: Tensor) -> float:
    """Give the peak signal-to-noise ratio in dB of an image from 0 to 1."""
    return -10 * math.log10(float((image.clamp(0, 1) - clean).square().mean()))


class Sizes:
    """Compile a model for each size of picture that comes."""

    def __init__(self, module: nn.Module, sparsity: SparsityMap, folder: Path) -> None:
        self._module, self._sparsity, self._folder = module, sparsity, folder
        self._engines: dict[tuple[int, ...], pconv.Engine] = {}

    def __call__(self, x: Any) -> Any:
        """Run a batch of pictures of one size."""
        return self.engine((1, *x.shape[1:]))(x)

    def engine(self, shape: tuple[int, ...]) -> pconv.Engine:
        """Give the model for pictures of this size."""
        if shape not in self._engines:
            path = self._folder / f"{'x'.join(map(str, shape))}.onnx"
            model = load(self._module, inputs=shape)
            self._sparsity.check(layer_weights(model))
            write_sparsity(model, self._sparsity)
            save(model, path)
            self._engines[shape] = pconv.compile(path, threads=1)
        return self._engines[shape]


def measure(case: Case, seconds: float | None, threads: int, seed: int) -> dict[str, Any]:
    """Prune one network, and score it."""
    torch.set_num_threads(threads)
    network, weights = WEIGHTS[case.network]
    dense = zoo.create(network, weights=find_folder(weights.parts[0]) / weights)
    module = copy.deepcopy(dense)
    task = Denoising() if case.network == "dncnn" else Classification()
    images = task.images()
    clock = time.process_time if threads == 1 else time.perf_counter
    began, began_wall = clock(), time.perf_counter()
    with console.progress(case.name) as track:
        sparsity = post_train(
            module, images, task.recipe(case), seconds=seconds, vary=task.vary, batch=task.batch,
            progress=lambda what, done, total: track(f"{case.name}: {what}", done / total), seed=seed, clock=clock,
        )  # fmt: skip
    spent, wall = clock() - began, time.perf_counter() - began_wall
    kernels = [layer for layer in sparsity.layers.values() if layer.shape[2:] == (3, 3)]
    with TemporaryDirectory() as folder:
        scored = task.score(module, dense, Sizes(module, sparsity, Path(folder)))
    return {
        "case": case.name,
        "machine": machine.record(("numpy", "torch"), threads=threads),
        **asdict(case),
        "seconds": spent,
        "wall_seconds": wall,
        "seed": seed,
        "shortened": seconds != case.seconds,
        "images": len(images),
        "rate_3x3": sum(k.total_elems for k in kernels) / sum(k.kept_elems for k in kernels),
        "held_out": task.held_out(module),
        **scored,
    }


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = [
        "| network | 3x3 layers | library | g | seconds | dense | pruned | change |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in document["results"]:
        unit = "%" if row["unit"].startswith("%") else " dB"
        lines.append(
            f"| {row['network']} | {row['rate']:g}x | {row['patterns']} | {row['group']} "
            f"| {row['seconds']:.0f}{' (shortened)' if row['shortened'] else ''} | {row['dense']:.2f}{unit} "
            f"| {row['pruned']:.2f}{unit} | {row['change']:+.2f} +- {row['standard_error']:.2f} |"
        )
    return "\n".join(lines) + "\n"


page = accuracy_page.tabled("post-training", table)


def main() -> None:
    """Run the cases one after another; the file of results is replaced after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="another budget than the case's own (shortened)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = accuracy_page.parse(parser, CASES, RESULTS)
    if options.page:
        accuracy_page.write(page, options.output)
        return
    for name in options.cases:
        case = CASES[name]
        seconds = case.seconds if case.seconds is None or options.seconds is None else options.seconds
        result = measure(case, seconds, options.threads, options.seed)
        accuracy_page.add(options.output, result, CASES)
        print(
            f"{name}: {result['pruned']:.2f} {result['unit']} ({result['change']:+.2f} +- "
            f"{result['standard_error']:.2f}), {result['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
