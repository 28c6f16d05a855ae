"""How good the untuned default is: zoo networks as modelled and as tuned, timed in turns.

python benchmarks/tuning.py [--seconds 60]      writes results/tuning.json and the table of docs/kernels.md
python benchmarks/tuning.py --page              only rewrites the table

Every network is tuned into a file of its own, so that nothing carries over; a ratio of 1.00 says that tuning found
nothing worth keeping.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pages
from pconv import units, zoo
from pconv.bench import machine, timing
from pconv.graph import load
from pconv.graph.prune import prune_model
from pconv.recipe import Recipe
from pconv.tune import tune

RESULTS = pages.RESULTS / "tuning.json"
PAGE, MARK = pages.DOCS / "kernels.md", "tuning"
NETWORKS = (
    ("vgg16", Recipe(compression_rate=8.0)),
    ("resnet18", Recipe(compression_rate=8.0, rate_1x1=4.0)),
    ("resnet18", Recipe(compression_rate=8.0, rate_1x1=4.0, group=4)),
    ("resnet50", Recipe(compression_rate=8.0, rate_1x1=4.0, group=4)),
    ("mobilenet_v2", Recipe(compression_rate=2.25, rate_1x1=4.0, group=4)),
    ("resnet18", None),
    ("resnet50", None),
)


def main() -> None:
    """Tune every network, write what it gained, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each network")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    if not asked.page:
        RESULTS.write_text(json.dumps(measure(asked.seconds), indent=1) + "\n", encoding="utf-8")
        print(f"wrote {RESULTS}")
    pages.write(PAGE, MARK, body())


def measure(seconds: float) -> dict[str, Any]:
    """Tune each network for so long."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, timing.alone():
        for name, recipe in NETWORKS:
            file = Path(folder) / f"{name}.onnx"
            zoo.to_onnx(name, file)
            model = load(file)
            if recipe is not None:
                model, _ = prune_model(model, recipe)
            found = tune(model, seconds=seconds, path=Path(folder) / f"{len(results)}.json")
            results.append(
                {
                    "model": name,
                    "compression": recipe.compression_rate if recipe else 1.0,
                    "group": recipe.group if recipe else 1,
                    "modelled_ms": round(found.modelled_ms, 4),
                    "tuned_ms": round(found.tuned_ms, 4),
                    "modelled_over_tuned": round(max(1.0, found.modelled_ms / found.tuned_ms), 3),
                    "rounds": found.rounds,
                    "kinds_of_layer": found.layers,
                    "improved": len(found.improved),
                }
            )
            print(json.dumps(results[-1]), flush=True)
    return {
        "machine": machine.record(("numpy",), compiler=machine.compiler()),
        "settings": {"seconds": seconds, "threads": 1},
        "results": results,
    }


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8")))


def render(document: dict[str, Any]) -> str:
    """Give the table: what the untuned default takes, and what tuning found."""
    rows = []
    for one in document["results"]:
        pruned = one["compression"] != 1
        rows.append(
            [
                one["model"],
                f"{one['compression']:g}x" if pruned else "dense",
                str(one["group"]) if pruned else "-",
                units.milliseconds(one["modelled_ms"]),
                f"{units.milliseconds(one['tuned_ms'])} ({one['modelled_over_tuned']:.2f}x)",
                str(one["rounds"]),
            ]
        )
    table = pages.table(["network", "compression", "groups of", "modelled", "tuned", "rounds"], rows)
    seconds = document["settings"]["seconds"]
    return f"{table}\n\n{document['machine']['cpu']}, 1 thread, {seconds:g} s of tuning for each network."


if __name__ == "__main__":
    main()
