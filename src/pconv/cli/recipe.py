"""`pconv recipe`: one rate per layer, so that a model meets a latency or a number of multiply-adds."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pconv import units
from pconv.cli import arrays, console, models, options
from pconv.cli.forecast import (
    CHECKER,
    DEFAULT_GROUPS,
    DEFAULT_RATES,
    DEFAULT_SECONDS,
    groups,
    measured,
    rates,
)
from pconv.errors import PconvError

if TYPE_CHECKING:
    from pconv.forecast import Budget, Found, Table
    from pconv.forecast.search import Sensitivity
    from pconv.recipe import Recipe

    Harms = Callable[[Table, Sequence[int]], dict[int, Sensitivity]]

EPILOG = """Examples:

pconv recipe model.onnx --latency 20ms -o recipe.toml

pconv recipe model.onnx --latency 20ms --table forecast.json --sensitivity images/ -o recipe.toml

pconv recipe model.onnx --macs 500M --sensitivity curves.json -o recipe.toml

pconv prune model.onnx --recipe recipe.toml -o pruned.onnx
"""
BY_WEIGHTS = "weights"
CHECK_S = 2.0
_MS = {"us": 1e-3, "ms": 1.0, "": 1.0, "s": 1e3}
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, recipe, EPILOG)


def recipe(
    model: options.ModelOrName,
    output: options.Output,
    latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="The latency to meet, such as 20ms or 800us.")
    ] = None,
    macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Or the multiply-adds to keep, such as 500M or 1.2G.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=r"What pconv forecast --json wrote. \[default: measured now]"),
    ] = None,
    sensitivity: Annotated[
        str,
        typer.Option(
            metavar="weights|DIR|FILE",
            help="What a rate harms: weights (the energy that it cuts), a folder of calibration images (the error "
            "of each layer's output), or a .json of measured curves.",
        ),
    ] = BY_WEIGHTS,
    compression: Annotated[
        str | None,
        typer.Option(metavar="RATE,RATE", help=rf"Rates to choose from. \[default: {DEFAULT_RATES}]"),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="G,G",
            help=r"Groups to choose one from. \[default: the table's; else " f"{DEFAULT_GROUPS}]",
        ),
    ] = None,
    patterns: options.Patterns = None,
    exclude: options.Exclude = None,
    input: options.Shapes = None,
    mean: options.Mean = "0",
    std: options.Std = "1",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help=r"Threads of the runs that are timed. \[default: the table's; else 1]"),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0, help=rf"How long to time, all variants together. \[default: {DEFAULT_SECONDS:g}]"
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Choose a compression for every layer, so that the model is as fast as it must be and loses the least.

    Layers that are slow and bear pruning are pruned hard, others little or not at all. Times come from a table that
    pconv forecast measured on this machine. The recipe that is written serves pconv prune --recipe and pconv.prune
    in training. At the end the model is pruned and timed with it: expected against measured.
    """
    budget, scale = _budget(latency, macs), arrays.Scale.parse(mean, std)
    fixed = options.recipe_settings(patterns=patterns, exclude=exclude)
    if table is not None and (compression is not None or seconds is not None or fixed):
        raise PconvError(
            f"--table {table}: its rates and settings were measured; leave out --compression, --patterns, --exclude "
            "and --seconds, or leave --table out."
        )
    if (mean, std) != ("0", "1") and not Path(sensitivity).is_dir():
        raise PconvError(
            "--mean and --std are of the images that --sensitivity DIR reads; name such a folder."
        )
    console.check_writable(output, model=model, sources={"table": table, "file of curves": sensitivity})
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.plain_source(model, track, options.shapes(input)) as found,
    ):
        if not Path(model).exists() and sensitivity == BY_WEIGHTS:
            console.note(
                "networks of the zoo have random weights: the rates are right in time, not in accuracy"
            )
        ask = _harm(sensitivity, found, scale, track)
        used = _table(table, found, compression, group, fixed, threads, seconds, track)
        harm = ask(used, _groups(group, used))
        try:
            result, made = _search(used, harm, budget, found)
        except PconvError as error:
            hint = (
                "" if table else f" To measure once for several budgets: pconv forecast {model} --json FILE."
            )
            raise PconvError(f"{error}{hint}") from error
        console.write(output, _comment(used, result, budget) + made.dumps())
        samples = _check(made, found, used.threads, track)
    if json:
        console.print_json(_document(output, used, result, made, budget, samples))
    else:
        _show(output, used, result, harm[result.group], budget, samples)
    if used.left_out:
        console.note(
            f"left dense, as they have no time of their own (merged into other layers, or not used): "
            f"{', '.join(used.left_out)}. Give a merged one in the recipe the rate of the layer that it is added to."
        )


