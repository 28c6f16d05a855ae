"""Fine-tune a pruned DnCNN with the dense network as the teacher; PSNR on Set12 with noise of sigma 25.

    python benchmarks/accuracy/denoising.py                       all cases, one after another: an hour on one core
    python benchmarks/accuracy/denoising.py any4-4 --steps 1000   one of them; the others' results stay
    python benchmarks/accuracy/denoising.py any4-4-spread         rates per layer, by sensitivity
    python benchmarks/accuracy/denoising.py any4-4 --method gradual
    python benchmarks/accuracy/denoising.py any4-4 --lr 1e-3 --views 2   a teacher that looks twice
    python benchmarks/accuracy/denoising.py any4-4 --validate     on two photographs, and no results
    python benchmarks/accuracy/denoising.py --page                only write docs/accuracy.md's table

The refit of post-training pruning comes first, then gradient steps around its zeros, toward what the dense network
gives; with --method gradual, masks move during the first half of those steps instead. With --views 2 the dense network
sees each crop turned as well, and the mean of both answers teaches. With "spread", layers get rates of their own, and
all together keep as much as at the case's rate; what each rate harms is measured on the same crops as the refit. Every
step sees new crops with new noise, out of photographs that come with scikit-image (pip install scikit-image); its
cameraman is left out, because Set12 has one. Settings were chosen on scikit-learn's two photographs; Set12 is used
once, after the last step, by torch and by the compiled network. A killed script goes on where it stood when it is
called again with the same --work; with fewer --steps the rate falls from there at once.
"""

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import accuracy_page
import numpy as np
import torch
from post_training import SIGMA, WEIGHTS, Case, Denoising, Sizes, psnr
from torch import Tensor, nn
from torch.nn import functional

import pconv
from pconv import zoo
from pconv.bench import machine
from pconv.cli import console
from pconv.demo.data import find_folder
from pconv.pruning import Pruner, post_train, sensitivity, spread_rates
from pconv.training.precision import autocast, choose_type
from pconv.training.schedule import rate

RESULTS = accuracy_page.RESULTS / "accuracy_denoising.json"
GOALS = {4.0: 30.35, 8.0: 30.2}
RATES = {False: "uniform", True: "by sensitivity"}
METHODS = {"post": "", "gradual": "-gradual"}
STEPS = 8000
BATCH = 4
LR = 2e-3
SIDE = 64
SCALES = 1.0, 0.7, 0.5
CALIBRATION_CROPS = 128
WARM_UP = 0.05
SAVE_EVERY = 250
VIEWS = {1: "", 2: "-two-views"}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Spread(Case):
    """Say what is pruned, and whether each layer has a rate of its own."""

    spread: bool = False

    @property
    def name(self) -> str:
        """Give the name on the command line."""
        return f"{self.patterns}-{self.rate:g}{'-spread' if self.spread else ''}"


CASES = {
    case.name: case
    for case in (
        Spread("dncnn", patterns, rate, spread=spread)
        for rate in GOALS
        for patterns in ("centre3", "any4")
        for spread in RATES
    )
}


ALL_CASES = list(map("".join, product(CASES, METHODS.values(), VIEWS.values())))


def training_pictures() -> list[Tensor]:
    """Give scikit-image's photographs and textures in grey, each at some scales, as [1, 1, h, w]."""
    from skimage import color, data

    photographs = [
        data.astronaut(),
        data.chelsea(),
        data.coffee(),
        data.rocket(),
        data.stereo_motorcycle()[0],
    ]
    textures = [data.brick(), data.grass(), data.gravel(), data.coins()]
    pictures = [grey(picture) for picture in (*photographs, *map(color.gray2rgb, textures))]
    return [
        functional.interpolate(one, scale_factor=scale, mode="bicubic", antialias=True).clamp(0, 1)
        for one in pictures
        for scale in SCALES
    ]


def grey(pixels: Any) -> Tensor:
    """Give the brightness, from 0 to 1, of a picture: [h, w, 3] -> [1, 1, h, w]."""
    return Denoising.grey(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))


