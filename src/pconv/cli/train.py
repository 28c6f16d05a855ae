"""`pconv train`: a network of the zoo on images, dense or pruned."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pconv.cli import console, options, train_options
from pconv.cli.train_options import Choice, Method, Optimiser, Precision
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.recipe import Recipe
    from pconv.training import Event, Result

EPILOG = """Examples:

pconv train cifar-10 --model resnet20_cifar -o dense

pconv train cifar-10 --model resnet20_cifar --weights dense/weights.pt --compression 4 --distill -o pruned

torchrun --nproc-per-node 8 -m pconv train imagenet --model resnet50 --weights resnet50.pth
--recipe recipes/resnet50_imagenet.toml --epochs 60 --batch 1024 --lr 0.1 --weight-decay 1e-4 --workers 8 -o pruned
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, train, EPILOG)


def train(
    data: train_options.Data,
    model: train_options.Network,
    output: train_options.Folder,
    weights: train_options.Weights = None,
    recipe: train_options.RecipeFile = None,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    layer: options.LayerRates = None,
    method: train_options.MethodOption = None,
    distill: train_options.Distill = False,
    teacher: train_options.TeacherFile = None,
    teacher_model: train_options.TeacherNetwork = None,
    epochs: train_options.Epochs = None,
    batch: train_options.Batch = None,
    optimiser: train_options.OptimiserOption = Optimiser.sgd,
    lr: train_options.LearningRate = None,
    warmup: train_options.Warmup = None,
    weight_decay: train_options.WeightDecay = None,
    label_smoothing: train_options.LabelSmoothing = None,
    ema: train_options.Averaging = None,
    seed: train_options.Seed = None,
    images: train_options.Images = None,
    choose: train_options.Choose = Choice.best,
    image_size: train_options.ImageSize = None,
    precision: train_options.PrecisionOption = Precision.auto,
    compile: train_options.Compile = False,
    device: train_options.Device = None,
    threads: train_options.Threads = None,
    workers: train_options.Workers = 0,
    save_every: train_options.SaveEvery = None,
    resume: train_options.Resume = False,
    tensorboard: train_options.Tensorboard = False,
    json: options.Json = False,
) -> None:
    """Train a network on images: dense without a recipe, pruned with one (or with the pruning options).

    Killed at any moment, the same command with --resume goes on with the same result. The best epoch is chosen
    on held-out images; the test images are used once, at the end. -o gets model.onnx with its sparsity map,
    weights.pt, weights.safetensors (packed), recipe.toml, result.json and log.jsonl. Several GPUs or machines:
    start it with torchrun.
    """
    from pconv.extras import require_torch

    require_torch("pconv train")
    from pconv.training import Teacher, default_settings
    from pconv.training import train as run

    if teacher_model and teacher is None:
        raise PconvError(
            "--teacher-model: it is of no use without --teacher; name the file of its weights there."
        )
    pruning = options.settings_with_rate(
        compression=compression, patterns=patterns, group=group, rate_1x1=rate_1x1, rate_fc=rate_fc,
        exclude=exclude, layer=layer,
    )  # fmt: skip
    settings = default_settings(
        tuning=weights is not None,
        distill=distill or teacher is not None,
        **_known(
            epochs=epochs, batch=batch, optimiser=optimiser.value, lr=lr, warmup=warmup, weight_decay=weight_decay,
            label_smoothing=label_smoothing, ema=ema, seed=seed, images=images, precision=precision.value,
            choose=choose.value, compile=compile, device=device, threads=threads, workers=workers,
            save_every=save_every,
        ),
    )  # fmt: skip
    quiet = json or os.environ.get("RANK", "0") != "0"
    with console.progress(f"opening {data}", quiet=quiet) as track:
        result = run(
            data, model, output, weights=weights, recipe=_recipe(recipe, pruning, method),
            method=(method or Method.gradual).value,
            distill=distill, teacher=None if teacher is None else Teacher(teacher_model or model, teacher),
            settings=settings, image_size=image_size, resume=resume, tensorboard=tensorboard,
            on_event=lambda event: _tell(event, track, quiet),
        )  # fmt: skip
    if result is None:
        return
    if json:
        console.print_json(result.as_json())
    else:
        _show(result)


def _tell(event: "Event", track: console.Tracker, quiet: bool) -> None:
    track(event.text, event.share)
    if event.milestone and not quiet:
        console.note(event.text)


def _recipe(file: Path | None, settings: dict[str, Any], method: Method | None) -> "Recipe | None":
    """Say how to prune; None for a dense network, and where the weights' own zeros are kept."""
    given = file is not None or bool(settings)
    if method not in (None, Method.keep) and not given:
        raise PconvError(
            f"--method {method}: nothing says how much to prune; add --compression RATE or --recipe."
        )
    return options.recipe(file, settings) if given else None


def _known(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _show(result: "Result") -> None:
    table = console.table("", "held-out", "test", "compression", title=f"{result.model} on {result.data}")
    if result.accuracy_dense is not None:
        table.add_row("before", "-", f"{100 * result.accuracy_dense:.2f}%", "-")
    held_out = "-" if result.held_out_accuracy is None else f"{100 * result.held_out_accuracy:.2f}%"
    table.add_row(
        "trained",
        held_out,
        f"{100 * result.accuracy:.2f}%",
        console.rate(result.compression_rate),
        style="bold",
    )
    console.stdout().print(table)
    if result.change is not None:
        console.note(
            f"change on test: {result.change.points:+.2f} +- {result.change.standard_error:.2f} points"
        )
    if result.shortened:
        console.note(f"a shortened run: {result.train_images:,} training images")
    console.stdout().print(
        f"wrote {result.folder}; next:  pconv compile {result.folder}/model.onnx -o {result.folder}/model.so",
        soft_wrap=True,
    )
