"""`pconv train`: a network of the zoo on images, dense or pruned."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pconv.cli import console, options
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.training import Result

TRAINING = "Training"
MACHINE = "Machine"

EPILOG = """Examples:

pconv train cifar-10 --model resnet20_cifar -o dense

pconv train cifar-10 --model resnet20_cifar --weights dense/weights.pt --compression 4 --distill -o pruned

torchrun --nproc-per-node 8 -m pconv train imagenet --model resnet50 --weights resnet50.pth
--recipe recipes/resnet50_imagenet.toml --epochs 60 --batch 1024 --workers 8 -o pruned
"""


class Method(StrEnum):
    """How a network gets from dense to pruned."""

    gradual = "gradual"
    magnitude = "magnitude"
    admm = "admm"
    post = "post"
    keep = "keep"


class Choice(StrEnum):
    """Which epoch is the result."""

    best = "best"
    last = "last"


class Optimiser(StrEnum):
    """What turns gradients into steps."""

    sgd = "sgd"
    adam = "adam"


class Precision(StrEnum):
    """What convolutions compute in."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, train, EPILOG)


def _option(*names: str, metavar: str | None = None, panel: str = TRAINING, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder: CIFAR-10's files (pickles or binary), train/CLASS/ and val/CLASS/ with pictures, "
            "or a Hugging Face dataset saved on disk.",
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="A network of the zoo, such as resnet56_cifar.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the run and its results go.")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A state dict, or what a run wrote, to begin from; without, training begins from scratch.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prune by this TOML file.", rich_help_panel=options.PRUNING),
    ] = None,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    layer: options.LayerRates = None,
    method: Annotated[
        Method,
        _option(
            text="gradual and admm prune while training; post and magnitude prune first, then tune: by some "
            "images, or by size alone; keep holds the zeros that --weights already have.",
            panel=options.PRUNING,
        ),
    ] = Method.gradual,
    distill: Annotated[
        bool, _option("--distill", text="Let the network of --weights teach.", panel=options.PRUNING)
    ] = False,
    epochs: Annotated[
        int | None, _option(metavar="N", text=r"Passes over the images. \[default: 100]")
    ] = None,
    batch: Annotated[
        int | None, _option(metavar="N", text=r"Images per step, over all processes. \[default: 128]")
    ] = None,
    optimiser: Annotated[
        Optimiser,
        _option(text="sgd with Nesterov momentum; adam for few epochs from --weights with --distill."),
    ] = Optimiser.sgd,
    lr: Annotated[
        float | None,
        _option(
            metavar="RATE",
            text=r"Peak learning rate. \[default: 0.1; with --weights 0.03, or 0.003 for adam]",
        ),
    ] = None,
    warmup: Annotated[
        float | None, _option(metavar="SHARE", text=r"Share of the steps that warm up. \[default: 0.05]")
    ] = None,
    weight_decay: Annotated[
        float | None, _option(metavar="X", text=r"On weights only. \[default: 5e-4]")
    ] = None,
    label_smoothing: Annotated[
        float | None, _option(metavar="X", text=r"\[default: 0.1; 0 with --distill]")
    ] = None,
    ema: Annotated[
        float | None, _option(metavar="X", text=r"Decay of the averaged weights; 0 = none. \[default: 0.999]")
    ] = None,
    seed: Annotated[int | None, _option(metavar="N", text=r"\[default: 0]")] = None,
    images: Annotated[
        int | None, _option(metavar="N", text="Train on so many images only: a shortened run.")
    ] = None,
    choose: Annotated[
        Choice,
        _option(
            text="The epoch that is written: last, where --weights have seen the held-out images in their own "
            "training."
        ),
    ] = Choice.best,
    image_size: Annotated[
        int | None, _option(metavar="N", text="Size of pictures from files, in place of the network's own.")
    ] = None,
    precision: Annotated[
        Precision, _option(text="auto is mixed precision where the device gains by it.", panel=MACHINE)
    ] = Precision.auto,
    device: Annotated[
        str | None, _option(metavar="NAME", text=r"cpu, cuda. \[default: the GPU if any]", panel=MACHINE)
    ] = None,
    threads: Annotated[
        int | None,
        _option(metavar="N", text="Threads of the CPU; results differ in the last bits.", panel=MACHINE),
    ] = None,
    workers: Annotated[int, _option(metavar="N", text="Processes that open pictures.", panel=MACHINE)] = 0,
    save_every: Annotated[
        int | None,
        _option(metavar="STEPS", text=r"Steps between checkpoints. \[default: 500]", panel=MACHINE),
    ] = None,
    resume: Annotated[
        bool, _option("--resume", text="Go on from the checkpoint in -o, if there is one.", panel=MACHINE)
    ] = False,
    tensorboard: Annotated[
        bool, _option("--tensorboard", text="Write logs for TensorBoard as well.", panel=MACHINE)
    ] = False,
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
    from pconv.training import Event, default_settings
    from pconv.training import train as run

    given = options.recipe_settings(
        compression=compression, patterns=patterns, group=group, rate_1x1=rate_1x1, rate_fc=rate_fc,
        exclude=exclude, layer=layer,
    )  # fmt: skip
    settings = default_settings(
        tuning=weights is not None,
        distill=distill,
        **_known(
            epochs=epochs, batch=batch, optimiser=optimiser.value, lr=lr, warmup=warmup, weight_decay=weight_decay,
            label_smoothing=label_smoothing, ema=ema, seed=seed, images=images, precision=precision.value,
            choose=choose.value, device=device, threads=threads, workers=workers, save_every=save_every,
        ),
    )  # fmt: skip
    quiet = json or os.environ.get("RANK", "0") != "0"
    with console.progress(f"opening {data}", quiet=quiet) as track:

        def on_event(event: Event) -> None:
            track(event.text, event.share)
            if event.milestone and not quiet:
                console.note(event.text)

        result = run(
            data, model, output, weights=weights, recipe=_recipe(recipe, given, method), method=method.value,
            distill=distill, settings=settings, image_size=image_size, resume=resume, tensorboard=tensorboard,
            on_event=on_event,
        )  # fmt: skip
    if result is None:
        return
    if json:
        console.print_json(result.as_json())
    else:
        _show(result)


def _recipe(file: Path | None, given: dict[str, Any], method: Method) -> Any:
    from pconv.recipe import Recipe

    if file is not None and given:
        raise PconvError(f"--recipe {file}: it holds all settings; leave the other pruning options out.")
    if file is not None:
        return Recipe.load(file)
    return Recipe.from_dict(given) if given or method is Method.keep else None


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
        f"wrote {result.folder}; next:  pconv compile {result.folder}/model.onnx",
        markup=False,
        soft_wrap=True,
    )
