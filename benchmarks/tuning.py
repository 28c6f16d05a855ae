"""How good the untuned default is: zoo networks as modelled and as tuned, timed in turns.

python benchmarks/tuning.py [--seconds 60]      writes results/tuning.json

Every network is tuned into a file of its own, so that nothing carries over; a ratio of 1.00 says that tuning found
nothing worth keeping.
"""

import argparse
import json
import tempfile
from pathlib import Path

from pconv import zoo
from pconv.bench import machine, timing
from pconv.graph import load
from pconv.graph.prune import prune_model
from pconv.recipe import Recipe
from pconv.tune import tune

RESULTS = Path(__file__).parent / "results" / "tuning.json"
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
    """Tune every network and write what it gained."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each network")
    seconds = parser.parse_args().seconds
    results = []
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
    document = {
        "machine": machine.record(("numpy",), compiler=machine.compiler()),
        "settings": {"seconds": seconds, "threads": 1},
        "results": results,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
