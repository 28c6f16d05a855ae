"""Write into README.md what accuracy pruning keeps, from benchmarks/results/accuracy_*.json.

python benchmarks/readme_accuracy.py
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pages

PAGE, MARK = pages.README, "accuracy"
NETWORKS = {
    "resnet20": ("ResNet-20, CIFAR-10", "{:.2f}%"),
    "resnet56": ("ResNet-56, CIFAR-10", "{:.2f}%"),
    "vgg16_cifar": ("VGG-16, CIFAR-10, trained here", "{:.2f}%"),
    "dncnn": ("DnCNN, Set12 with noise of sigma 25", "{:.2f} dB"),
}
HEADINGS = ("network", "3x3 layers", "dense", "pruned without labels", "and fine-tuned")
MACS_ALONE = "-spread-macs"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One network that was pruned; `training` says how it was fine-tuned, and is empty where it was not."""

    network: str
    rate: float
    dense: float
    pruned: float
    training: str = ""


def body() -> str:
    """Give what the stored results say."""
    return render(
        [
            *_without_training(_read("post_training")),
            *_tuned(_read("finetune")),
            *_from_scratch(_read("from_scratch")),
            *_denoised(_read("denoising")),
        ]
    )


def render(rows: Iterable[Row]) -> str:
    """Give a table of the best row of each network and rate, without training and with it."""
    best: dict[tuple[str, float], dict[bool, Row]] = {}
    for row in rows:
        kinds = best.setdefault((row.network, row.rate), {})
        tuned = bool(row.training)
        if tuned not in kinds or row.pruned > kinds[tuned].pruned:
            kinds[tuned] = row
    order = list(NETWORKS)
    lines = []
    for network, rate in sorted(best, key=lambda key: (order.index(key[0]), key[1])):
        title, number = NETWORKS[network]
        kinds = best[network, rate]
        dense = next(iter(kinds.values())).dense
        cells = (_cell(kinds[tuned], number) if tuned in kinds else "-" for tuned in (False, True))
        lines.append([title, f"{rate:g}x", number.format(dense), *cells])
    return pages.table(HEADINGS, lines)


def _cell(row: Row, number: str) -> str:
    pruned = number.format(row.pruned)
    return f"{pruned} ({row.training})" if row.training else pruned


def _read(name: str) -> list[Record]:
    text = (pages.RESULTS / f"accuracy_{name}.json").read_text("utf-8")
    rows: list[Record] = json.loads(text)["results"]
    return rows


def _without_training(rows: Iterable[Record]) -> Iterator[Row]:
    return (
        Row(row["network"], row["rate"], row["dense"], row["pruned"]) for row in rows if row["group"] == 1
    )


def _tuned(rows: Iterable[Record]) -> Iterator[Row]:
    """Read rows of finetune.py of all images, whose rate is that of the weights as well as of the multiply-adds."""
    for row in rows:
        if not row["shortened"] and row["rates"] != MACS_ALONE:
            dense, pruned = 100 * row["accuracy_dense"], 100 * row["accuracy"]
            other = row["teacher"] != row["network"]
            taught = f", {NETWORKS[row['teacher']][0].split(',')[0]} teaches" if other else ""
            yield Row(row["network"], row["rate_3x3"], dense, pruned, f"{row['epochs']} epochs{taught}")


def _from_scratch(rows: Iterable[Record]) -> Iterator[Row]:
    """Read rows of from_scratch.py of all images: of networks that were trained here."""
    for row in rows:
        if row["change"] is not None and not row["shortened"]:
            dense, pruned = 100 * row["accuracy_dense"], 100 * row["accuracy"]
            yield Row(row["network"], row["rate_3x3"], dense, pruned, f"{row['epochs']} epochs")


def _denoised(rows: Iterable[Record]) -> Iterator[Row]:
    return (
        Row("dncnn", row["rate_3x3"], row["dense"], row["pruned"], f"{row['steps']:,} steps of 4 crops")
        for row in rows
    )


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    pages.write(PAGE, MARK, body())
