"""The whole run as one function: data and a network in, a trained and pruned network in a folder out."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pconv import zoo
from pconv.bench import machine
from pconv.errors import ModelError, PconvError
from pconv.files import check_writable, make_folder
from pconv.pruning import Distillation, Pruner
from pconv.recipe import Recipe
from pconv.sparsity import SparsityMap
from pconv.training import checkpoint, distributed, log, result, start
from pconv.training.data import Parts, open_data
from pconv.training.evaluate import paired_change, right_answers
from pconv.training.log import Event, OnEvent
from pconv.training.loop import Loop, epoch_steps
from pconv.training.settings import Settings

PEAK_LR = {"sgd": 0.1, "adam": 3e-3}
TUNING_LR = {"sgd": 0.03, "adam": 3e-3}
DIGITS = 16  # of a hash: enough to tell files apart, few enough to read


def default_settings(*, tuning: bool, distill: bool, **given: Any) -> Settings:
    """Fill what was not given: weights at hand are tuned at a lower rate, a teacher's labels are soft already.

    Raises: PconvError for a value that is not allowed.
    """
    settings = Settings(**given)
    if "lr" not in given:
        rates = TUNING_LR if tuning else PEAK_LR
        settings = replace(settings, lr=rates[settings.optimiser])
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
    teacher: start.Teacher | None = None,
    settings: Settings | None = None,
    image_size: int | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    on_event: OnEvent = lambda event: None,
) -> result.Result | None:
    """Train a network of the zoo on images, pruned by `recipe` where there is one, and write it to `folder`.

    `weights` are those to begin from; with `distill` their network teaches, or else `teacher` does. `method` is one of
    `pconv.prune`'s, or "post": post-training pruning first, then tuning around its zeros; "keep" takes no recipe. The
    best epoch is chosen on held-out images, and the test images are used once, at the end. `resume` goes on from the
    folder's checkpoint.

    Returns: what was measured; None on all ranks but the first.
    Raises: PconvError, ModelError, RecipeError for data, networks, recipes and settings that do not fit, and
    when the loss is no longer finite.
    """
    begin = time.perf_counter()
    folder = Path(folder)
    settings = settings or default_settings(
        tuning=weights is not None, distill=distill or teacher is not None
    )
    task = _Task(model, weights, recipe, method, distill, teacher)
    if image_size is not None and image_size < 1:
        raise PconvError(f"--image-size {image_size}: is not possible; allowed: at least 1.")
    with _borrowing_torch(settings), distributed.join(settings.device) as ranks:
        _require_no_run(folder, resume)
        begins = not (folder / checkpoint.FILE).exists()
        if begins:
            result.check_sources(folder, weights, None if teacher is None else teacher.weights)
        on_event(Event(f"opening {data}"))
        parts = open_data(data, image_size or zoo.input_shape(model)[2], settings.images)
        _require_size(image_size, parts)
        _require_batch(settings, parts, ranks)
        make_folder(folder, result.ADVICE)
        if ranks.first:
            _require_place(folder)
        ranks.barrier()  # from here on nobody looks for an earlier run
        about = task.about(parts)
        masks = _saved_masks(folder, checkpoint.describe(settings, about)) if resume else None
        actors = _bring_in(task, parts, settings, ranks, masks, on_event)
        loop = Loop(
            actors.module, parts, settings, start.make_objective(actors.teacher, settings),
            folder=folder, pruner=actors.pruner, ready=actors.ready, about=about, ranks=ranks,
            tensorboard=tensorboard, begin=begin, on_event=on_event,
        )  # fmt: skip
        if resume and loop.resume():
            on_event(Event(f"resumed at step {loop.step} of {loop.total}", milestone=True))
        if ranks.first and begins:
            result.clear(folder, recipe)
        best = loop.run()
        sparsity = actors.finish()
        made = None
        if ranks.first:
            on_event(Event("testing"))
            tested = actors.test(parts, loop.device, settings.workers)
            on_event(Event("writing"))
            result.write_network(actors.module, parts.shape, sparsity, recipe, folder)
            made = result.Result(
                folder=folder,
                model=model,
                data=parts.name,
                method=None if sparsity is None else method,
                settings=settings.defining() | task.origin(),
                train_images=len(parts.train),
                test_images=len(parts.test),
                shortened=parts.shortened,
                epoch=best["epoch"],
                held_out_accuracy=best["held_out"],
                **tested,
                compression_rate=None if sparsity is None else sparsity.statistics()["compression_rate"],
                seconds=loop.seconds(),
                machine=machine.record(
                    ("numpy", "torch"), device=str(loop.device), threads=torch.get_num_threads()
                ),
            )
            result.write_result(made)
        ranks.barrier()
        return made


@contextmanager
def _borrowing_torch(settings: Settings) -> Iterator[None]:
    """Set torch's threads, and in the end put back the caller's, and the random numbers that steps seed."""
    before = torch.get_num_threads()
    devices = range(0 if settings.device == "cpu" else torch.cuda.device_count())
    try:
        with torch.random.fork_rng(devices):
            if settings.threads is not None:
                torch.set_num_threads(settings.threads)
            yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Task:
    """Say what is to be done.

    Raises: PconvError where its parts contradict each other.
    """

    model: str
    weights: str | Path | None
    recipe: Recipe | None
    method: str
    distill: bool
    teacher: start.Teacher | None

    def __post_init__(self) -> None:
        if self.distill and self.weights is None:
            raise PconvError("--distill: the teacher is the network to begin from; name it with --weights.")
        if self.method == start.KEEP and self.recipe is not None:
            raise PconvError(
                "--method keep: the zeros of --weights are the recipe; leave --recipe and the pruning options out."
            )
        if self.distill and self.teacher is not None:
            raise PconvError("--distill: --teacher names another one; allowed is one of the two.")

    @property
    def prunes(self) -> bool:
        """Say whether there will be zeros that hold."""
        return self.recipe is not None or self.method == start.KEEP

    def origin(self) -> dict[str, Any]:
        """Give where the weights come from, and what they learn from besides labels."""
        taught = self.teacher and {"model": self.teacher.model, "weights": str(self.teacher.weights)}
        weights = None if self.weights is None else str(self.weights)
        return {"weights": weights, "distill": self.distill, "teacher": taught}

    def about(self, parts: Parts) -> dict[str, Any]:
        """Give what a run may only be resumed with, besides its settings.

        Raises: ModelError when a file of weights cannot be read.
        """
        return {
            "data": parts.name,
            "train_images": len(parts.train),
            "labels_sha256": hashlib.sha256(parts.train.labels.tobytes()).hexdigest()[:DIGITS],
            "shape": list(parts.shape),
            "model": self.model,
            "recipe": self.recipe.dumps() if self.recipe else None,
            "method": self.method if self.prunes else None,
            "distill": self.distill,
            "teacher": self.teacher and self.teacher.model,
            "weights_sha256": _hash(self.model, self.weights),  # not where it is: paths have many spellings
            "teacher_sha256": self.teacher and _hash(self.teacher.model, self.teacher.weights),
        }


def _hash(model: str, weights: str | Path | None) -> str | None:
    if weights is None:
        return None
    try:
        with Path(weights).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise ModelError(f"{model}: cannot read weights {weights}: {error.strerror or error}.") from error


@dataclass(frozen=True)
class _Actors:
    """Who takes part: the network in training, as it was before, what prunes it, and what teaches it."""

    module: nn.Module
    dense: nn.Module | None
    pruner: Pruner | None
    teacher: Distillation | None

    def ready(self) -> bool:
        """Say whether the network as it is may be the result."""
        return self.pruner is None or start.is_ready(self.pruner)

    def finish(self) -> SparsityMap | None:
        """Leave a plain network; return the map of its zeros where it was pruned."""
        if self.teacher is not None:
            self.teacher.release()
        return None if self.pruner is None else self.pruner.finish()

    def test(self, parts: Parts, device: torch.device, workers: int) -> dict[str, Any]:
        """Use the test images: for the network, and for the one before it."""
        right = right_answers(self.module, parts.test, device, workers=workers)
        if self.dense is None:
            return {"accuracy": float(right.mean()), "accuracy_dense": None, "change": None}
        before = right_answers(self.dense, parts.test, device, workers=workers)
        return {
            "accuracy": float(right.mean()),
            "accuracy_dense": float(before.mean()),
            "change": paired_change(before, right),
        }


def _bring_in(
    task: _Task,
    parts: Parts,
    settings: Settings,
    ranks: distributed.Ranks,
    masks: Mapping[str, Tensor] | None,
    on_event: OnEvent,
) -> _Actors:
    module, zeros = start.make_network(task.model, parts, task.weights, settings.seed)
    device = distributed.choose_device(settings.device, ranks)
    dense = copy.deepcopy(module).to(device) if task.weights is not None else None
    module = distributed.share_batch_norms(module, device, ranks)
    pruner = None
    if task.prunes:
        on_event(Event("choosing what to prune"))
        steps = settings.epochs * epoch_steps(len(parts.train), settings.batch)
        pruner = start.make_pruner(module, task.recipe, task.method, steps, parts, zeros, masks)
    teacher = None
    if task.teacher is not None:
        teacher = start.load_teacher(task.teacher, parts, device, settings.label_smoothing)
    elif dense is not None and task.distill:
        teacher = start.make_teacher(dense, module, settings.label_smoothing)
    return _Actors(module, dense, pruner, teacher)


def _saved_masks(folder: Path, about: str) -> Mapping[str, Tensor] | None:
    state = checkpoint.find(folder, about)
    with checkpoint.understanding(folder / checkpoint.FILE):
        return state["pruner"]["masks"] if state and state["pruner"] else None


def _require_no_run(folder: Path, resume: bool) -> None:
    if not resume and (folder / checkpoint.FILE).exists():
        raise PconvError(
            f"{folder}: holds an earlier run; go on with --resume, or name another folder with -o."
        )


def _require_place(folder: Path) -> None:
    """Check that all that a run writes can be written, before it takes hours."""
    for name in (checkpoint.FILE, log.FILE, *result.FILES):
        check_writable(folder / name, result.ADVICE)


def _require_size(image_size: int | None, parts: Parts) -> None:
    if image_size not in (None, parts.shape[2]):
        raise PconvError(
            f"--image-size {image_size}: the images of {parts.name} are {parts.shape[2]}x{parts.shape[3]} and stay so; "
            "allowed for pictures from files. Leave it out."
        )


def _require_batch(settings: Settings, parts: Parts, ranks: distributed.Ranks) -> None:
    size = min(settings.batch, len(parts.train))
    if size % ranks.world:
        raise PconvError(
            f"--batch {size}: does not divide among {ranks.world} processes; allowed are multiples of {ranks.world}."
        )
