"""Fine-tune pruned ResNets for CIFAR-10 from real weights, with the dense network as the teacher.

    python benchmarks/accuracy/finetune.py                                   all cases, 20 epochs: many hours on a CPU
    python benchmarks/accuracy/finetune.py resnet20_cifar-4 --epochs 1 --images 10000    a shortened run, marked so

Each case starts from post-training pruning (or --method magnitude). The last epoch is the result: the published
weights have seen all training images, so that the held-out ones would favour the networks nearest to the start. The
test images are used once, by torch and by the compiled network. A killed script goes on
where it stood when it is called again with the same --work.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pconv
from pconv.bench import machine
from pconv.cli import console
from pconv.demo.data import cifar10, find_folder
from pconv.demo.train import accuracy
from pconv.training import Event, default_settings, train

RESULTS = Path(__file__).parents[1] / "results" / "accuracy_finetune.json"
EPOCHS = 20
NETWORKS = {"resnet20_cifar": "resnet20.pth", "resnet56_cifar": "resnet56.pth"}
CASES = {
    f"{network}-{rate:g}": (network, rate)
    for network, rate in (
        ("resnet20_cifar", 2.25),
        ("resnet20_cifar", 4.0),
        ("resnet56_cifar", 4.0),
        ("resnet56_cifar", 8.0),
    )
}
MAX_DIFFERENT_IMAGES = 2


def main() -> None:
    """Run the cases one after another; the file of results is replaced after each."""
    arguments = _arguments()
    document: dict[str, Any] = {"machine": machine.record(("numpy", "torch")), "results": []}
    for name in arguments.cases:
        print(f"{name}: training", flush=True)
        document["results"].append({"case": name, **run_case(name, arguments)})
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {arguments.output}", flush=True)


def run_case(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune one network at one rate; the linear layer stays dense, as in the other tables."""
    network, rate = CASES[name]
    data = find_folder("cifar10")
    folder = arguments.work / name
    settings = default_settings(
        tuning=True,
        distill=True,
        lr=arguments.lr,
        weight_decay=1e-4,
        choose="last",
        seed=arguments.seed,
        epochs=arguments.epochs,
        images=arguments.images,
        threads=arguments.threads,
    )
    recipe = pconv.Recipe(compression_rate=rate, patterns=arguments.patterns, exclude=("linear",))
    with console.progress(name) as track:

        def on_event(event: Event) -> None:
            track(f"{name}  {event.text}", event.share)
            if event.milestone:
                print(f"{name}: {event.text}", flush=True)

        done = train(
            data,
            network,
            folder,
            weights=data / "cifar10_resnets" / NETWORKS[network],
            recipe=recipe,
            method=arguments.method,
            distill=True,
            settings=settings,
            resume=True,
            on_event=on_event,
        )
    assert done is not None
    engine = pconv.compile(folder / "model.onnx", threads=1)
    compiled = accuracy(engine, cifar10(data).test)
    assert abs(compiled - done.accuracy) * done.test_images <= MAX_DIFFERENT_IMAGES, (compiled, done.accuracy)
    shortened = done.shortened or arguments.epochs < EPOCHS
    return done.as_json() | {
        "folder": folder.name,
        "rate_3x3": rate,
        "patterns": arguments.patterns,
        "accuracy_compiled": compiled,
        "shortened": shortened,
        "settings": {**done.settings, "weights": NETWORKS[network]},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"default: {' '.join(CASES)}")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, help="a shortened run on so many training images")
    parser.add_argument("--method", default="post", help="post (default), magnitude, gradual or admm")
    parser.add_argument("--patterns", default="scp8")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("finetune-runs"), help="checkpoints and models")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"{name}: no such case; allowed {', '.join(CASES)}")
    return arguments


if __name__ == "__main__":
    main()
