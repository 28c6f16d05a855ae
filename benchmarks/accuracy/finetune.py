"""Fine-tune pruned ResNets for CIFAR-10 from real weights, with the dense network as the teacher.

    python benchmarks/accuracy/finetune.py                             all cases, 20 epochs each: many hours on a CPU
    python benchmarks/accuracy/finetune.py resnet20-scp8-4 --epochs 4  one of them; the others' results stay
    python benchmarks/accuracy/finetune.py resnet20-any4-4-spread      rates per layer, by sensitivity
    python benchmarks/accuracy/finetune.py --page                      only write docs/accuracy.md's table

Each case starts from post-training pruning; with --method gradual, magnitude or admm it has a row of its own. With
"spread", layers get rates of their own, and all 3x3 layers but the first together keep no more weights and no more
multiply-adds than at the case's rate; with "spread-macs" no more multiply-adds, whatever the weights. Training images
say what each rate harms.

The teacher's outputs and its blocks' are learnt, beside the labels; in the cases "by-resnet56", of ResNet-56, the
outputs alone. The last epoch is the result: the published
weights have seen all training images, so that the held-out ones would favour the networks nearest to the start. The
test images are used once, by torch and by the compiled network. A killed script goes on where it stood when it is
called again with the same --work.
"""

import argparse
import os
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import accuracy_page
import torch
import trained
from post_training import WEIGHTS

import pconv
from pconv import zoo
from pconv.demo.cifar import cifar10, cifar_folder
from pconv.demo.data import find_folder
from pconv.pruning import Curve, sensitivity, spread_rates
from pconv.pruning.rates import Unit
from pconv.training import Teacher, default_settings

RESULTS = accuracy_page.RESULTS / "accuracy_finetune.json"
EPOCHS = 20
GOALS = {
    ("resnet20", 2.25): 91.6,
    ("resnet20", 4.0): 90.8,
    ("resnet56", 4.0): 93.1,
    ("resnet56", 8.0): 92.2,
}
TEACHERS = ("", "resnet56")
SENSITIVITY_IMAGES = 256
HEAD = (
    "| network | 3x3 | rates | weights | MACs | library | method | teacher | epochs "
    "| dense | pruned | change | goal |"
)
METHODS = {"post": "", "magnitude": "-magnitude", "gradual": "-gradual", "admm": "-admm"}
RATES = {"": "uniform", "-spread": "by sensitivity", "-spread-macs": "by sensitivity"}
WITHIN: dict[str, tuple[Unit, ...]] = {"-spread": ("weights", "macs"), "-spread-macs": ("macs",)}


@dataclass(frozen=True)
class Case:
    """Say what is pruned, and what teaches it.

    `rates` is one for all layers, "", or one of WITHIN: rates per layer within budgets. The teacher is the dense
    network itself, "", or another one.
    """

    network: str
    patterns: str
    rate: float
    rates: str = ""
    teacher: str = ""

    @property
    def name(self) -> str:
        """Give the name on the command line."""
        by = f"-by-{self.teacher}" if self.teacher else ""
        return f"{self.network}-{self.patterns}-{self.rate:g}{self.rates}{by}"


CASES = {
    case.name: case
    for case in (
        Case(network, patterns, rate, rates, teacher)
        for network, rate in GOALS
        for patterns in ("scp8", "centre3", "any4")
        for rates in ("", *WITHIN)
        for teacher in TEACHERS
    )
}


def main() -> None:
    """Run the cases one after another; the file of results is replaced after each."""
    arguments = _arguments()
    if arguments.page:
        accuracy_page.write(page, arguments.output)
        return
    for name in arguments.cases:
        print(f"{name}: training", flush=True)
        accuracy_page.add(
            arguments.output, run_case(name, arguments), map("".join, product(CASES, METHODS.values()))
        )
        print(f"wrote {arguments.output}", flush=True)


