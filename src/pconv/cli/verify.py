"""`pconv verify`: proof that what was pruned is still zero, in legal shapes, the same amount in every filter."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pconv.cli import console, models, options
from pconv.errors import ArtefactError, ModelError, PconvError

if TYPE_CHECKING:
    from pconv.patterns import Pattern
    from pconv.sparsity import LayerSparsity, SparsityMap

PROBLEMS = 1

EPILOG = """Examples:

pconv verify pruned.onnx

pconv verify tuned.onnx --against pruned.onnx --patterns scp8

pconv verify net.so

Exit code: 0 nothing is wrong, 1 problems were found, 2 a file cannot be read.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, verify, EPILOG)


def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An ONNX file, or a compiled model.")],
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What must still be zero: an ONNX file with a sparsity map or with zeros, or a map as JSON. "
            r"\[default: the map in MODEL's own metadata]",
        ),
    ] = None,
    patterns: Annotated[
        str | None,
        typer.Option(
            metavar="LIBRARY",
            help="Allow only the shapes of this library; natural-k and shrinking-k: at most k shapes in all. "
            r"\[default: any shapes, of one size in each layer]",
        ),
    ] = None,
    balance: Annotated[
        bool, typer.Option(help="Every filter of a layer keeps the same number of kernels.")
    ] = True,
    json: options.Json = False,
) -> None:
    """Check a pruned model: nothing filled in, legal shapes, balanced filters.

    Pruning writes a sparsity map into the file: a promise of what stays zero. Training, exporting or another tool may
    break it, and one weight in a pruned place costs a whole kernel. Every broken promise is listed.

    Of a compiled model (.so, .pcl; .dylib for arm64), without other options: its bytes are those that the compiler
    wrote. Loading finds a file that is cut off, not one whose bytes changed.
    """
    if models.is_compiled(model):
        _refuse_options(model, {"against": against, "patterns": patterns, "no-balance": not balance})
        _verify_compiled(Path(model), json)
        return
    from pconv.graph import load
    from pconv.graph.prune import layer_weights, read_sparsity
    from pconv.sparsity import SparsityMap

    shapes, most = _allowed(patterns)
    with console.progress(f"reading {model}", quiet=json) as track, models.workshop() as folder:
        source = load(models.locate(model, folder, track).path)
        weights = layer_weights(source)
        promised = read_sparsity(source) if against is None else _read(against)
        track("comparing")
        said = promised or SparsityMap.detect(weights)
        problems = said.verify(weights, shapes, balance)
        problems += [f"{n}: {text}" for n, layer in said.layers.items() for text in _unequal(layer)]
        found = {bits for layer in said.layers.values() if _patterned(layer) for bits in layer.patterns}
        # A weight may be zero by chance: what is a part of another shape is none of its own.
        used = {bits for bits in found if not any(bits != whole and not bits & ~whole for whole in found)}
    if most is not None and len(used) > most:
        problems.append(f"the network has {len(used)} shapes; {patterns} allows {most}")
    pruned = sum(layer.density < 1.0 for layer in said.layers.values())
    if against and not pruned:
        raise ModelError(
            f"--against {against}: nothing is pruned there; allowed a model, or its map, that has zeros."
        )
    basis = str(against) if against else ("its own map" if promised else None)
    if json:
        console.print_json(
            {
                "model": model,
                "against": basis,
                "layers": len(said.layers),
                "pruned_layers": pruned,
                "shapes": len(used),
                "problems": problems,
            }
        )
    else:
        _show(model, basis, pruned, len(used), balance, problems)
    if problems:
        raise typer.Exit(PROBLEMS)


def _show(
    model: str, basis: str | None, pruned: int, shapes: int, balance: bool, problems: list[str]
) -> None:
    out = console.stdout()
    for problem in problems:
        out.print(problem, soft_wrap=True)
    if problems:
        out.print(f"{model}: {console.count(len(problems), 'problem')}")
        return
    filled = f"nothing filled in, by {basis}" if basis else "no map to compare with (--against FILE)"
    even = "filters balanced" if balance else "balance not looked at"
    out.print(
        f"{model}: {pruned} pruned layers; {filled}; {shapes} legal shapes; {even}",
        soft_wrap=True,
    )


def _refuse_options(model: str, given: Mapping[str, Any]) -> None:
    """Say that a compiled model is not looked into.

    Raises: ModelError when an option for its weights was given.
    """
    names = [f"--{name}" for name, value in given.items() if value]
    if names:
        raise ModelError(
            f"{model}: a compiled model is checked by its bytes only; leave out {', '.join(names)}, or name the ONNX "
            "file it came from."
        )


def _verify_compiled(path: Path, json: bool) -> None:
    from pconv.runtime.seal import is_whole

    whole = is_whole(path)
    if whole is None:
        raise ArtefactError(
            f"{path}: it does not say what its bytes should be; allowed a .pcl file, or a library for Linux, Android "
            "or macOS on arm64, neither stripped nor cut off. Compare it with the file that `pconv compile` wrote."
        )
    problems = (
        [] if whole else [f"{path}: its bytes changed after it was compiled. Copy or compile it again."]
    )
    if json:
        console.print_json({"model": str(path), "problems": problems})
    else:
        said = problems[0] if problems else f"{path}: its bytes are those that were compiled"
        console.stdout().print(said, soft_wrap=True)
    if problems:
        raise typer.Exit(PROBLEMS)


def _read(path: Path) -> "SparsityMap":
    """Read what must be zero: a map as JSON, or an ONNX file with a map or with zeros."""
    from pconv.graph import load
    from pconv.graph.prune import layer_weights, read_sparsity
    from pconv.sparsity import SparsityMap

    if path.suffix != ".json":
        model = load(path)
        return read_sparsity(model) or SparsityMap.detect(layer_weights(model))
    try:
        return SparsityMap.from_json(path.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}). Name a map or an ONNX file.") from error
    except (ModelError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error


def _allowed(patterns: str | None) -> "tuple[tuple[Pattern, ...] | None, int | None]":
    """Say which shapes are legal, and how many of them the network may use."""
    from pconv.patterns import CENTRE3, LIBRARIES, LIBRARY_NAMES, SHRINKING

    if patterns is None:
        return None, None
    if patterns in LIBRARIES:
        return LIBRARIES[patterns], None
    if patterns not in (*LIBRARY_NAMES, *SHRINKING):
        raise PconvError(
            f"--patterns {patterns}: no such library; allowed {', '.join((*LIBRARY_NAMES, *SHRINKING))}."
        )
    return CENTRE3, int(patterns.rpartition("-")[2])


def _patterned(layer: "LayerSparsity") -> bool:
    """Say whether a layer's 3x3 kernels have shapes, rather than being whole or gone."""
    return layer.shape[2:] == (3, 3) and any(bits != 0x1FF for bits in layer.patterns)


def _unequal(layer: "LayerSparsity") -> list[str]:
    """Find shapes that no shape of the layer's full size covers: a weight may be zero by chance."""
    if not _patterned(layer):
        return []
    size = max(bits.bit_count() for bits in layer.patterns)
    full = [bits for bits in layer.patterns if bits.bit_count() == size]
    odd = [bits for bits in layer.patterns if all(bits & ~whole for whole in full)]
    kernels = sum(layer.patterns[bits] for bits in odd)
    return [f"{kernels} kernels keep fewer than {size} weights, in {len(odd)} other shapes"] if odd else []
