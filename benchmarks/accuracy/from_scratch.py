"""Train large networks for CIFAR-10 from scratch, prune them at five rates, and compile and score them all.

    python benchmarks/accuracy/from_scratch.py                                   hours on a GPU, weeks on a CPU
    python benchmarks/accuracy/from_scratch.py --networks vgg16_cifar --rates 8  some of it; the others' results stay
    python benchmarks/accuracy/from_scratch.py --images 5120 --epochs 1 -o x.json   a shortened run, marked as such
    python benchmarks/accuracy/from_scratch.py --page                            only write docs/accuracy.md's table

A network is trained dense first. From there it is pruned gradually, and learns from the dense network's outputs beside
the labels. All 3x3 layers but the first are pruned at that rate; the first one keeps every kernel, its zeros are those
of the patterns; linear layers and 1x1 shortcuts stay dense. The epoch is chosen on the last 5,000 training images,
which nothing has learnt from; the test images are used once for each network, by torch and by the compiled network. A
killed script goes on where it stood when it is called again with the same --work.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import accuracy_page
import torch
import trained

import pconv
from pconv.demo.cifar import cifar_folder
from pconv.training import Result, Teacher, default_settings
from pconv.training.result import WEIGHTS

RESULTS = accuracy_page.RESULTS / "accuracy_from_scratch.json"
DENSE_GOALS = {"vgg16_cifar": 93.5, "resnet18_cifar": 94.5}
LINEAR = {"vgg16_cifar": "classifier", "resnet18_cifar": "fc"}
POINTS_BELOW = {2.25: 0.0, 4.0: 0.0, 8.0: 0.0, 12.0: 0.5, 16.0: 0.5}
"""The goal of each rate: how many points of top-1 may be lost against the dense network."""
DENSE_EPOCHS, EPOCHS = 200, 100
"""The full length, of the dense networks and of the pruned ones."""
PATTERNS = ("centre3", "scp8", "any4")
DENSE = "dense"
HEAD = (
    "| network | 3x3 layers | weights | MACs | library | epochs | dense | pruned | compiled | change | goal |"
)


def main() -> None:
    """Run one network after another, the dense one first; the file of results is replaced after each run."""
    options = _options()
    if options.page:
        accuracy_page.write(page, options.output)
        return
    # Scores are those of fp32, as the compiled network computes; training has its own precision.
    torch.backends.cudnn.allow_tf32 = False
    for network in options.networks:
        keep(measure_dense(network, options), options)
        for rate in options.rates:
            keep(measure_pruned(network, rate, options), options)


def keep(row: dict[str, Any], options: argparse.Namespace) -> None:
    """Put a row into the file of results, and say it."""
    accuracy_page.add(options.output, row, all_cases())
    print(f"{row['case']}: {row['accuracy']:.2%}, goal {goal(row)}; wrote {options.output}", flush=True)


def all_cases() -> list[str]:
    """Name all rows that there can be, in the order of the table."""
    return [
        name
        for network in DENSE_GOALS
        for name in (
            case(network),
            *(case(network, patterns, rate) for patterns in PATTERNS for rate in POINTS_BELOW),
        )
    ]


def case(network: str, patterns: str = DENSE, rate: float = 1.0) -> str:
    """Name a row of the results, and the folder of its run."""
    return f"{network}-{DENSE}" if rate == 1.0 else f"{network}-{patterns}-{rate:g}"


def measure_dense(network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train a network without zeros, from new weights."""
    name, data = case(network), cifar_folder()
    settings = default_settings(
        tuning=False, distill=False, epochs=options.dense_epochs, lr=options.dense_lr, **_settings(options)
    )
    done = trained.run(name, data, network, options.work / name, settings=settings)
    return _row(name, network, done, data) | {
        "rate_3x3": 1.0,
        "patterns": None,
        "epochs": options.dense_epochs,
        "settings": dict(done.settings),
    }