def run_case(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one network at one rate; the linear layer stays dense, as in the other tables."""
    case = CASES[name]
    model, weights = WEIGHTS[case.network]
    data = cifar_folder()
    folder = arguments.work / f"{name}{METHODS[arguments.method]}"
    settings = default_settings(
        tuning=True,
        distill=True,
        optimiser=arguments.optimiser,
        lr=arguments.lr,
        weight_decay=1e-4,
        ema=arguments.ema,
        choose="last",
        seed=arguments.seed,
        epochs=arguments.epochs,
        images=arguments.images,
        threads=arguments.threads,
        compile=not arguments.eager,
    )
    recipe = make_recipe(case, folder.with_name(f"{name}.toml"))
    done = trained.run(
        name,
        data,
        model,
        folder,
        weights=data / weights,
        recipe=recipe,
        method=arguments.method,
        distill=not case.teacher,
        teacher=_teacher(case.teacher),
        settings=settings,
    )
    return done.as_json() | {
        "case": folder.name,
        "network": case.network,
        "folder": folder.name,
        "rate_3x3": case.rate,
        "rates": case.rates,
        **trained.compiled(done, data),
        "layers": dict(recipe.layers),
        "patterns": case.patterns,
        "teacher": case.teacher or case.network,
        "epochs": arguments.epochs,
        "settings": {**done.settings, "weights": weights.name, "teacher": case.teacher or None},
    }


def _teacher(network: str) -> Teacher | None:
    if not network:
        return None
    model, weights = WEIGHTS[network]
    return Teacher(model, find_folder(weights.parts[0]) / weights)


def make_recipe(case: Case, kept: Path) -> pconv.Recipe:
    """Give the recipe; rates per layer are measured once and kept in a file, so that a run can go on with them."""
    recipe = pconv.Recipe(compression_rate=case.rate, patterns=case.patterns, exclude=("linear",))
    if not case.rates:
        return recipe
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(
            spread_rates(recipe, curves(case.network, recipe.dumps()), WITHIN[case.rates]).dumps(), "utf-8"
        )
    return pconv.Recipe.load(kept)


@cache
def curves(network: str, recipe: str) -> dict[str, Curve]:
    """Measure what each rate harms each layer of a recipe, given as TOML, on training images."""
    model, weights = WEIGHTS[network]
    module = zoo.create(model, weights=find_folder(weights.parts[0]) / weights)
    images = torch.from_numpy(cifar10().train.normalised(slice(0, SENSITIVITY_IMAGES)))
    return sensitivity(module, images, pconv.Recipe.loads(recipe))


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    for row in document["results"]:
        change = row["change"]
        short = f" of {row['train_images']:,} images (shortened)" if row["shortened"] else ""
        lines.append(
            f"| {row['network']} | {row['rate_3x3']:g}x | {RATES[row['rates']]} | {row['rate_weights']:.2f}x "
            f"| {row['rate_macs']:.2f}x | {row['patterns']} | {row['method']} | {_taught_by(row)} "
            f"| {row['epochs']}{short} "
            f"| {100 * row['accuracy_dense']:.2f}% | {100 * row['accuracy']:.2f}% "
            f"| {change['points']:+.2f} +- {change['standard_error']:.2f} "
            f"| {GOALS[row['network'], row['rate_3x3']]}% |"
        )
    return "\n".join(lines) + "\n"


def _taught_by(row: dict[str, Any]) -> str:
    teacher = "itself" if row["teacher"] == row["network"] else row["teacher"]
    return f"{teacher}, outputs" if row["settings"].get("teacher") else f"{teacher}, blocks too"


page = accuracy_page.tabled("finetune", table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, help="a shortened run on so many training images")
    parser.add_argument("--method", default="post", choices=METHODS, help="default: post")
    parser.add_argument("--optimiser", default="adam", help="adam (default) or sgd")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--ema", type=float, default=0.99, help="decay of the averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--eager", action="store_true", help="do not compile the loss: slower, needs no g++")
    parser.add_argument("--work", type=Path, default=Path("finetune-runs"), help="checkpoints and models")
    return accuracy_page.parse(parser, CASES, RESULTS)


if __name__ == "__main__":
    main()
