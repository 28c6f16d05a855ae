"""`pconv demo`: the whole way on real images, with a table and a page."""

from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pconv.cli import console, options
from pconv.files import make_folder

if TYPE_CHECKING:
    from pconv.demo.result import DemoResult
    from pconv.report import Page

EPILOG = """Examples:

pconv demo

pconv demo --dataset cifar10 -o cifar10-demo
"""


class Dataset(StrEnum):
    """What to learn from."""

    digits = "digits"
    cifar10 = "cifar10"


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, demo, EPILOG)


def demo(
    dataset: Annotated[
        Dataset,
        typer.Option(
            help="digits comes with scikit-learn and takes about a minute; cifar10 is read from the folder that "
            "PCONV_DATA names (cifar-10-batches-py/ there), beside cifar10_resnets/resnet20.pth."
        ),
    ] = Dataset.digits,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the page and the models go.")
    ] = Path("pconv-demo"),
    threads: Annotated[int, typer.Option(min=1, help="Threads of every engine.")] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="How long to time.")] = 3.0,
    json: options.Json = False,
) -> None:
    """Train or load a small network, prune, fine-tune, compile, check and time it; then open the page.

    The network meets its dense self in ONNX Runtime. The folder gets index.html, and both models as ONNX
    and compiled libraries.
    """
    from pconv.bench import machine
    from pconv.demo.run import run
    from pconv.report import require_packages, write
    from pconv.report.demo import demo_page

    require_packages()
    make_folder(output, "Choose another folder with -o.")
    with console.progress("demo", quiet=json) as track:
        result = run(
            dataset.value,
            folder=output,
            threads=threads,
            seconds=seconds,
            on_event=lambda event: track(f"{event.stage}  {event.note}".strip(), event.share),
        )
        track("writing the page")
        described = machine.record(("numpy", "torch", "onnxruntime"), compiler=machine.compiler())
        page = demo_page(result, described)
        path = write(page, output / "index.html")
    if json:
        console.print_json({"page": str(path), "machine": described, "result": _as_json(result)})
        return
    _show(page)
    console.note(page.machine)
    console.stdout().print(f"\nOpen {path}", soft_wrap=True)


def _show(page: "Page") -> None:
    table = console.table(*page.columns, title=page.title)
    for row in page.rows:
        table.add_row(*row.cells, style="bold" if row.strong else None)
    console.stdout().print(table)


def _as_json(result: "DemoResult") -> dict[str, Any]:
    """Return everything that was measured, with the sparsity as statistics."""
    plain = {field.name: getattr(result, field.name) for field in fields(result)}
    return {**plain, "recipe": asdict(result.recipe), "sparsity": result.sparsity.statistics()}
