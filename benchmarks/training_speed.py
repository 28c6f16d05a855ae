"""Measure how long a training step takes in each layout and precision, and so an epoch of CIFAR-10.

    python benchmarks/training_speed.py             ResNet-20, one thread, two minutes; other CPUs' results stay
    python benchmarks/training_speed.py --network vgg16_cifar --threads 2   a row of another network
    python benchmarks/training_speed.py --network resnet56_cifar --device cuda -o x.json
    python benchmarks/training_speed.py --page      only write docs/training.md's table

Forward, backward and the optimiser's step on one batch; the student alone, and with the dense network as teacher of
its outputs and blocks, compiled by torch too.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

import torch
from torch import Tensor

import pages
from pconv import zoo
from pconv.bench import machine
from pconv.training import precision
from pconv.training.compiled import compiled
from pconv.training.settings import Settings
from pconv.training.small_images import small_images_as_products
from pconv.training.start import make_objective, make_teacher

RESULTS = pages.RESULTS / "training_speed.json"
PAGE, MARK = pages.DOCS / "training.md", "speed"
IMAGES = 45_000
CONVOLVED = "bf16, no products"
"""A precision of this table: small images are convolved one by one, as torch does it, where training takes products."""
VARIANTS = {  # layout, precision, teacher, compiled
    ("contiguous", "fp32", False, False): "fp32, contiguous",
    ("channels_last", "fp32", False, False): "fp32",
    ("channels_last", "bf16", False, False): "bf16",
    ("channels_last", CONVOLVED, False, False): CONVOLVED,
    ("channels_last", "fp32", True, False): "fp32, teacher",
    ("channels_last", "bf16", True, False): "bf16, teacher",
    ("channels_last", "fp32", True, True): "fp32, teacher, compiled",
    ("channels_last", "bf16", True, True): "bf16, teacher, compiled",
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
        "auto": _name(precision.choose_type("auto", torch.device(arguments.device))),
    }
    results: list[dict[str, Any]] = []
    run = {"machine": machine.record(("numpy", "torch")), "settings": settings, "results": results}
    for (layout, kind, distill, compile_it), label in VARIANTS.items():
        samples = measure(arguments, layout, kind, distill, compile_it)
        seconds = median(samples) * (IMAGES // arguments.batch)
        print(f"{label:24} {seconds:.0f} s an epoch", flush=True)
        results.append(
            {
                "layout": layout,
                "precision": kind,
                "teacher": distill,
                "compiled": compile_it,
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
    """Give a table, a row for each run, and below it where it was measured."""
    rows = []
    for run in document["runs"]:
        found = {
            (row["layout"], row["precision"], row["teacher"], row["compiled"]): row["epoch_s"]
            for row in run["results"]
        }
        cells = (f"{found[variant]:.0f}" if variant in found else "-" for variant in VARIANTS)
        rows.append([_label(run), *cells])
    machines = "; ".join(machine.line(run["machine"]) for run in document["runs"])
    return f"{pages.table(['seconds an epoch', *VARIANTS.values()], rows)}\n\n{fill(f'{machines}.', 120)}"


def measure(
    arguments: argparse.Namespace, layout: str, kind: Any, distill: bool, compile_it: bool
) -> list[float]:
    """Time single steps, the first one left out: torch compiles in it. Units: seconds."""
    device = torch.device(arguments.device)
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    module = zoo.create(arguments.network).train().to(device)
    module = module.to(memory_format=form)  # type: ignore[call-overload]
    teacher = make_teacher(zoo.create(arguments.network).to(device), module) if distill else None
    objective = make_objective(teacher, Settings())
    optimiser = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, nesterov=True)
    dtype = precision.choose_type("bf16" if kind == CONVOLVED else kind, device)
    scaler = precision.scaler(device, dtype)
    x = torch.randn(arguments.batch, 3, 32, 32, device=device).to(memory_format=form)
    y = torch.randint(0, 10, (arguments.batch,), device=device)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with precision.autocast(device, dtype):
            return objective(module(images).float(), labels, images)

    def with_products(images: Tensor, labels: Tensor) -> Tensor:
        with small_images_as_products(device, dtype):
            return loss_of(images, labels)

    step = compiled(loss_of) if compile_it else loss_of if kind == CONVOLVED else with_products
    samples = []
    for _ in range(arguments.steps + 1):
        begin = time.perf_counter()
        loss = step(x, y)
        optimiser.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()
        loss.item()
        samples.append(time.perf_counter() - begin)
    return samples[1:]


def _label(run: dict[str, Any]) -> str:
    settings = run["settings"]
    cores = "1 core" if settings["threads"] == 1 else f"{settings['threads']} cores"
    by_itself = f", {settings['auto']} by itself" if settings.get("auto") else ""
    return f"{settings['network']}, {cores} of {run['machine']['cpu']}{by_itself}"


def _name(dtype: torch.dtype | None) -> str:
    return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


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
