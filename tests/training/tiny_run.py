"""A run of seconds: random pictures, a network with everything that has a state. Also a program of its own.

torchrun tiny_run.py FOLDER [norms]  as one of several ranks; "norms": with batch norms, which are each rank's own
python tiny_run.py FOLDER [KILL]     KILL: "step:5" dies after that step, "replace:5" in the middle of a write
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce
from torch.nn import functional

from pconv import Recipe, files, prune
from pconv.demo.data import Images
from pconv.training import distributed
from pconv.training.data import Parts
from pconv.training.data.arrays import ArraySplit
from pconv.training.evaluate import accuracy
from pconv.training.log import Event
from pconv.training.loop import Loop
from pconv.training.settings import Settings

RECIPE = Recipe(compression_rate=4.5, rate_fc=1.0)
COUNT, EPOCHS = 96, 3


def split(count: int, seed: int) -> ArraySplit:
    """Draw pictures in four colours, which are their labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = draw.integers(0, 64, (count, 3, 8, 8))
    pixels[np.arange(count), labels % 3] += 128 * (labels[:, None, None] < 3)
    half = np.full(3, 0.5, np.float32)
    return ArraySplit(Images(pixels.astype(np.uint8), labels.astype(np.int64), half, half))


def parts(count: int = COUNT) -> Parts:
    return Parts("tiny", split(count, 0), split(32, 1), split(32, 2), tuple("abcd"), (1, 3, 8, 8))


def network(batch_norm: bool = True, dropout: float = 0.2) -> nn.Sequential:
    torch.manual_seed(0)
    norm = [nn.BatchNorm2d(8)] if batch_norm else []
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=not batch_norm), *norm, nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, labels, label_smoothing=0.1)


def loop(
    folder: Path | None,
    *,
    method: str = "gradual",
    module: nn.Module | None = None,
    ranks: distributed.Ranks = distributed.ALONE,
    on_event=lambda event: None,
    **given: object,
) -> Loop:
    """Make the run; the same every time."""
    torch.set_num_threads(1)
    module = network() if module is None else module
    data = parts()
    # In fp32, also where the CPU would take bf16: ranks add in another order, and rounding must not hide in that.
    fixed = {"batch": 16, "save_every": 4, "log_every": 1, "device": "cpu", "precision": "fp32"}
    settings = Settings(**{"epochs": EPOCHS} | fixed | given)
    pruner = prune(module, RECIPE, method=method, steps=settings.epochs * (COUNT // settings.batch))
    return Loop(
        module, data, settings, cross_entropy, folder=folder, pruner=pruner, about={"recipe": RECIPE.dumps()},
        ranks=ranks, on_event=on_event,
    )  # fmt: skip


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, kill: str) -> None:
    """Run or go on, and die where it is said."""
    what, _, when = kill.partition(":")
    steps = 0

    def on_event(event: Event) -> None:
        nonlocal steps
        steps += not event.milestone
        if what == "step" and steps == int(when):
            _die()

    if what == "replace":
        left = int(when)
        replace = os.replace

        def dying_replace(*arguments: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                _die()
            replace(*arguments)

        files.os.replace = dying_replace
    run = loop(folder, on_event=on_event)
    run.resume()
    run.run()


def same_on_all(tensor: Tensor, ranks: distributed.Ranks) -> bool:
    """Say whether a tensor holds the same values on every rank (asked by all of them)."""
    if ranks.world == 1:
        return True
    lowest, highest = tensor.detach().clone(), tensor.detach().clone()
    all_reduce(lowest, ReduceOp.MIN)
    all_reduce(highest, ReduceOp.MAX)
    return bool(torch.equal(lowest, highest))


def norms_main(folder: Path) -> None:
    """Be one of several ranks that have batch norms: leave what this one calls the best, and how good it is here."""
    with distributed.join("cpu") as ranks:
        run = loop(folder, ranks=ranks, method="magnitude", choose="last")
        best = run.run()
        here = accuracy(run.module, run.parts.held_out, run.device)
        torch.save({**best, "here": here}, folder / f"best-{ranks.rank}.pt")


def rank_main(folder: Path) -> None:
    """Be one of several ranks: leave the masks that this one ended with."""
    with distributed.join("cpu") as ranks:
        run = loop(folder, ranks=ranks, module=network(batch_norm=False, dropout=0.0), ema=0.0)
        run.run()
        assert run.pruner is not None
        torch.save(run.pruner.state_dict()["masks"], folder / f"masks-{ranks.rank}.pt")
        same = [same_on_all(p, ranks) for p in run.module.parameters()]
        torch.save(same, folder / f"same-{ranks.rank}.pt")


if __name__ == "__main__":
    if sys.argv[2:] == ["norms"]:
        norms_main(Path(sys.argv[1]))
    elif "WORLD_SIZE" in os.environ:
        rank_main(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