def crops(pictures: Sequence[Tensor], count: int, draw: torch.Generator) -> Tensor:
    """Give squares out of the pictures, mirrored by chance and with noise; larger pictures give more.

    Shapes: pictures [1, 1, h, w] -> [count, 1, SIDE, SIDE]
    """
    sizes = torch.tensor([float(one.numel()) for one in pictures])
    found = []
    for i in torch.multinomial(sizes, count, replacement=True, generator=draw).tolist():
        height, width = pictures[i].shape[2:]
        top = int(torch.randint(0, height - SIDE + 1, (), generator=draw))
        left = int(torch.randint(0, width - SIDE + 1, (), generator=draw))
        found.append(pictures[i][:, :, top : top + SIDE, left : left + SIDE])
    clean = Denoising.vary(torch.cat(found), draw)
    return clean + SIGMA * torch.randn(clean.shape, generator=draw)


def measure(case: Spread, options: argparse.Namespace) -> dict[str, Any]:
    """Prune and train one network, and score it on Set12."""
    torch.set_num_threads(options.threads)
    task = Denoising()
    network, weights = WEIGHTS["dncnn"]
    dense = zoo.create(network, weights=find_folder(weights.parts[0]) / weights).eval().requires_grad_(False)
    module = copy.deepcopy(dense).requires_grad_(True)
    draw = torch.Generator().manual_seed(options.seed)
    pictures = training_pictures()
    images = crops(pictures, CALIBRATION_CROPS, draw)
    recipe = task.recipe(case)
    if case.spread:
        recipe = spread_rates(recipe, sensitivity(dense, images, recipe, seed=options.seed))
    if options.method == "post":
        zeros = post_train(module, images, recipe, seed=options.seed)
        pruner = pconv.prune(module, method="keep", steps=options.steps, sparsity=zeros)
    else:
        pruner = pconv.prune(module, recipe, method=options.method, steps=options.steps)
    kept = options.work / f"{case.name}{METHODS[options.method]}{VIEWS[options.views]}.pt"
    with console.progress(kept.stem) as track:
        history = fine_tune(module, dense, pruner, pictures, draw, options, kept, track)
    sparsity = pruner.finish()
    kernels = [layer for layer in sparsity.layers.values() if layer.density < 1.0]
    row = {
        "machine": machine.record(("numpy", "torch", "scikit-image"), threads=options.threads),
        "patterns": case.patterns,
        "rate_3x3": case.rate,
        "rates": RATES[case.spread],
        "method": options.method,
        "layers": dict(recipe.layers),
        "rate_weights": sum(k.total_elems for k in kernels) / sum(k.kept_elems for k in kernels),
        "steps": options.steps,
        "batch": BATCH,
        "side": SIDE,
        "lr": options.lr,
        "views": options.views,
        "seed": options.seed,
        "history": history,
        "photographs": {"dense": on_photographs(dense), "pruned": on_photographs(module)},
    }
    if options.validate:
        return row
    with TemporaryDirectory() as folder:
        return row | task.score(module, dense, Sizes(module, sparsity, Path(folder)))


