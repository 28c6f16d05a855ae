"""`pconv bench`: our engine, dense and pruned, against the peers on the same weights."""

import json as json_module
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pconv import units
from pconv.cli import console, devices, models, options
from pconv.errors import PconvError

EPILOG = """Examples:

pconv bench resnet18 --compression 8

pconv bench vgg16 --compression 8 --group 4 --threads 1,2 --seconds 30 --json vgg16.json

pconv bench pruned.onnx --peers all

pconv bench pruned.onnx --device adb:SERIAL --threads 4 --cpus 4-7 --cpu cortex-a76

pconv bench pruned.onnx --device adb:SERIAL --target opencl-fp16
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
    exclude: options.Exclude = None,
    threads: Annotated[
        str, typer.Option(metavar="N,N", help="Thread counts, each its own comparison.")
    ] = "1",
    engines: Annotated[
        str,
        typer.Option(
            "--peers",
            metavar="NAME,NAME",
            help='Engines to compare with, such as openvino,ncnn; `all`, or "" for none.',
        ),
    ] = "onnxruntime",
    seconds: Annotated[float, typer.Option(min=0, help="How long to time, per thread count.")] = 10.0,
    device: options.Device = None,
    cpus: options.Cpus = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=r"With --device: its GPU, as opencl, opencl-fp16 or opencl-fp16-math. \[default: its CPU]",
            rich_help_panel=options.BUILD,
        ),
    ] = None,
    cpu: options.Cpu = None,
    dtype: options.DType = None,
    input: options.Shapes = None,
    tuning: options.Tuning = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all samples to a file; - is stdout.")
    ] = None,
) -> None:
    """Time a model: dense in the peers and in pconv, and pruned in pconv.

    With --compression the model is pruned by magnitude first (zoo networks have random weights: right for
    timing, not for accuracy). A file without it is compared as it is. The rates shown are those that all
    layers together have: lower than the one asked for where some keep more. Every answer is checked against an
    fp32 engine's on the same weights before anything is timed, and the engines take turns on the same machine.
    A peer that is not installed, or cannot run the model, is left out with the reason (that fp32 engine has to
    run it); a model that a peer has to convert is converted once and kept, which may take minutes.

    With --device the model runs there and in pconv here, layer by layer, without peers; --target, --cpu, --dtype and
    --tuning say what is compiled for the device, as in `pconv compile`.
    """
    from pconv.bench import peers, session

    settings = options.settings_with_rate(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
    )
    counts = options.thread_counts(threads)
    if device is None:
        devices.refuse_without_device(cpus, {"target": target, "cpu": cpu, "dtype": dtype, "tuning": tuning})
    ready, missing = peers.split(peers.named(engines))
    for reason in missing.values():
        console.note(f"skipped: {reason}")
    to_stdout = str(json) == "-"
    file = None if to_stdout else json
    if file is not None:
        console.check_writable(file, "--json", model)
    with (
        console.progress(f"reading {model}", quiet=to_stdout) as track,
        models.workshop() as folder,
    ):
        found = models.plain(models.locate(model, folder, track), folder, track, options.shapes(input))
        files = [(found.path, models.compression_rate(found.path))]
        if compression is not None:
            pruned = models.pruned(found, settings, folder, track)
            _require_zeros(model, compression, found.path, pruned.path)
            files.append((pruned.path, models.compression_rate(pruned.path)))
        if device is not None:
            build = {"target": target, "cpu": cpu, "dtype": dtype, "tuned": tuning}
            there = devices.bench_on(device, files, counts, cpus, track, build)
            text, show_all = devices.as_json(there), partial(devices.show, there)
        else:
            console.note_busy()
            document = session.run(
                found.name,
                files,
                ready,
                counts,
                seconds,
                settings=settings,
                on_event=track,
                on_wait=console.note_waiting,
                on_skip=lambda peer, reason: console.note(f"skipped: {reason}"),
            )
            document["skipped"] = missing | document["skipped"]
            text, show_all = json_module.dumps(document, indent=1), partial(show, document)
        if file is not None:
            console.write(file, text + "\n", "--json")
    if to_stdout:
        print(text)
        return
    show_all()
    if file is not None:
        console.note(f"wrote {file}")


def _require_zeros(model: str, compression: float, before: Path, after: Path) -> None:
    """Say that pruning left a model as it was.

    Raises: PconvError when no weight became zero.
    """
    if models.sparsity(before) == models.sparsity(after):
        raise PconvError(
            f"--compression {compression:g}: it prunes nothing of {model}, whose weights are at "
            f"{console.rate(models.compression_rate(before))}. Leave it out to time the model as it is; `pconv inspect "
            "MODEL --stage sparsity` lists the layers."
        )


def show(document: dict[str, Any]) -> None:
    """Print the results per thread count, the fastest first, with speed-ups over the fastest on the weights given."""
    from pconv.bench.machine import line

    table = console.table(
        "engine", "threads", "compression", "median", "fastest", "speed-up", "max rel. error"
    )
    results = sorted(document["results"], key=lambda result: (result["threads"], result["median_ms"]))
    bases = _bases(results)
    for result in results:
        error = result["max_rel_err"]
        table.add_row(
            result["engine"],
            str(result["threads"]),
            console.rate(result["compression"]),
            units.milliseconds(result["median_ms"]),
            units.milliseconds(result["min_ms"]),
            f"{bases[result['threads']]['median_ms'] / result['median_ms']:.2f}x",
            "reference" if error is None else f"{error:.0e}",
        )
    console.stdout().print(table)
    for threads, base in bases.items():
        weights = (
            "dense" if base["compression"] == 1 else f"on the weights at {console.rate(base['compression'])}"
        )
        console.note(f"speed-up on {console.count(threads, 'thread')}: over {base['engine']}, {weights}")
    for name, peer in document["peers"].items():
        if peer["why_off"]:
            console.note(
                f"{name} may be off by {peer['max_rel_err']:g} of the largest value: {peer['why_off']}"
            )
    console.note(line(document["machine"]))


def _bases(results: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Find, per thread count, the fastest fp32 engine on the weights as given: a peer, or ours where there is none.

    What `--compression` made of them has a group.
    """
    ours_last = sorted(results, key=lambda result: (result["engine"] == "pconv", result["median_ms"]))
    bases: dict[int, dict[str, Any]] = {}
    for result in ours_last:
        if not result["group"] and result["dtype"] == "float32":
            bases.setdefault(result["threads"], result)
    return dict(sorted(bases.items()))
