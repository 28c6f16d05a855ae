"""The whole run as one function: data and a network in, a trained and pruned network in a folder out."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pconv import zoo
from pconv.bench import machine
from pconv.errors import PconvError
from pconv.files import make_folder
from pconv.recipe import Recipe
from pconv.training import checkpoint, distributed, result, start
from pconv.training.data import Parts, open_data
from pconv.training.evaluate import paired_change, right_answers
from pconv.training.log import Event, OnEvent
from pconv.training.loop import Loop, epoch_steps
from pconv.training.settings import Settings

TUNING_LR = {"sgd": 0.03, "adam": 3e-3}


def default_settings(*, tuning: bool, distill: bool, **given: Any) -> Settings:
    """Fill what was not given: weights at hand are tuned at a lower rate, a teacher's labels are soft already.

    Raises: PconvError for a value that is not allowed.
    """
    settings = Settings(**given)
    if tuning and "lr" not in given:
        settings = replace(settings, lr=TUNING_LR[settings.optimiser])
    if distill and "label_smoothing" not in given:
        settings = replace(settings, label_smoothing=0.0)
    return settings


def train(
    data: str | Path,
    model: str,
    folder: str | Path,
    *,
    weights: str | Path | None = None,
    recipe: Recipe | None = None,
    method: str = "gradual",
    distill: bool = False,
    settings: Settings | None = None,
    image_size: int | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_event: OnEvent = lambda event: None,
) -> result.Result | None:
    """Train a network of the zoo on images, pruned by `recipe` where there is one, and write it to `folder`.

    `weights` are those to begin from; with `distill` their network teaches. `method` is one of `pconv.prune`'s, or
    "post": post-training pruning first, then tuning around its zeros. The best epoch is chosen on held-out images,
    and the test images are used once, at the end. `resume` goes on from the folder's checkpoint.

    Returns: what was measured; None on all ranks but the first.
    Raises: PconvError, ModelError, RecipeError for data, networks, recipes and settings that do not fit, and
    when the loss is no longer finite.
    """
    begin = time.perf_counter()
    folder = Path(folder)
    settings = settings or default_settings(tuning=weights is not None, distill=distill)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with distributed.join(settings.device) as ranks:
        _require_no_run(folder, resume)
        on_event(Event(f"opening {data}"))
        parts = open_data(data, image_size or zoo.input_shape(model)[2], settings.images)
        _require_batch(settings, parts, ranks)
        make_folder(folder, result.ADVICE)
        ranks.barrier()  # from here on nobody looks for an earlier run
        module, zeros = start.make_network(model, len(parts.classes), weights, settings.seed)
        device = distributed.choose_device(settings.device, ranks)
        dense = copy.deepcopy(module).to(device) if weights is not None else None
        if distill and dense is None:
            raise PconvError("--distill: the teacher is the network to begin from; name it with --weights.")
        module = distributed.share_batch_norms(module, device, ranks)
        pruner = None
        if recipe is not None:
            on_event(Event("choosing what to prune"))
            steps = settings.epochs * epoch_steps(len(parts.train), settings.batch)
            pruner = start.make_pruner(module, recipe, method, steps, parts, zeros)
        teacher = None if dense is None or not distill else start.make_teacher(dense, module)
        objective = start.make_objective(teacher, settings)
        about = _about(parts, model, weights, recipe, method, distill)
        loop = Loop(
            module, parts, settings, objective,
            folder=folder, pruner=pruner, ready=lambda: pruner is None or start.is_ready(pruner), about=about,
            ranks=ranks, tensorboard=tensorboard, on_event=on_event,
        )  # fmt: skip
        if resume and loop.resume():
            on_event(Event(f"resumed at step {loop.step} of {loop.total}", milestone=True))
        best = loop.run()
        if teacher is not None:
            teacher.release()
        sparsity = pruner.finish() if pruner is not None else None
        if not ranks.first:
            ranks.barrier()
            return None
        on_event(Event("testing"))
        right = right_answers(module, parts.test, device, workers=settings.workers)
        before = None
        if dense is not None:
            before = right_answers(dense, parts.test, device, workers=settings.workers)
        on_event(Event("writing"))
        result.write_network(module, model, parts.shape, sparsity, recipe, folder)
        made = result.Result(
            folder=folder,
            model=model,
            data=parts.name,
            method=method if pruner is not None else None,
            settings=settings.defining() | {"weights": str(weights) if weights else None, "distill": distill},
            train_images=len(parts.train),
            test_images=len(parts.test),
            shortened=settings.images is not None,
            epoch=best["epoch"],
            held_out_accuracy=best["held_out"],
            accuracy=float(right.mean()),
            accuracy_dense=None if before is None else float(before.mean()),
            change=None if before is None else paired_change(before, right),
            compression_rate=None if sparsity is None else sparsity.statistics()["compression_rate"],
            seconds=time.perf_counter() - begin,
            machine=machine.record(("numpy", "torch"), device=str(device), threads=torch.get_num_threads()),
        )
        result.write_result(made)
        ranks.barrier()
        return made


def _require_no_run(folder: Path, resume: bool) -> None:
    if not resume and (folder / checkpoint.FILE).exists():
        raise PconvError(
            f"{folder}: holds an earlier run; go on with --resume, or name another folder with -o."
        )


def _require_batch(settings: Settings, parts: Parts, ranks: distributed.Ranks) -> None:
    size = min(settings.batch, len(parts.train))
    if size % ranks.world:
        raise PconvError(
            f"--batch {size}: does not divide among {ranks.world} processes; allowed are multiples of {ranks.world}."
        )


def _about(
    parts: Parts, model: str, weights: str | Path | None, recipe: Recipe | None, method: str, distill: bool
) -> dict[str, Any]:
    return {
        "data": parts.name,
        "train_images": len(parts.train),
        "shape": list(parts.shape),
        "model": model,
        "weights": None if weights is None else str(weights),
        "recipe": None if recipe is None else recipe.dumps(),
        "method": None if recipe is None else method,
        "distill": distill,
    }