def measure_pruned(network: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    """Prune the network that `measure_dense` trained; its outputs teach."""
    name, data = case(network, options.patterns, rate), cifar_folder()
    dense = options.work / case(network) / WEIGHTS
    recipe = pconv.Recipe(options.patterns, rate, rate_1x1=1.0, exclude=(LINEAR[network],))
    given = _settings(options) | {"optimiser": options.optimiser, "lr": options.lr}
    done = trained.run(
        name,
        data,
        network,
        options.work / name,
        weights=dense,
        recipe=recipe,
        method="gradual",
        teacher=Teacher(network, dense),
        settings=default_settings(tuning=True, distill=True, epochs=options.epochs, **given),
    )
    return _row(name, network, done, data) | {
        "rate_3x3": rate,
        "patterns": options.patterns,
        "epochs": options.epochs,
        "settings": {**done.settings, "weights": case(network), "teacher": case(network)},
    }


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "images": options.images,
        "seed": options.seed,
        "threads": options.threads,
        "device": options.device,
        "compile": not options.eager,
    }


def _row(name: str, network: str, done: Result, data: Path) -> dict[str, Any]:
    return done.as_json() | {"case": name, "folder": name, "network": network, **trained.compiled(done, data)}


def goal(row: dict[str, Any]) -> str:
    """Say what a row of full length is held to: a top-1, or the dense network's."""
    if row["rate_3x3"] == 1.0:
        return f"{DENSE_GOALS[row['network']]}%"
    below = POINTS_BELOW[row["rate_3x3"]]
    return f"dense - {below:g}" if below else "dense"


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/accuracy.md."""
    lines = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    for row in document["results"]:
        short = _shortened(row)
        score, compiled = (f"{100 * row[key]:.2f}%" for key in ("accuracy", "accuracy_compiled"))
        if row["change"] is None:
            cells = ("-", "-", "-", "-", f"{row['epochs']}{short}", score, "-", compiled, "-")
        else:
            cells = (
                f"{row['rate_3x3']:g}x",
                f"{row['rate_weights']:.2f}x",
                f"{row['rate_macs']:.2f}x",
                row["patterns"],
                f"{row['epochs']}{short}",
                f"{100 * row['accuracy_dense']:.2f}%",
                score,
                compiled,
                f"{row['change']['points']:+.2f} +- {row['change']['standard_error']:.2f}",
            )
        lines.append(f"| {' | '.join((row['network'], *cells, goal(row)))} |")
    return "\n".join(lines) + "\n"


def _shortened(row: dict[str, Any]) -> str:
    """Say what a run lacks of the full length: images, or epochs alone."""
    if row["shortened"]:
        return f" of {row['train_images']:,} images (shortened)"
    full = DENSE_EPOCHS if row["rate_3x3"] == 1.0 else EPOCHS
    return " (shortened)" if row["epochs"] < full else ""


page = accuracy_page.tabled("from-scratch", table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=DENSE_GOALS, default=list(DENSE_GOALS))
    parser.add_argument(
        "--rates",
        nargs="*",
        type=float,
        choices=POINTS_BELOW,
        default=list(POINTS_BELOW),
        help="of 3x3 layers; none: the dense networks alone",
    )
    parser.add_argument("--patterns", choices=PATTERNS, default=PATTERNS[0])
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help=f"of the pruned networks (default: {EPOCHS})"
    )
    parser.add_argument("--dense-epochs", type=int, default=DENSE_EPOCHS, help=f"default: {DENSE_EPOCHS}")
    parser.add_argument("--dense-lr", type=float, default=0.1, help="peak rate of the dense networks")
    parser.add_argument("--images", type=int, help="train on so many images (shortened); default all 45,000")
    parser.add_argument("--optimiser", default="sgd", help="of the pruned networks: sgd (default) or adam")
    parser.add_argument("--lr", type=float, default=0.05, help="peak rate of the pruned networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", help="cpu or cuda; default: a GPU where there is one")
    parser.add_argument("--eager", action="store_true", help="do not compile the loss: on some CPUs faster")
    parser.add_argument("--work", type=Path, default=Path("from-scratch-runs"), help="checkpoints and models")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/accuracy.md")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