def fine_tune(
    module: nn.Module,
    dense: nn.Module,
    pruner: Pruner,
    pictures: Sequence[Tensor],
    draw: torch.Generator,
    options: argparse.Namespace,
    kept: Path,
    track: Callable[[str, float], None],
) -> list[list[int]]:
    """Take gradient steps toward the dense network's outputs, in place, while masks are the pruner's; on from `kept`.

    Returns: [first step, steps in all] of each call that had a part in it
    """
    for network in (module, dense):  # the same numbers, faster on a CPU
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, dtype = torch.optim.Adam(module.parameters(), options.lr), choose_type("auto", CPU)
    history = [[0, options.steps]]
    if kept.exists():
        saved = torch.load(kept)
        module.load_state_dict(saved["module"])
        pruner.load_state_dict(saved["pruner"])
        optimiser.load_state_dict(saved["optimiser"])
        draw.set_state(saved["draw"])
        history = [*saved["history"], [saved["step"], options.steps]]
    for step in range(history[-1][0], options.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(options.lr, step, options.steps, WARM_UP)
        x = crops(pictures, BATCH, draw).contiguous(memory_format=torch.channels_last)
        with autocast(CPU, dtype):
            error = module(x).float() - taught(dense, x, options.views)
        loss = error.square().mean() / SIGMA**2
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        pruner.step()
        track(f"step {step + 1} of {options.steps}: loss {loss.item():.5f}", (step + 1) / options.steps)
        if (step + 1) % SAVE_EVERY == 0:
            states: dict[str, Any] = {"module": module, "optimiser": optimiser, "pruner": pruner}
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(
                {name: one.state_dict() for name, one in states.items()}
                | {"draw": draw.get_state(), "step": step + 1, "history": history},
                kept,
            )
    return history


def taught(dense: nn.Module, x: Tensor, views: int) -> Tensor:
    """Give the dense network's answer for x [n, 1, h, w], or of two views the mean, the second of which is turned."""
    answer: Tensor = dense(x).float()
    if views > 1:
        answer = (answer + turned(dense(turned(x)).float())) / 2
    return answer


def turned(x: Tensor) -> Tensor:
    """Mirror squares at their other diagonal: columns become rows, and both are reversed. Twice, it is x again."""
    return x.transpose(2, 3).flip((2, 3))


def on_photographs(module: nn.Module) -> float:
    """Give the mean PSNR in dB on scikit-learn's two photographs."""
    from sklearn.datasets import load_sample_images

    draw, found = torch.Generator().manual_seed(0), []
    for photograph in load_sample_images().images:
        clean = grey(photograph)
        noisy = clean + SIGMA * torch.randn(clean.shape, generator=draw)
        with torch.no_grad():
            found.append(psnr(noisy - module(noisy), clean))
    return sum(found) / len(found)


def steps(history: list[list[int]]) -> str:
    """Say how many steps there were, and which of them had the rates of another number of steps."""
    said = f"{history[-1][1]:,}"
    for (_, planned), (end, _) in pairwise(history):
        if planned != history[-1][1]:
            said += f", up to {end:,} at the rates of {planned:,}"
    return said


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = [
        "| 3x3 layers | rates | library | method | steps | views | dense | pruned | change | goal |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in document["results"]:
        lines.append(
            f"| {row['rate_3x3']:g}x | {row['rates']} | {row['patterns']} | {row['method']} "
            f"| {steps(row['history'])} | {row.get('views', 1)} "
            f"| {row['dense']:.2f} dB | {row['pruned']:.2f} dB | {row['change']:+.2f} +- {row['standard_error']:.2f} "
            f"| {GOALS[row['rate_3x3']]:.2f} dB |"
        )
    return "\n".join(lines) + "\n"


page = accuracy_page.tabled("denoising", table)


def main() -> None:
    """Run the cases one after another; the file of results is replaced after each."""
    options = _options()
    if options.page:
        accuracy_page.write(page, options.output)
        return
    for name in options.cases:
        named = f"{name}{METHODS[options.method]}{VIEWS[options.views]}"
        row = {"case": named, **measure(CASES[name], options)}
        said = row["photographs"]
        print(f"{row['case']}: photographs {said['pruned']:.3f} dB of {said['dense']:.3f}", flush=True)
        if not options.validate:
            accuracy_page.add(options.output, row, ALL_CASES)
            print(f"{row['case']}: Set12 {row['pruned']:.3f} dB of {row['dense']:.3f}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--method", choices=METHODS, default="post", help="default: post")
    parser.add_argument("--lr", type=float, default=LR)
    parser.add_argument("--views", type=int, choices=VIEWS, default=1, help="of the teacher; default: 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--validate", action="store_true", help="score photographs alone, and write no results"
    )
    parser.add_argument("--work", type=Path, default=Path("denoising-runs"), help="checkpoints")
    return accuracy_page.parse(parser, CASES, RESULTS)


if __name__ == "__main__":
    main()
