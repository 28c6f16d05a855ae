"""`pconv forecast`: what pruning would bring on this machine, before anybody trains."""

import json as json_module
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pconv import units
from pconv.cli import console, models, options
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.forecast import Table

EPILOG = """Examples:

pconv forecast resnet18

pconv forecast model.onnx --compression 1,4,8 --group 4 -o forecast/forecast.html --json forecast.json

pconv recipe model.onnx --latency 5ms --table forecast.json -o recipe.toml
"""
SHOWN_LAYERS = 12
CHECKER = "onnxruntime"
DEFAULT_RATES = "1,2.25,4,8,16"
DEFAULT_GROUPS = "1,4"
DEFAULT_SECONDS = 20.0

Compressions = Annotated[
    str, typer.Option("--compression", metavar="RATE,RATE", help="Total / kept weights, each a variant.")
]
Groups = Annotated[
    str, typer.Option("--group", metavar="G,G", help="Filters that share kernels and shapes, each a variant.")
]
Seconds = Annotated[float, typer.Option(min=0, help="How long to time, all variants together.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the run that is timed.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, forecast, EPILOG)


def forecast(
    model: options.ModelOrName,
    compression: Compressions = DEFAULT_RATES,
    group: Groups = DEFAULT_GROUPS,
    patterns: options.Patterns = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    input: options.Shapes = None,
    threads: Threads = 1,
    seconds: Seconds = DEFAULT_SECONDS,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write a page (.html) and its drawing (.png)."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the measured table; - is stdout.")
    ] = None,
) -> None:
    """Measure how fast a model would be if it were pruned, for the network and for every layer.

    It is pruned by magnitude, only for its speed, compiled and timed on this machine, all variants in turns. So you
    know in minutes whether training is worth it, and how far to go. The table that --json writes is what
    pconv recipe searches for one rate per layer.
    """
    from pconv.bench.machine import line

    settings = options.recipe_settings(patterns=patterns, rate_1x1=rate_1x1, rate_fc=rate_fc, exclude=exclude)
    if output is not None:
        from pconv.report import require_packages

        require_packages()
        if output.suffix != ".html":
            raise PconvError(f"-o {output}: allowed is a name that ends in .html, e.g. forecast.html.")
    to_stdout = str(json) == "-"
    drawn = () if output is None else (output, output.with_suffix(".png"))
    for file in drawn:
        console.check_writable(file, model=model)
    if json is not None and not to_stdout:
        if json.resolve() in [file.resolve() for file in drawn]:
            raise PconvError(f"--json {json}: -o writes there, too; name another file.")
        console.check_writable(json, "--json", model)
    with (
        console.progress(f"reading {model}", quiet=to_stdout) as track,
        models.plain_source(model, track, options.shapes(input)) as found,
    ):
        table = measured(found, rates(compression), groups(group), settings, threads, seconds, track)
        if json is not None and not to_stdout:
            console.write(json, json_module.dumps(table.as_json(), indent=1) + "\n", "--json")
        if output is not None:
            from pconv.report.forecast import write_forecast

            track("drawing")
            write_forecast(table, output, output.with_suffix(".png"))
    if to_stdout:
        console.print_json(table.as_json())
        return
    show(table)
    console.note(line(table.machine))
    for path in (*([json] if json else []), *drawn):
        console.note(f"wrote {path}")


def measured(
    found: models.Source,
    compressions: tuple[float, ...],
    group: tuple[int, ...],
    settings: Mapping[str, Any],
    threads: int,
    seconds: float,
    track: console.Tracker,
) -> "Table":
    """Measure the table of a model, checked against ONNX Runtime where that is installed."""
    from pconv.bench import peers
    from pconv.forecast.measure import measure

    ready, missing = peers.split([CHECKER])
    for reason in missing.values():
        console.note(f"the answers are not checked: {reason}")
    console.note_busy()
    return measure(
        found.name,
        found.path,
        compressions,
        group,
        settings,
        threads=threads,
        seconds=seconds,
        peers=ready,
        on_event=track,
        on_wait=console.note_waiting,
    )


def rates(text: str) -> tuple[float, ...]:
    """Read --compression 1,2.25,8.

    Raises: PconvError for anything else, or where nothing is pruned.
    """
    given = options.numbers(text, "--compression", "4 or 1,2.25,4")
    if not any(rate > 1 for rate in given):
        raise PconvError(f"--compression {text}: nothing is pruned; allowed e.g. --compression 1,2.25,4,8.")
    return given


def groups(text: str) -> tuple[int, ...]:
    """Read --group 1,4.

    Raises: PconvError for anything else.
    """
    try:
        return options.integers(text)
    except ValueError:
        raise PconvError(f"--group {text}: allowed are whole numbers, e.g. --group 1,4.") from None


def show(table: "Table") -> None:
    """Print the network's times, those of its slowest layers, and what they say."""
    from pconv.forecast.words import speed_up, verdict

    shown = console.table(
        "variant", "median", "fastest", "speed-up", "multiply-adds", "file", title=table.model
    )
    for variant in table.variants:
        shown.add_row(
            variant.name,
            units.milliseconds(variant.median_ms),
            units.milliseconds(variant.min_ms),
            f"{speed_up(table, variant):.2f}x",
            f"{variant.macs / 1e6:,.1f} M",
            units.megabytes(variant.file_bytes),
        )
    console.stdout().print(shown)
    print()
    _show_layers(table)
    print()
    for said in verdict(table):
        print(said)


def _show_layers(table: "Table") -> None:
    by_layer = [{layer.name: layer.ms for layer in variant.layers} for variant in table.variants]
    slowest = sorted(by_layer[0], key=lambda name: -by_layer[0][name])
    names = [
        "dense" if v.dense else f"{v.compression:g}x" + (f" g{v.group}" if v.group > 1 else "")
        for v in table.variants
    ]
    shown = console.table("layer, ms", *names)
    for name in slowest[:SHOWN_LAYERS]:
        shown.add_row(name, *(f"{times[name]:.3f}" for times in by_layer))
    if others := slowest[SHOWN_LAYERS:]:
        sums = (sum(times[name] for name in others) for times in by_layer)
        shown.add_row(f"{len(others)} others", *(f"{ms:.3f}" for ms in sums))
    shown.add_row("rest (not pruned)", *(f"{variant.rest_ms:.3f}" for variant in table.variants))
    console.stdout().print(shown)
