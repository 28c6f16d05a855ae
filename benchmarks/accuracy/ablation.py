"""Measure what a library, sharing and a rate cost: ResNet-20 on CIFAR-10, refitted without training, some tuned.

    python benchmarks/accuracy/ablation.py                 all that the file of results does not hold yet: an hour
    python benchmarks/accuracy/ablation.py scp8-4-g1       one of them again
    python benchmarks/accuracy/ablation.py --page          only write docs/accuracy.md's tables

A grid of libraries x groups x rates is refitted in seconds each (choice and least squares, no gradient steps). A few
are also tuned for a short while, and a few have rates per layer, by sensitivity ("spread", as in finetune.py). Nothing
is chosen by these figures: every cell is one run with the settings of the other tables, scored once on the 10,000 test
images. Corners of the grid, and what has rates per layer, are compiled and scored as well.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy comes: seconds are of one core

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import accuracy_page
import finetune
import numpy as np
import torch
import trained
from post_training import WEIGHTS, Case, Classification, Sizes
from torch import nn

from pconv import zoo
from pconv.bench import machine
from pconv.demo.cifar import cifar_folder
from pconv.demo.data import find_folder
from pconv.pruning import post_train, spread_rates
from pconv.training import default_settings, train
from pconv.training.evaluate import paired_change

RESULTS = accuracy_page.RESULTS / "accuracy_ablation.json"
LIBRARIES = ("elog4", "gauss4", "natural-4", "scp8", "natural-8", "natural-12", "centre3")
GROUPS = (1, 4, 8, 16)
RATES = (2.25, 4.0, 8.0)
TUNED = ("scp8", "centre3"), (1, 4), (4.0,)
TUNED_EPOCHS, TUNED_IMAGES = 1, 10_000
REFIT_IMAGES = 512
COMPILED = ("scp8", "centre3"), (1, 16)
SPREAD_LIBRARIES, SPREAD_RATE = ("centre3", "any4"), 4.0
NETWORK = "resnet20"


def grid() -> list[tuple[str, float, int, bool, str]]:
    """List library, rate, group, whether the network is tuned, and rates per layer; what most ask for comes first."""
    refitted = [
        (library, rate, group, False, "") for rate in RATES for group in GROUPS for library in LIBRARIES
    ]
    refitted.sort(key=lambda cell: cell[2] > 1 and cell[0] not in TUNED[0])
    libraries, groups, rates = TUNED
    tuned = [(library, rate, group, True, "") for rate in rates for group in groups for library in libraries]
    spread = [
        (library, SPREAD_RATE, 1, False, each)
        for library in SPREAD_LIBRARIES
        for each in ("", *finetune.WITHIN)
    ]
    return refitted + tuned + [cell for cell in spread if cell not in refitted]


def name(library: str, rate: float, group: int, tuned: bool, rates: str) -> str:
    """Give the name on the command line."""
    return f"{library}-{rate:g}-g{group}{'-tuned' if tuned else ''}{rates}"


def measure(
    library: str, rate: float, group: int, tuned: bool, rates: str, task: Classification, dense: Any
) -> dict[str, Any]:
    """Prune ResNet-20, and score it against the `dense` network's right answers on the same images."""
    case = Case(NETWORK, library, rate, group)
    found = _tune(case, task) if tuned else _refit(case, rates, task, dense)
    return {
        "machine": machine.record(("numpy", "torch"), threads=1),
        "model": WEIGHTS[NETWORK][0],
        # model, method, patterns: a curve of `pconv report`
        "method": f"{'tuned' if tuned else 'refit'}, g={group}{rates}",
        "patterns": library,
        "rate": rate,
        "group": group,
        "tuned": tuned,
        "rates": rates,
        **found,
    }


def dense_network() -> nn.Module:
    """Give ResNet-20 with its published weights."""
    network, weights = WEIGHTS[NETWORK]
    return zoo.create(network, weights=find_folder(weights.parts[0]) / weights)


def _refit(case: Case, rates: str, task: Classification, dense: Any) -> dict[str, Any]:
    module = dense_network()
    images = torch.from_numpy(task.data.train.normalised(slice(0, REFIT_IMAGES)))
    began = time.process_time()
    recipe = task.recipe(case)
    if rates:
        recipe = spread_rates(recipe, finetune.curves(NETWORK, recipe.dumps()), finetune.WITHIN[rates])
    sparsity = post_train(module, images, recipe)
    spent = time.process_time() - began
    right = task.right(module)
    scored = {
        "compression_rate": float(sparsity.statistics()["compression_rate"]),
        "seconds": spent,
        "accuracy": float(right.mean()),
        "change": asdict(paired_change(dense, right)),
    }
    libraries, groups = COMPILED
    if (case.patterns in libraries and case.group in groups) or rates:
        with TemporaryDirectory() as folder:
            compiled = task.right_compiled(sizes := Sizes(module, sparsity, Path(folder)))
        trained.require_alike(int(compiled.sum()), int(right.sum()))
        scored["accuracy_compiled"] = float(compiled.mean())
        scored |= trained.rates_3x3(sparsity, sizes.engine((1, 3, 32, 32)))
    return scored


