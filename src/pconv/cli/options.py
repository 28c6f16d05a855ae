"""Owns the options that several commands share, and what their texts mean."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.recipe import Recipe

PRUNING = "Pruning"
BUILD = "Compiler"
PICTURES = "Pictures"

ModelOrName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="An ONNX file, or a network of the zoo by name, such as resnet18."),
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The file to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.")]

Compression = Annotated[
    float | None,
    typer.Option(
        "--compression",
        metavar="RATE",
        help="Total / kept weights, such as 8: patterns give 2.25 of it, connectivity the rest.",
        rich_help_panel=PRUNING,
    ),
]
Patterns = Annotated[
    str | None,
    typer.Option(
        metavar="LIBRARY",
        help="The shapes that a 3x3 kernel may have: elog4, gauss4, scp8, natural-4 to natural-12, "
        r"centre3, any4; while training also shrinking-4 to shrinking-12. \[default: scp8]",
        rich_help_panel=PRUNING,
    ),
]
Group = Annotated[
    int | None,
    typer.Option(
        metavar="G",
        help="Consecutive filters that share their kernels and shapes: 1, 2, 4, 8 or 16. More is faster, "
        r"fewer is more accurate. \[default: 1]",
        rich_help_panel=PRUNING,
    ),
]
Rate1x1 = Annotated[
    float | None,
    typer.Option(
        "--rate-1x1",
        metavar="RATE",
        help=r"The rate of 1x1 convolutions; 1 keeps them dense. \[default: --compression]",
        rich_help_panel=PRUNING,
    ),
]
RateFc = Annotated[
    float | None,
    typer.Option(
        "--rate-fc",
        metavar="RATE",
        help=r"The rate of fully connected layers; 1 keeps them dense. \[default: --compression]",
        rich_help_panel=PRUNING,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB", help="Layers that stay dense, by name; may be repeated.", rich_help_panel=PRUNING
    ),
]
LayerRates = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME=RATE",
        help="One layer's own rate, or NAME=dense; may be repeated.",
        rich_help_panel=PRUNING,
    ),
]

Target = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What to compile for: native, linux-x86_64, linux-aarch64, android-arm64, android-x86_64, "
        r"macos-arm64, macos-x86_64, ios-arm64 (static: `pconv export`), opencl, "
        r"opencl-fp16, opencl-fp16-math (a GPU: one .pcl file). \[default: native]",
        rich_help_panel=BUILD,
    ),
]
Cpu = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The CPU there: x86-64-v3, x86-64-v4, znver4; aarch64, cortex-a55, cortex-a76, cortex-x1, neoverse-n1, "
        r"apple-m1. \[default: the plainest, or this machine's]",
        rich_help_panel=BUILD,
    ),
]
DType = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="TYPE",
        help="fp32; fp16: halves in memory and in arithmetic (AArch64 with ARMv8.2's, OpenCL); fp16-fp32acc: halves "
        r"in memory, arithmetic in fp32 (any AArch64, OpenCL). Inputs and outputs stay float32. \[default: fp32]",
        rich_help_panel=BUILD,
    ),
]
Compiler = Annotated[
    str | None,
    typer.Option(
        "--cc",
        metavar="CC",
        help=r"The C compiler, such as clang or gcc-13. \[default: PCONV_CC, else the ziglang package's]",
        rich_help_panel=BUILD,
    ),
]
Dense = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYER",
        help="Compile this layer dense although its weights hold zeros; may be repeated.",
        rich_help_panel=BUILD,
    ),
]
Fold = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="For batches: N images run side by side in the lanes of layers whose images are small. 2, 4, 8 or 16, "
        r"as far as the CPU has lanes; run multiples of N, as fewer cost as much. \[default: 1]",
        rich_help_panel=BUILD,
    ),
]
Tuning = Annotated[
    Path | None,
    typer.Option(
        "--tuning",
        metavar="FILE",
        help="The records of `pconv tune`. "
        r"\[default: this machine's own, in the cache directory; none for other machines]",
        rich_help_panel=BUILD,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=N,C,H,W",
        help="The shape of an input that the file leaves open; may be repeated.",
        rich_help_panel=BUILD,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="Run it there: adb:SERIAL or ssh:HOST (see `pconv devices`)."),
]


def _cores(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise PconvError(f"--cpus {text}: allowed are numbers of cores, e.g. --cpus 4-7 or --cpus 0,2.")
    return text


Cpus = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="With --device: run on these cores only, such as 4-7.", callback=_cores
    ),
]

Mean = Annotated[
    str,
    typer.Option(
        metavar="M,M,M",
        help="For pictures, as numbers in 0..1: subtract. Models of ImageNet mostly want 0.485,0.456,0.406.",
        rich_help_panel=PICTURES,
    ),
]
Std = Annotated[
    str,
    typer.Option(
        metavar="S,S,S",
        help="For pictures, as numbers in 0..1: then divide by. Models of ImageNet mostly want 0.229,0.224,0.225.",
        rich_help_panel=PICTURES,
    ),
]

Value = TypeVar("Value")


def add_command(app: typer.Typer, command: Callable[..., None], epilog: str) -> None:
    """Add a command under its own name, with its docstring as the help and paragraphs that flow."""
    paragraphs = (command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(command.__name__, help=text, epilog=epilog)(command)


def recipe_settings(**given: Any) -> dict[str, Any]:
    """Collect the pruning options that were given, under the names of a recipe's settings.

    Raises: PconvError for a --layer that is not NAME=RATE.
    """
    settings = {
        "compression_rate": given.get("compression"),
        "patterns": given.get("patterns"),
        "group": given.get("group"),
        "rate_1x1": given.get("rate_1x1"),
        "rate_fc": given.get("rate_fc"),
        "exclude": tuple(given.get("exclude") or ()) or None,
        "layers": pairs(given.get("layer"), "--layer", "NAME=RATE or NAME=dense", _rate),
    }
    return {name: value for name, value in settings.items() if value is not None}


def settings_with_rate(**given: Any) -> dict[str, Any]:
    """Collect the pruning options of a command that prunes only where it is asked to.

    Raises: PconvError as `recipe_settings` does, and for options without a rate: the model may be pruned already.
    """
    settings = recipe_settings(**given)
    if settings and "compression_rate" not in settings:
        raise PconvError("pruning options without a rate; add --compression, e.g. --compression 8.")
    return settings


def recipe(file: Path | None, settings: Mapping[str, Any]) -> "Recipe":
    """Make the recipe of a --recipe, or of the pruning options.

    Raises: PconvError where both were given; RecipeError for what is no recipe.
    """
    from pconv.recipe import Recipe

    if file is None:
        return Recipe.from_dict(settings)
    if settings:
        raise PconvError(f"--recipe {file}: it holds all settings; leave the other pruning options out.")
    return Recipe.load(file)


def _rate(text: str) -> float | str:
    return text if text == "dense" else float(text)


def shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]] | None:
    """Read NAME=1,3,224,224 as often as it was given; None when it was not.

    Raises: PconvError for anything else.
    """
    return pairs(texts, "--input", "NAME=N,C,H,W, e.g. --input x=1,3,224,224", integers)


def thread_counts(text: str) -> tuple[int, ...]:
    """Read 1,2,4.

    Raises: PconvError for anything else.
    """
    try:
        counts = integers(text)
    except ValueError:
        counts = (0,)
    if min(counts) < 1:
        raise PconvError(f"--threads {text}: allowed are counts of at least 1, e.g. --threads 1,2.")
    return counts


def integers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them."""
    return tuple(int(part) for part in text.split(","))


def pairs(
    texts: Sequence[str] | None, option: str, form: str, read: Callable[[str], Value]
) -> dict[str, Value] | None:
    """Read NAME=VALUE as often as an option was given; None when it was not.

    Raises: PconvError when a text has another form, or a name two values.
    """
    found: dict[str, Value] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            read_value = read(value)
        except ValueError:
            name = ""
        if not name:
            raise PconvError(f"{option} {text}: allowed {form}.")
        if name in found and found[name] != read_value:
            raise PconvError(f"{option} {text}: {name} has another value already; allowed one each.")
        found[name] = read_value
    return found or None


def numbers(text: str, option: str, example: str) -> tuple[float, ...]:
    """Read numbers with commas between them; `example` is what the error shows.

    Raises: PconvError for anything else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise PconvError(f"{option} {text}: allowed are numbers, e.g. {option} {example}.") from None
