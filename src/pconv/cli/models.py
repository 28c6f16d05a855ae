"""Owns the way from what a user names (a file, a network of the zoo) to an ONNX file, pruned or not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pconv.cli.console import Tracker
from pconv.errors import ModelError, did_you_mean
from pconv.files import COMPILED_BEGINNINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pconv.recipe import Recipe
    from pconv.runtime import Engine
    from pconv.sparsity import SparsityMap

Shapes = Mapping[str, tuple[int, ...]] | None
"""The shapes of inputs that a file leaves open, by name."""

COMPILED_SUFFIXES = (".so", ".dylib", ".pcl")


@dataclass(frozen=True)
class Source:
    """A model that a command works on: its short name and its ONNX file."""

    name: str
    path: Path


def is_compiled(model: str) -> bool:
    """Say whether a name is that of a compiled model, or its file begins as one."""
    path = Path(model)
    if path.suffix in COMPILED_SUFFIXES:
        return True
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(COMPILED_BEGINNINGS)
    except OSError:
        return False


@contextmanager
def source(model: str, track: Tracker, settings: Mapping[str, Any] | None = None) -> Iterator[Source]:
    """Find the ONNX file of a model, made from the zoo where it is a name, pruned where settings ask.

    Files made on the way live as long as the block.

    Raises: ModelError when there is no such file or network; RecipeError when the settings do not fit.
    """
    with workshop() as folder:
        found = locate(model, folder, track)
        yield pruned(found, settings, folder, track) if settings else found


@contextmanager
def plain_source(model: str, track: Tracker, shapes: Shapes) -> Iterator[Source]:
    """Find the ONNX file of a model as `source` does, as any engine can read it.

    Raises: ModelError when there is no such file or network, or a size of its inputs is not known.
    """
    with workshop() as folder:
        yield plain(locate(model, folder, track), folder, track, shapes)


def plain(found: Source, folder: Path, track: Tracker, shapes: Shapes) -> Source:
    """Write a model as any engine can read it into `folder`: float32, one sample, sizes known; if it is not that.

    Raises: ModelError when a size of its inputs is not known.
    """
    from pconv.graph import is_plain, load, plain
    from pconv.graph.prune import save

    model = load(found.path, inputs=shapes)
    if shapes is None and is_plain(model):
        return found
    track(f"fixing the sizes of {found.name}")
    path = folder / f"{found.name}-plain.onnx"
    save(plain(model), path)
    return Source(found.name, path)


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a folder that is gone after the block."""
    with TemporaryDirectory(prefix="pconv-") as folder:
        yield Path(folder)


def locate(model: str, folder: Path, track: Tracker) -> Source:
    """Find a model's ONNX file; a network of the zoo is exported into `folder`.

    Raises: ModelError when there is no such file or network.
    """
    from pconv import zoo

    path = Path(model)
    if path.exists() and not (path.is_dir() and model in zoo.names()):  # a folder is no model
        if is_compiled(model):
            raise ModelError(
                f"{model}: this is a compiled model; this command needs the ONNX file it came from."
            )
        return Source(path.stem, path)
    if model not in zoo.names():
        hint = did_you_mean(model, zoo.names()) or f"the zoo has {', '.join(zoo.names())}."
        raise ModelError(f"{model}: no such file, and no such network in the zoo; {hint}")
    track(f"exporting {model}")
    return Source(model, zoo.to_onnx(model, folder / f"{model}.onnx"))


def pruned(found: Source, settings: Mapping[str, Any], folder: Path, track: Tracker) -> Source:
    """Prune a model by magnitude into a file in `folder`.

    Raises: RecipeError when the settings do not fit the model.
    """
    from pconv.recipe import Recipe

    path = folder / f"{found.name}-pruned.onnx"
    prune_file(found, Recipe.from_dict(settings), path, track)
    return Source(found.name, path)


def prune_file(
    found: Source, recipe: "Recipe", output: Path, track: Tracker, images: "NDArray[Any] | None" = None
) -> tuple["SparsityMap", dict[str, str]]:
    """Prune a model into a file, by magnitude or with calibration images.

    Returns: what is left of it, and the convolutions that pruning does not reach, with what they are.

    Raises: RecipeError when the recipe does not fit the model; ModelError when it cannot be read or pruned; BuildError
    when the output is a file of its weights.
    """
    from pconv.files import check_apart
    from pconv.graph import load, weight_files
    from pconv.graph.post_training import prune_calibrated
    from pconv.graph.prune import left_whole, prune_model, save

    track(f"pruning {found.name}")
    model = load(found.path)
    for file in weight_files(model):
        check_apart(output, file, "Choose another place with -o.", "a file of the model's weights")
    if images is None:
        model, sparsity = prune_model(model, recipe)
    else:
        model, sparsity = prune_calibrated(model, images, recipe, progress=track.steps)
    track(f"writing {output.name}")
    save(model, output)
    return sparsity, left_whole(model)


def sparsity(path: Path) -> "SparsityMap":
    """Read the sparsity of a file off its weights.

    Raises: ModelError when it cannot be read.
    """
    from pconv.graph import load
    from pconv.graph.prune import layer_weights
    from pconv.sparsity import SparsityMap

    return SparsityMap.detect(layer_weights(load(path)))


def compression_rate(path: Path) -> float:
    """Read the compression rate of a file off its weights: total / kept; 1 where there is nothing to prune.

    Raises: ModelError when it cannot be read.
    """
    rate = sparsity(path).statistics()["compression_rate"]
    return 1.0 if rate is None else round(float(rate), 2)


def engine(
    model: str,
    threads: int | None,
    track: Tracker,
    settings: Mapping[str, Any] | None = None,
    **build: Any,
) -> "Engine":
    """Load a compiled model, or compile what is none, with the build options of `pconv.compile`.

    Raises: ArtefactError when a compiled model does not load; else what pruning and compiling raise.
    """
    import pconv

    if is_compiled(model):
        if settings or any(build.values()):
            raise ModelError(
                f"{model}: it is compiled already; leave out the options that prune and compile."
            )
        return pconv.load(model, threads)
    with source(model, track, settings) as found:
        return pconv.compile(found.path, threads=threads, progress=track.steps, **build)