def _budget(latency: str | None, macs: str | None) -> "Budget":
    from pconv.forecast import Budget

    if (latency is None) == (macs is None):
        raise PconvError("recipe: one budget is needed; give --latency, e.g. 20ms, or --macs, e.g. 500M.")
    if latency is not None:
        return Budget("ms", _quantity("--latency", latency, _MS, "20ms or 800us"))
    return Budget("macs", _quantity("--macs", macs or "", _COUNTS, "500M or 1.2G"))


def _quantity(option: str, text: str, units: Mapping[str, float], example: str) -> float:
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)", text.strip().lower())
    value = float(match[1]) * units[match[2]] if match and match[2] in units else 0.0
    if not 0 < value < math.inf:
        raise PconvError(f"{option} {text}: allowed is a number above 0 with its unit, such as {example}.")
    return value


def _table(
    path: Path | None,
    found: models.Source,
    compression: str | None,
    group: str | None,
    settings: Mapping[str, Any],
    threads: int | None,
    seconds: float | None,
    track: console.Tracker,
) -> "Table":
    if path is None:
        chosen, shared = rates(compression or DEFAULT_RATES), groups(group or DEFAULT_GROUPS)
        span = DEFAULT_SECONDS if seconds is None else seconds
        return measured(found, chosen, shared, settings, threads or 1, span, track)
    from pconv.forecast import Table
    from pconv.forecast.sensitivity import check_inputs
    from pconv.targets.detect import cpu_model

    table = Table.load(path)
    check_inputs(table, _input_shapes(found))
    if threads not in (None, table.threads):
        raise PconvError(
            f"--threads {threads}: {path} was measured with {table.threads}; leave --threads out, or measure a table "
            f"with pconv forecast --threads {threads}."
        )
    if (cpu := table.machine.get("cpu")) != cpu_model():
        console.note(f"{path} was measured on another machine ({cpu}); its times are not those of this one")
    return table


def _groups(text: str | None, table: "Table") -> tuple[int, ...]:
    chosen = table.groups if text is None else groups(text)
    for group in chosen:
        if group not in table.groups:
            raise PconvError(
                f"--group {group}: the table has groups of {', '.join(map(str, table.groups))}. Measure it with "
                f"pconv forecast --group {group}."
            )
    return chosen


def _harm(kind: str, found: models.Source, scale: arrays.Scale, track: console.Tracker) -> "Harms":
    """Read what --sensitivity names, before anything is measured; return what gives the harm of a table's rates."""
    from pconv.forecast import sensitivity as room

    def by_pruning(harm: "room.Harm") -> "Harms":
        return lambda table, chosen: room.by_pruning(table, found.path, chosen, harm, track)

    def by_curves(curves: "room.Curves") -> "Harms":
        def harm(table: "Table", chosen: Sequence[int]) -> dict[int, "Sensitivity"]:
            known = room.from_curves(curves, table, chosen)
            without = [layer.name for layer in table.dense.layers if layer.name not in curves.layers]
            if without:
                console.note(f"without a curve, and so left dense: {', '.join(without)}")
            return known

        return harm

    if kind == BY_WEIGHTS:
        return by_pruning(room.energy_lost)
    path = Path(kind)
    if path.suffix == ".json":
        return by_curves(room.read_curves(path))
    if not path.is_dir():
        raise PconvError(
            f"--sensitivity {kind}: allowed are weights, a folder of images, or a .json of curves."
        )
    from pconv.bench import peers

    ready, missing = peers.split([CHECKER])
    if not ready:
        raise PconvError(f"--sensitivity {kind}: {missing[CHECKER]}.")
    inputs = arrays.read_folder(path, _input_shapes(found), scale)
    return by_pruning(room.output_error(found.path, inputs, ready[0]))


