"""`pconv inspect`: each step between a model and its machine code, as text."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from pconv.cli import console, models, options
from pconv.cli.prune import show
from pconv.errors import PconvError, did_you_mean

EPILOG = """Examples:

pconv inspect pruned.onnx --stage sparsity

pconv inspect resnet18 --compression 8 --stage plan --layer layer1.0.conv1

pconv inspect net.so --stage report --threads 1
"""


class Stage(StrEnum):
    """What there is to see, in the order in which it is made."""

    graph = "graph"
    sparsity = "sparsity"
    plan = "plan"
    c = "c"
    report = "report"


COMPILED = (Stage.plan, Stage.c, Stage.report)
READERS = {
    "input": (Stage.graph, *COMPILED),
    **dict.fromkeys(("target", "cpu", "dtype", "tuning", "dense", "fold"), COMPILED),
    **dict.fromkeys(("threads", "peak"), (Stage.report,)),
}
"""The stages that look at an option."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, inspect, EPILOG)


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An ONNX file or a name of the zoo; for the report also a compiled model."
        ),
    ],
    stage: Annotated[
        Stage,
        typer.Option(
            help="graph: normalised. sparsity: what is zero. plan: kernels, layouts, memory. c: the code. "
            "report: a measured run, layer by layer."
        ),
    ] = Stage.graph,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Only this layer.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="For the report.")] = None,
    peak: Annotated[
        float | None,
        typer.Option(
            metavar="GFLOPS",
            min=0.001,
            help=r"For the report: what all threads reach at most. \[default: measured once on this machine]",
        ),
    ] = None,
    target: options.Target = None,
    cpu: options.Cpu = None,
    dtype: options.DType = None,
    tuning: options.Tuning = None,
    dense: options.Dense = None,
    fold: options.Fold = None,
    input: options.Shapes = None,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    json: options.Json = False,
) -> None:
    """Show what pconv makes of a model: no step is hidden.

    The report says for each layer which micro-kernel runs it, how fast, why a sparse layer runs dense, and why it is
    not faster: what limits it, and what the runner-up was.
    """
    settings = options.settings_with_rate(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
    )
    _refuse_unread(
        stage,
        {
            "input": input,
            "target": target,
            "cpu": cpu,
            "dtype": dtype,
            "tuning": tuning,
            "dense": dense,
            "fold": fold,
            "threads": threads,
            "peak": peak,
        },
    )
    build: dict[str, Any] = {"inputs": options.shapes(input), "target": target, "cpu": cpu, "dtype": dtype}
    build |= {"dense": tuple(dense or ()), "tuned": tuning, **({"fold": fold} if fold else {})}
    if stage is Stage.report:
        _report(model, layer, threads, peak, settings, build, json)
    elif stage is Stage.sparsity:
        _sparsity(model, layer, settings, json)
    else:
        from pconv import compiler

        with (
            console.progress(f"reading {model}", quiet=json) as track,
            models.source(model, track, settings) as found,
        ):
            text = compiler.inspect(found.path, stage.value, layer, **build)
        if json:
            console.print_json({"model": model, "stage": stage.value, "text": text})
        else:
            print(text)


def _refuse_unread(stage: Stage, given: Mapping[str, Any]) -> None:
    """Say which options a stage does not look at.

    Raises: PconvError when one was given.
    """
    for name, value in given.items():
        if value and stage not in READERS[name]:
            raise PconvError(
                f"inspect: --{name} is for --stage {', '.join(READERS[name])}, not for {stage.value}; choose one, or "
                f"leave --{name} out."
            )


def _sparsity(model: str, layer: str | None, settings: dict[str, Any], json: bool) -> None:
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track, settings) as found,
    ):
        statistics = models.sparsity(found.path).statistics()
    if layer is not None:
        _require_layer(layer, statistics["layers"])
        statistics["layers"] = {layer: statistics["layers"][layer]}
    if json:
        console.print_json({"model": model, **statistics})
    else:
        show(statistics)


def _report(
    model: str,
    layer: str | None,
    threads: int | None,
    peak_gflops: float | None,
    settings: dict[str, Any],
    build: dict[str, Any],
    json: bool,
) -> None:
    from pconv.bench.known_peak import known_peak_gflops

    with console.progress(f"loading {model}", quiet=json) as track:
        engine = models.engine(model, threads, track, settings, **build)
        track("measuring the FMA peak")
        limit = peak_gflops or known_peak_gflops(engine.threads)
        track("measuring every layer")
        report = engine.report(peak_gflops=limit)
        if peak_gflops is None and any((one.peak_percent or 0) > 100 for one in report.layers):
            track("measuring the FMA peak again")  # what was remembered is too low
            limit = known_peak_gflops(engine.threads, again=True)
            report = engine.report(peak_gflops=limit)
    if layer is not None:
        _require_layer(layer, (one.name for one in report.layers))
        report = report.only(layer)
    print(report.to_json() if json else report)


def _require_layer(layer: str, names: Iterable[str]) -> None:
    known = list(names)
    if layer not in known:
        some = ", ".join(known[:8]) + ", ..." * (len(known) > 8)
        hint = did_you_mean(layer, known) or f"its layers: {some}"
        raise PconvError(f"--layer {layer}: the model has no such layer; {hint}")
