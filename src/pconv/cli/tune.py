"""`pconv tune`: measure on this machine, or on a device, which schedule of each layer is the fastest."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from pconv import units
from pconv.cli import console, models, options

if TYPE_CHECKING:
    from pconv.tune import Tuned

EPILOG = """Examples:

pconv tune pruned.onnx

pconv tune resnet18 --compression 8 --seconds 300 --threads 2

pconv tune pruned.onnx --target opencl

pconv tune pruned.onnx --device adb:SERIAL --cpus 4-7 --cpu cortex-a76 --tuning phone.json

pconv tune pruned.onnx --device adb:SERIAL --target opencl-fp16 --tuning phone_gpu.json

pconv tune pruned.onnx --tuning board.json && pconv compile pruned.onnx -o net.so --tuning board.json
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, tune, EPILOG)


def tune(
    model: options.ModelOrName,
    seconds: Annotated[float, typer.Option(min=1, help="Time for the search, compiling included.")] = 120.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads to tune for.")] = 1,
    tuning: options.Tuning = None,
    input: options.Shapes = None,
    target: options.Target = None,
    cpu: options.Cpu = None,
    device: options.Device = None,
    cpus: options.Cpus = None,
    dtype: options.DType = None,
    cc: options.Compiler = None,
    dense: options.Dense = None,
    fold: options.Fold = None,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    json: options.Json = False,
) -> None:
    """Search the fastest schedule of each convolution by measuring, and record it for this CPU (or GPU).

    Every later compile on this machine uses the records, for any network that has such a layer; the report says
    for which layers. --tuning names a file to share between machines with the same CPU; what --device recorded is
    compiled with it for that target and CPU.
    """
    from dataclasses import asdict

    from pconv.bench import timing
    from pconv.devices import connect
    from pconv.errors import DeviceError
    from pconv.tune import tune as search

    settings = options.settings_with_rate(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
    )
    if cpus and not device:
        raise DeviceError("--cpus is for --device; here, Engine.affinity names the cores.")
    shapes = options.shapes(input)
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track, settings) as found,
        connect(device) if device else nullcontext() as there,
        timing.alone(console.note_waiting),
    ):
        if there is None:
            console.note_busy()
        result = search(
            found.path,
            inputs=shapes,
            target=target,
            cpu=cpu,
            device=there,
            cpus=cpus or "",
            dtype=dtype,
            dense=tuple(dense or ()),
            fold=fold or 1,
            threads=threads,
            seconds=seconds,
            cc=cc,
            path=tuning,
            on_event=track,
        )
    if json:
        console.print_json({**asdict(result), "path": str(result.path)})
    else:
        _show(result)


def _show(result: "Tuned") -> None:
    table = console.table("layer", "schedule", "of the modelled time")
    for key, record in sorted(result.improved.items(), key=lambda item: item[1].ratio):
        table.add_row(key.partition(" (")[0], record.schedule, f"{record.ratio:.2f}")
    if result.improved:
        console.stdout().print(table)
    gain = result.modelled_ms / result.tuned_ms
    kept = f"recorded in {result.path}" if gain > 1 else "not faster as a whole, so nothing was recorded"
    console.stdout().print(
        f"{console.count(result.rounds, 'round')} in {result.seconds:.0f} s: {len(result.improved)} of "
        f"{result.layers} kinds of layer improved; the network {units.milliseconds(result.modelled_ms)} as modelled, "
        f"{units.milliseconds(result.tuned_ms)} tuned ({gain:.2f}x); {kept}",
        soft_wrap=True,
    )