def _input_shapes(found: models.Source) -> dict[str, tuple[int, ...]]:
    from pconv.graph import load, normalise, view

    graph = view(normalise(load(found.path)))
    return {name: graph.shapes[name] for name in graph.inputs}


def _search(
    table: "Table", harm: Mapping[int, "Sensitivity"], budget: "Budget", found: models.Source
) -> tuple["Found", "Recipe"]:
    from pconv.forecast.rates import recipe_of
    from pconv.forecast.search import search_groups
    from pconv.forecast.sensitivity import check_fits
    from pconv.graph import load
    from pconv.graph.prune import find_layers

    infos = [layer.info for layer in find_layers(load(found.path))]
    check_fits(table, infos)
    result = search_groups(table, harm, budget)
    return result, recipe_of(result, table, infos)


def _comment(table: "Table", result: "Found", budget: "Budget") -> str:
    threads = console.count(table.threads, "thread")
    return (
        f"# {table.model} within {budget.text()}: expected {result.ms:.3g} ms on {threads} of "
        f"{table.machine.get('cpu', 'an unknown CPU')},\n# {result.macs:,} multiply-adds of the kept weights.\n"
    )


def _check(recipe: "Recipe", found: models.Source, threads: int, track: console.Tracker) -> tuple[float, ...]:
    from pconv.forecast.measure import measure_one

    with models.workshop() as folder:
        path = folder / f"{found.name}.onnx"
        models.prune_file(found, recipe, path, track)
        return measure_one(path, threads, CHECK_S, track, console.note_waiting)


def _document(
    output: Path,
    table: "Table",
    result: "Found",
    recipe: "Recipe",
    budget: "Budget",
    samples: Sequence[float],
) -> dict[str, Any]:
    return {
        "output": str(output),
        "budget": {"unit": budget.unit, "limit": budget.limit},
        "threads": table.threads,
        "group": result.group,
        "layers": dict(recipe.layers),
        "harm": result.harm,
        "macs": result.macs,
        "dense_ms": table.dense.median_ms,
        "expected_ms": result.ms,
        "measured_ms": median(samples),
        "samples_ms": [round(sample, 4) for sample in samples],
    }


def _show(
    output: Path,
    table: "Table",
    result: "Found",
    harm: "Sensitivity",
    budget: "Budget",
    samples: Sequence[float],
) -> None:
    from pconv.forecast.search import least_cost

    times = {
        name: {option.rate: option.ms for option in each}
        for name, each in table.options(result.group).items()
    }
    shown = console.table("layer", "rate", "ms, dense", "ms", "harm")
    for name, rate in result.rates.items():
        shown.add_row(
            name,
            "dense" if rate == 1 else console.rate(rate),
            f"{times[name][1.0]:.3f}",
            f"{times[name][rate]:.3f}",
            "-" if rate == 1 else f"{harm[name][rate]:.3g}",
        )
    console.stdout().print(shown)
    taken = median(samples)
    print(
        f"groups of {result.group}, {result.macs / 1e6:,.1f} M multiply-adds, {console.count(table.threads, 'thread')}"
    )
    print(
        f"expected {units.milliseconds(result.ms)}, measured {units.milliseconds(taken)} "
        f"({taken / result.ms - 1:+.1%}); dense {units.milliseconds(table.dense.median_ms)}"
    )
    print(f"wrote {output}")
    if budget.unit == "ms" and taken > budget.limit:
        less = budget.limit * result.ms / taken
        reach = least_cost(table, harm, budget, result.group) <= less
        advice = (
            f"ask for less, e.g. --latency {less:.3g}ms" if reach else "measure higher rates or larger groups"
        )
        console.note(f"it takes longer than {budget.text()}: {advice}")
