"""Measure what sharing costs: the share of the squared norm that ResNet-20's trained weights keep, by grouping.

    python benchmarks/accuracy/grouping.py          seconds; one shot by magnitude, no training
    python benchmarks/accuracy/grouping.py --page   only write docs/pruning.md's table

Neighbours share (as the paper's successors do), alike filters share (`permute`), or connectivity alone is shared.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import accuracy_page
import numpy as np

import pages
from pconv import Recipe, zoo
from pconv.bench import machine
from pconv.demo.data import find_folder
from pconv.masks import magnitude_masks
from pconv.recipe import LayerInfo, plan_layers

RESULTS = accuracy_page.RESULTS / "accuracy_grouping.json"
PAGE = pages.DOCS / "pruning.md"
NETWORK, WEIGHTS = "resnet20_cifar", Path("cifar10_resnets") / "resnet20.pth"
PATTERNS = "scp8"
WAYS: dict[str, dict[str, Any]] = {
    "neighbours": {},
    "alike": {"permute": True},
    "neighbours, connectivity only": {"sharing": "connectivity"},
    "alike, connectivity only": {"permute": True, "sharing": "connectivity"},
    "neighbours, blocks of 4 channels": {"channel_block": 4},
}


def kept(recipe: Recipe, weights: dict[str, Any]) -> float:
    """Give the share of the squared norm of all 3x3 layers but the first that pruning leaves."""
    rules = plan_layers(recipe, [LayerInfo(name, "conv", array.shape) for name, array in weights.items()])
    masks = magnitude_masks(weights, rules)
    total = sum(np.square(array, dtype=np.float64).sum() for array in weights.values())
    left = sum(np.square(array[masks[name]], dtype=np.float64).sum() for name, array in weights.items())
    return float(left / total)


def table(document: dict[str, Any]) -> str:
    """Write the results as the table of docs/pruning.md."""
    rows, ways = document["rows"], list(WAYS)
    lines = [f"| rate | g | {' | '.join(ways)} |", "|---" * (2 + len(ways)) + "|"]
    for rate, group in sorted({(row["rate"], row["group"]) for row in rows}):
        found = {row["way"]: row["kept"] for row in rows if (row["rate"], row["group"]) == (rate, group)}
        cells = (f"{100 * found[way]:.1f}%" if way in found else "-" for way in ways)
        lines.append(f"| {rate:g}x | {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure every way, and write the results and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/pruning.md")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.page:
        measure(options.output)
    pages.write(PAGE, "grouping", table(json.loads(options.output.read_text("utf-8"))))


def measure(output: Path) -> None:
    """Prune in every way, and write what the weights keep."""
    module = zoo.create(NETWORK, weights=find_folder("cifar10_resnets") / WEIGHTS)
    weights = {
        name.removesuffix(".weight"): tensor.numpy()
        for name, tensor in module.state_dict().items()
        if tensor.ndim == 4 and tensor.shape[1] > 4
    }
    rows = []
    for rate, group, (way, keys) in product((2.25, 4.0, 8.0), (1, 2, 4, 8, 16), WAYS.items()):
        if group == 1 and "channels" not in way and way != "neighbours":
            continue
        share = kept(Recipe(PATTERNS, rate, group=group, **keys), weights)
        rows.append({"rate": rate, "group": group, "way": way, "kept": share})
        print(f"{rate:5g}x  g={group:<3} {way:35} {share:.2%}", flush=True)
    document = {"machine": machine.record(("numpy",)), "network": NETWORK, "patterns": PATTERNS, "rows": rows}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
