"""Measure the pruning methods against each other at equal epochs, each followed by fine-tuning.

    python benchmarks/accuracy/methods.py                                ResNet-20, 20 epochs of all images: a day
    python benchmarks/accuracy/methods.py --methods gradual              one of them; the others' results stay
    python benchmarks/accuracy/methods.py --images 10000 -o short.json   a shortened run, marked as such
    python benchmarks/accuracy/methods.py --page                         only write docs/accuracy.md's table

All begin from the same dense weights, which also teach, see the same images as often, and are trained as in
finetune.py; the last epoch is the result. Where there are several rates to choose from, each method gets the best one
on the last 5,000 training images; only what is chosen counts, and its test figure is not looked at before. A killed
script goes on where it stood when it is called again with the same --work.
"""

import argparse
from pathlib import Path
from typing import Any

import accuracy_page
import trained
from post_training import WEIGHTS

from pconv import Recipe
from pconv.demo.cifar import cifar_folder
from pconv.training import default_settings

RESULTS = accuracy_page.RESULTS / "accuracy_methods.json"
NETWORK = "resnet20"
METHODS = ("magnitude", "gradual", "admm", "post")
RATES = (2.25, 4.0)


def measure(method: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """Train with each rate, and keep what is best on held-out images; other test figures are dropped unseen."""
    runs = [run(method, rate, lr, options) for lr in options.lrs]
    candidates = [{key: one[key] for key in ("lr", "held_out_accuracy", "seconds")} for one in runs]
    best = max(runs, key=lambda one: one["held_out_accuracy"])
    return {"case": case(method, rate), **best, "candidates": candidates}


def case(method: str, rate: float) -> str:
    """Name a row of the results."""
    return f"{method}-{rate:g}"


def run(method: str, rate: float, lr: float, options: argparse.Namespace) -> dict[str, Any]:
    """Train once, and return everything that was measured."""
    data = cifar_folder()
    model, weights = WEIGHTS[NETWORK]
    name = f"{case(method, rate)}-lr{lr:g}"
    result = trained.run(
        name,
        data,
        model,
        options.work / name,
        weights=data / weights,
        recipe=Recipe(options.patterns, rate, exclude=("linear",)),
        method=method,
        distill=True,
        settings=default_settings(
            tuning=True, distill=True, optimiser=options.optimiser, lr=lr, weight_decay=1e-4, ema=options.ema,
            choose="last", seed=options.seed, epochs=options.epochs, images=options.images,
            threads=options.threads, compile=not options.eager,
        ),
    )  # fmt: skip
    measured = result.as_json()
    return measured | {
        "folder": name,
        "patterns": options.patterns,
        "rate_3x3": rate,
        "lr": lr,
        "epochs": options.epochs,
        "settings": {**result.settings, "weights": weights.name},
    }


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = [
        "| 3x3 layers | library | method | epochs | rate | dense | pruned | change |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in document["results"]:
        change = one["change"]
        short = f" of {one['train_images']:,} images (shortened)" if one["shortened"] else ""
        lines.append(
            f"| {one['rate_3x3']:g}x | {one['patterns']} | {one['method']} | {one['epochs']}{short} | {one['lr']:g} "
            f"| {100 * one['accuracy_dense']:.2f}% | {100 * one['accuracy']:.2f}% "
            f"| {change['points']:+.2f} +- {change['standard_error']:.2f} |"
        )
    return "\n".join(lines) + "\n"


page = accuracy_page.tabled("methods", table)


def main() -> None:
    """Run one method after another; the file of results is replaced after each."""
    options = _options()
    if options.page:
        accuracy_page.write(page, options.output)
        return
    cases = [case(method, rate) for rate in RATES for method in METHODS]
    for rate in options.rates:
        for method in options.methods:
            found = measure(method, rate, options)
            accuracy_page.add(options.output, found, cases)
            print(
                f"{method} at {rate:g}x: lr {found['lr']:g}, held out {found['held_out_accuracy']:.2%}, "
                f"test {found['accuracy']:.2%} ({found['change']['points']:+.2f} points)",
                flush=True,
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, help="train on so many images (shortened); default all 45,000")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rates", type=float, nargs="+", choices=RATES, default=RATES, help="of 3x3 layers")
    parser.add_argument("--optimiser", default="adam", help="adam (default) or sgd")
    parser.add_argument("--lrs", type=float, nargs="+", default=[3e-3, 6e-3], help="rates to choose from")
    parser.add_argument("--ema", type=float, default=0.99, help="decay of the averaged weights")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--patterns", default="centre3")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="do not compile the loss: on some CPUs faster")
    parser.add_argument("--work", type=Path, default=Path("methods-runs"), help="checkpoints and models")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/accuracy.md")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
