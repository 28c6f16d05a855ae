"""`pconv report`: a pruned model as a page and a picture."""

from pathlib import Path
from typing import Annotated

import typer

from pconv.cli import console, models, options

EPILOG = """Examples:

pconv report out/model.onnx

pconv report out/model.onnx --dense dense/model.onnx --results out/result.json --results more.json -o report
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, report, EPILOG)


def report(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A pruned ONNX file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the page and the picture go.")
    ] = Path("pconv-report"),
    dense: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The network before pruning: the page, and the JSON, then say what norm is kept.",
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Result files of pconv train, for accuracy against compression; may be repeated.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw what pruning left of a model: patterns, kept weights and norms, balance, accuracy.

    The folder gets index.html, one self-contained page, and report.png. MODEL carries the zeros in its weights,
    whoever pruned it.
    """
    from pconv.graph import load
    from pconv.graph.prune import layer_weights
    from pconv.report import require_packages
    from pconv.report.accuracy import read_series
    from pconv.report.pruned import PICTURE, statistics, write_pruned

    require_packages()
    series = read_series(results or [])
    with console.progress(f"reading {model}", quiet=json) as track, models.workshop() as folder:
        found = models.locate(model, folder, track)
        sparsity = models.sparsity(found.path)
        before = layer_weights(load(models.locate(dense, folder, track).path)) if dense else None
        track("drawing")
        name = found.path.resolve().parent.name if found.name == "model" else found.name
        page = write_pruned(output, name, sparsity, before, series)
    if json:
        console.print_json(
            {"page": str(page), "picture": str(output / PICTURE), **statistics(sparsity, before)}
        )
    else:
        console.stdout().print(f"wrote {page} and {output / PICTURE}", soft_wrap=True)
