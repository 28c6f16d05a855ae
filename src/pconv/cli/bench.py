"""`pconv bench`: our engine, dense and pruned, against the peers on the same weights."""

import json as json_module
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from pconv.cli import console, models, options
from pconv.errors import PconvError

EPILOG = """Examples:

pconv bench resnet18 --compression 8

pconv bench vgg16 --compression 8 --group 4 --threads 1,2 --seconds 30 --json vgg16.json

pconv bench pruned.onnx
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, bench, EPILOG)


def bench(
    model: options.ModelOrName,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    threads: Annotated[
        str, typer.Option(metavar="N,N", help="Thread counts, each its own comparison.")
    ] = "1",
    peers: Annotated[
        str, typer.Option(metavar="NAME,NAME", help='Engines to compare with; "" for none.')
    ] = "onnxruntime",
    seconds: Annotated[float, typer.Option(min=0, help="How long to time, per thread count.")] = 10.0,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all samples to a file; - is stdout.")
    ] = None,
) -> None:
    """Time a model: dense in the peers and in pconv, and pruned in pconv.

    With --compression the model is pruned by magnitude first (zoo networks have random weights: right for
    timing, not for accuracy). A file without it is compared as it is. Every answer is checked against the
    peer on the same weights before anything is timed, and the engines take turns on the same machine.
    """
    from pconv.bench import machine, session
    from pconv.bench import peers as peer_room

    settings = options.recipe_settings(
        compression=compression, patterns=patterns, group=group, rate_1x1=rate_1x1, rate_fc=rate_fc
    )
    if settings and compression is None:
        raise PconvError("bench: pruning options without a rate; add --compression, e.g. --compression 8.")
    counts = options.thread_counts(threads)
    ready, missing = peer_room.split([name for name in peers.split(",") if name])
    for reason in missing.values():
        console.note(f"skipped: {reason}")
    if (warning := machine.busy()) is not None:
        console.note(warning)
    to_stdout = str(json) == "-"
    file = None if json is None or to_stdout else json
    with (
        console.replacing(file) if file else nullcontext() as draft,
        console.progress(f"reading {model}", quiet=to_stdout) as track,
        models.workshop() as folder,
    ):
        found = models.locate(model, folder, track)
        files = [(found.path, models.compression_rate(found.path))]
        if compression is not None:
            files.append((models.pruned(found, settings, folder, track).path, compression))
        document = session.run(
            found.name,
            files,
            ready,
            counts,
            seconds,
            settings=settings,
            on_event=track,
            on_wait=lambda: console.note("another benchmark is running on this machine; waiting for its end"),
        )
        if draft is not None:
            draft.write_text(json_module.dumps(document, indent=1) + "\n", encoding="utf-8")
    if to_stdout:
        console.print_json(document)
        return
    show(document)
    if file is not None:
        console.note(f"wrote {file}")


def show(document: dict[str, Any]) -> None:
    """Print the results per thread count, with speed-ups over the first peer."""
    from pconv.bench.machine import line

    table = console.table(
        "engine", "threads", "compression", "median", "fastest", "speed-up", "max rel. error"
    )
    base: dict[int, float] = {}  # per thread count, the first contender: a peer where there is one
    for result in document["results"]:
        base.setdefault(result["threads"], result["median_ms"])
        error = result["max_rel_err"]
        table.add_row(
            result["engine"],
            str(result["threads"]),
            console.rate(result["compression"]),
            console.milliseconds(result["median_ms"]),
            console.milliseconds(result["min_ms"]),
            f"{base[result['threads']] / result['median_ms']:.2f}x",
            "reference" if error is None else f"{error:.0e}",
        )
    console.stdout().print(table)
    console.note(line(document["machine"]))
