"""Measure the pruning methods against each other at equal epochs: one shot and fine-tuning, gradual, ADMM.

    python benchmarks/accuracy/methods.py --epochs 20                               ResNet-20 on CIFAR-10, all images
    python benchmarks/accuracy/methods.py --images 10000 --epochs 2 -o short.json   a shortened run, marked as such

All begin from the same dense weights, which also teach (distillation), and see the same images as often. Per method
the rate of SGD is chosen on the last 5,000 training images; only what is chosen counts, and its test figure is not
looked at before.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from post_training import PAGE, between, machines

from pconv import Recipe
from pconv.bench import machine
from pconv.cli import console
from pconv.demo.data import find_folder
from pconv.training import default_settings, train

RESULTS = Path(__file__).parents[1] / "results" / "accuracy_methods.json"
NETWORK, WEIGHTS = "resnet20_cifar", Path("cifar10_resnets") / "resnet20.pth"
METHODS = ("magnitude", "gradual", "admm")


def run(method: str, rate: float, lr: float, options: argparse.Namespace) -> dict[str, Any]:
    """Train once, and return everything that was measured."""
    data = find_folder("cifar10")
    name = f"{method} {rate:g}x lr {lr:g}"
    with TemporaryDirectory() as folder, console.progress(name) as track:
        result = train(
            data / "cifar10",
            NETWORK,
            Path(folder) / "run",
            weights=data / WEIGHTS,
            recipe=Recipe(options.patterns, rate, exclude=("linear",)),
            method=method,
            distill=True,
            settings=default_settings(
                tuning=True, distill=True, epochs=options.epochs, lr=lr, weight_decay=1e-4, ema=0.0,
                images=options.images, threads=options.threads, seed=options.seed,
            ),
            on_event=lambda event: track(f"{name}  {event.text}", event.share),
        )  # fmt: skip
    assert result is not None
    measured = result.as_json()
    del measured["folder"], measured["settings"]["weights"], measured["machine"]
    return {"method": method, "rate_3x3": rate, "lr": lr, **measured}


def choose(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take the best run on held-out images per method and rate; the others' test figures are dropped unseen."""
    best: dict[tuple[str, float], dict[str, Any]] = {}
    for one in runs:
        key = one["method"], one["rate_3x3"]
        if key not in best or one["held_out_accuracy"] > best[key]["held_out_accuracy"]:
            best[key] = one
    return list(best.values())


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = ["| 3x3 layers | method | rate of SGD | test | change |", "|---|---|---|---|---|"]
    for one in document["chosen"]:
        change = one["change"]
        lines.append(
            f"| {one['rate_3x3']:g}x | {one['method']} | {one['lr']:g} | {100 * one['accuracy']:.2f}% "
            f"| {change['points']:+.2f} +- {change['standard_error']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str, document: dict[str, Any]) -> str:
    """Put the table between the markers of docs/accuracy.md, and below it what was run."""
    images = document["chosen"][0]["train_images"]
    run = f"{document['network']}, {document['patterns']}, {document['epochs']} epochs of {images:,} images"
    run += " (shortened). " if document["shortened"] else ". "
    return between(text, "methods", f"{table(document)}\n{machines([document], run)}\n")


def main() -> None:
    """Run all, print a table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, help="train on so many images (shortened); default all 45,000")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[2.25, 4.0], help="compression of 3x3 layers"
    )
    parser.add_argument(
        "--lrs", type=float, nargs="+", default=[0.02, 0.05], help="rates of SGD to choose from"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--patterns", default="scp8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/accuracy.md")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(page(PAGE.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8"))), "utf-8")
        return

    runs = [
        run(method, rate, lr, options)
        for rate in options.rates
        for method in options.methods
        for lr in options.lrs
    ]
    chosen = choose(runs)
    document = {
        "machine": machine.record(("numpy", "torch"), threads=options.threads),
        "network": NETWORK,
        "patterns": options.patterns,
        "epochs": options.epochs,
        "shortened": options.images is not None,
        "chosen": chosen,
        "candidates": [
            {key: one[key] for key in ("method", "rate_3x3", "lr", "held_out_accuracy", "seconds")}
            for one in runs
        ],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for one in chosen:
        change = one["change"]
        print(
            f"{one['method']:9} {one['rate_3x3']:5g}x  lr {one['lr']:g}  held out {one['held_out_accuracy']:.2%}  "
            f"test {one['accuracy']:.2%}  ({change['points']:+.2f} +- {change['standard_error']:.2f} points)"
        )


if __name__ == "__main__":
    main()