def _tune(case: Case, task: Classification) -> dict[str, Any]:
    """Train for a short while around the zeros of the refit, the dense network as the teacher."""
    network, weights = WEIGHTS[NETWORK]
    with TemporaryDirectory() as folder:
        result = train(
            cifar_folder(),
            network,
            Path(folder) / "run",
            weights=find_folder(weights.parts[0]) / weights,
            recipe=task.recipe(case),
            method="post",
            distill=True,
            settings=default_settings(
                tuning=True, distill=True, choose="last", epochs=TUNED_EPOCHS, images=TUNED_IMAGES, threads=1,
                optimiser="adam", weight_decay=1e-4, ema=0.99,
            ),
        )  # fmt: skip
        assert result is not None and result.change is not None
        scored = trained.compiled(result, cifar_folder())
    return {
        "compression_rate": result.compression_rate,
        "seconds": result.seconds,
        "accuracy": result.accuracy,
        "change": asdict(result.change),
        "accuracy_compiled": scored["accuracy_compiled"],
        "epochs": TUNED_EPOCHS,
        "images": result.train_images,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write results as a table of docs/accuracy.md: a row for each rate and group, a column for each library."""
    found = {(row["rate"], row["group"], row["patterns"]): 100 * row["accuracy"] for row in rows}
    libraries = [library for library in LIBRARIES if any(key[2] == library for key in found)]
    lines = [f"| 3x3 layers | g | {' | '.join(libraries)} |", "|---" * (2 + len(libraries)) + "|"]
    for rate, group in sorted({key[:2] for key in found}):
        cells = (found.get((rate, group, library)) for library in libraries)
        lines.append(
            f"| {rate:g}x | {group} | {' | '.join('-' if one is None else f'{one:.2f}' for one in cells)} |"
        )
    return "\n".join(lines) + "\n"


def spread_table(rows: list[dict[str, Any]]) -> str:
    """Write what rates per layer bring as a table of docs/accuracy.md."""
    lines = ["| library | rates | weights | multiply-adds | top-1 |", "|---|---|---|---|---|"]
    for row in rows:
        weights, macs = (row[key] if row["rates"] else row["rate"] for key in ("rate_weights", "rate_macs"))
        lines.append(
            f"| {row['patterns']} | {finetune.RATES[row['rates']]} | {weights:.2f}x | {macs:.2f}x "
            f"| {100 * row['accuracy']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def page(text: str, document: dict[str, Any]) -> str:
    """Put the tables between the markers of docs/accuracy.md, and below them where their rows were measured."""
    every = document["results"]
    spread = [
        row
        for row in every
        if (row["rate"], row["group"], row["tuned"]) == (SPREAD_RATE, 1, False)
        and row["patterns"] in SPREAD_LIBRARIES
    ]
    one_rate = [row for row in every if not row["rates"] and row["patterns"] in LIBRARIES]
    for mark, rows, write in (
        ("ablation", [row for row in one_rate if not row["tuned"]], table),
        ("ablation-tuned", [row for row in one_rate if row["tuned"]], table),
        ("ablation-spread", spread, spread_table),
    ):
        errors = [row["change"]["standard_error"] for row in rows]
        span = " to ".join(dict.fromkeys(f"{error:.2f}" for error in (min(errors), max(errors))))
        dense = f"Dense: {100 * document['dense']:.2f}; the change from it has standard errors of {span}. "
        said = accuracy_page.machines(rows, dense)
        text = accuracy_page.between(text, mark, f"{write(rows)}\n{said}")
    return text


def main() -> None:
    """Measure what is missing or was asked for; the file of results is replaced after each cell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help="such as scp8-4-g1 (refitted) or scp8-4-g1-tuned")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/accuracy.md")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.page:
        accuracy_page.write(page, options.output)
        return
    cells = {name(*cell): cell for cell in grid()}
    for one in options.cases:
        if one not in cells:
            parser.error(f"{one}: no such case; allowed are LIBRARY-RATE-gN of the grid, some with -tuned")
    torch.set_num_threads(1)
    task = Classification()
    done = {row["case"] for row in accuracy_page.read(options.output)["results"]}
    dense = task.right(dense_network())
    for one in options.cases or [one for one in cells if one not in done]:
        row = {"case": one, **measure(*cells[one], task, dense)}
        accuracy_page.add(options.output, row, cells, network=NETWORK, dense=float(np.mean(dense)))
        print(f"{one}: {row['accuracy']:.2%}, {row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
