"""Owns the options of `pconv train`: a name for each, so that the command itself stays short."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pconv.cli import options

TRAINING = "Training"
MACHINE = "Machine"


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


def _option(*names: str, metavar: str | None = None, panel: str = TRAINING, text: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder: CIFAR-10's files (pickles or binary), train/CLASS/ and val/CLASS/ with pictures, "
        "or a Hugging Face dataset saved on disk.",
    ),
]
Network = Annotated[
    str, typer.Option("--model", metavar="NAME", help="A network of the zoo, such as resnet56_cifar.")
]
Folder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Where the run and its results go.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A state dict, or what a run wrote, to begin from; without, training begins from scratch.",
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Prune by this TOML file.", rich_help_panel=options.PRUNING),
]
MethodOption = Annotated[
    Method | None,
    _option(
        text="gradual (the default) and admm prune while training; post and magnitude prune first, then tune: by some "
        "images, or by size alone; keep holds the zeros that --weights already have.",
        panel=options.PRUNING,
    ),
]
Distill = Annotated[
    bool, _option("--distill", text="Let the network of --weights teach.", panel=options.PRUNING)
]
TeacherFile = Annotated[
    Path | None,
    _option(
        "--teacher",
        metavar="FILE",
        text="Let the network of these weights teach instead, best a larger one: its outputs, not its blocks.",
        panel=options.PRUNING,
    ),
]
TeacherNetwork = Annotated[
    str | None,
    _option(
        "--teacher-model",
        metavar="NAME",
        text=r"The network that --teacher is of. \[default: that of --model]",
        panel=options.PRUNING,
    ),
]
Epochs = Annotated[int | None, _option(metavar="N", text=r"Passes over the images. \[default: 100]")]
Batch = Annotated[
    int | None, _option(metavar="N", text=r"Images per step, over all processes. \[default: 128]")
]
OptimiserOption = Annotated[
    Optimiser,
    _option(text="sgd with Nesterov momentum; adam for few epochs from --weights with --distill."),
]
LearningRate = Annotated[
    float | None,
    _option(
        metavar="RATE",
        text=r"Peak learning rate. \[default: 0.1, with --weights 0.03; for adam 0.003]",
    ),
]
Warmup = Annotated[
    float | None, _option(metavar="SHARE", text=r"Share of the steps that warm up. \[default: 0.05]")
]
WeightDecay = Annotated[float | None, _option(metavar="X", text=r"On weights only. \[default: 5e-4]")]
LabelSmoothing = Annotated[float | None, _option(metavar="X", text=r"\[default: 0.1; with a teacher 0]")]
Averaging = Annotated[
    float | None, _option(metavar="X", text=r"Decay of the averaged weights; 0 = none. \[default: 0.999]")
]
Seed = Annotated[int | None, _option(metavar="N", text=r"\[default: 0]")]
Images = Annotated[int | None, _option(metavar="N", text="Train on so many images only: a shortened run.")]
Choose = Annotated[
    Choice,
    _option(
        text="The epoch that is written: last, where --weights have seen the held-out images in their own "
        "training."
    ),
]
ImageSize = Annotated[
    int | None, _option(metavar="N", text="Size of pictures from files, in place of the network's own.")
]
PrecisionOption = Annotated[
    Precision, _option(text="auto is mixed precision where the device gains by it.", panel=MACHINE)
]
Compile = Annotated[
    bool,
    _option(
        "--compile",
        text="Let torch compile the loss first: up to a minute, then faster steps. On a CPU it needs g++.",
        panel=MACHINE,
    ),
]
Device = Annotated[
    str | None, _option(metavar="NAME", text=r"cpu, cuda. \[default: the GPU if any]", panel=MACHINE)
]
Threads = Annotated[
    int | None,
    _option(metavar="N", text="Threads of the CPU; results differ in the last bits.", panel=MACHINE),
]
Workers = Annotated[int, _option(metavar="N", text="Processes that open pictures.", panel=MACHINE)]
SaveEvery = Annotated[
    int | None,
    _option(metavar="STEPS", text=r"Steps between checkpoints. \[default: 500]", panel=MACHINE),
]
Resume = Annotated[
    bool, _option("--resume", text="Go on from the checkpoint in -o, if there is one.", panel=MACHINE)
]
Tensorboard = Annotated[
    bool, _option("--tensorboard", text="Write logs for TensorBoard as well.", panel=MACHINE)
]
