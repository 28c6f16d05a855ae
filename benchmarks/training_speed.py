"""Measure how long a training step takes in each layout and precision, and so an epoch of CIFAR-10.

    python benchmarks/training_speed.py             ResNet-20, one thread, about a minute; other CPUs' results stay
    python benchmarks/training_speed.py --network resnet56_cifar --device cuda -o x.json
    python benchmarks/training_speed.py --page      only write docs/training.md's table

Forward, backward and the optimiser's step on one batch; the student alone, and with the dense network as teacher of
its outputs and blocks.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

import torch

import pages
from pconv import zoo
from pconv.bench import machine
from pconv.training import precision
from pconv.training.settings import Settings
from pconv.training.start import make_objective, make_teacher

RESULTS = pages.RESULTS / "training_speed.json"
PAGE, MARK = pages.DOCS / "training.md", "speed"
IMAGES = 45_000
VARIANTS = {
    ("contiguous", "fp32", False): "fp32, contiguous",
    ("channels_last", "fp32", False): "fp32",
    ("channels_last", "bf16", False): "bf16",
    ("channels_last", "fp32", True): "fp32, teacher",
    ("channels_last", "bf16", True): "bf16, teacher",
}


def main() -> None:
    """Measure all variants, and write the results."""
    arguments = _arguments()
    output = arguments.output
    document = json.loads(output.read_text("utf-8")) if output.exists() else {"runs": []}
    if arguments.page:
        pages.write(PAGE, MARK, body())
        return
    torch.set_num_threads(arguments.threads)
    settings = {
        "network": arguments.network,
        "batch": arguments.batch,
        "threads": arguments.threads,
        "device": arguments.device,
        "images": IMAGES,
    }
    run = {"machine": machine.record(("numpy", "torch")), "settings": settings, "results": []}
    for layout, kind, distill in VARIANTS:
        samples = measure(arguments, layout, kind, distill)
        seconds = median(samples) * (IMAGES // arguments.batch)
        print(f"{VARIANTS[layout, kind, distill]:16} {seconds:.0f} s an epoch", flush=True)
        run["results"].append(
            {
                "layout": layout,
                "precision": kind,
                "teacher": distill,
                "samples_s": samples,
                "epoch_s": seconds,
            }
        )
    others = [one for one in document["runs"] if _key(one) != _key(run)]
    output.write_text(json.dumps({"runs": [*others, run]}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {output}")


def body() -> str:
    """Give what the stored results say."""
    return render(json.loads(RESULTS.read_text("utf-8")))


def render(document: dict[str, Any]) -> str:
    """Give a table, a row for each CPU, and below it where it was measured."""
    rows = []
    for run in document["runs"]:
        found = {(row["layout"], row["precision"], row["teacher"]): row["epoch_s"] for row in run["results"]}
        cells = (f"{found[variant]:.0f}" if variant in found else "-" for variant in VARIANTS)
        rows.append([run["machine"]["cpu"], *cells])
    machines = "; ".join(machine.line(run["machine"]) for run in document["runs"])
    return f"{pages.table(['seconds an epoch', *VARIANTS.values()], rows)}\n\n{fill(f'{machines}.', 120)}"


def measure(arguments: argparse.Namespace, layout: str, kind: Any, distill: bool) -> list[float]:
    """Time single steps, the first one left out. Units: seconds."""
    device = torch.device(arguments.device)
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    module = zoo.create(arguments.network).train().to(device, memory_format=form)
    teacher = make_teacher(zoo.create(arguments.network).to(device), module) if distill else None
    objective = make_objective(teacher, Settings())
    optimiser = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, nesterov=True)
    dtype = precision.choose_type(kind, device)
    scaler = precision.scaler(device, dtype)
    x = torch.randn(arguments.batch, 3, 32, 32, device=device).to(memory_format=form)
    y = torch.randint(0, 10, (arguments.batch,), device=device)
    samples = []
    for _ in range(arguments.steps + 1):
        begin = time.perf_counter()
        with precision.autocast(device, dtype):
            loss = objective(module(x), y, x)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        loss.item()
        samples.append(time.perf_counter() - begin)
    return samples[1:]


def _key(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["machine"]["cpu"], *run["settings"].values()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet20_cifar")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/training.md")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
