"""`pconv compile`: a model to one self-contained shared library."""

import time
from pathlib import Path
from typing import Annotated

import typer

from pconv import units
from pconv.cli import console, models, options
from pconv.errors import PconvError

EPILOG = """Examples:

pconv compile pruned.onnx -o net.so

pconv compile resnet18 -o resnet18.so --compression 8

pconv compile net.onnx -o net.so --target android-arm64 --dtype fp16 --input image=1,3,320,320

pconv compile net.onnx -o net.so --target linux-x86_64 --cpu x86-64-v4,x86-64-v3

pconv compile face.onnx -o face.so --fold 4
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, compile, EPILOG)


def compile(
    model: options.ModelOrName,
    output: options.Output,
    input: options.Shapes = None,
    target: options.Target = None,
    cpu: options.Cpu = None,
    dtype: options.DType = None,
    cc: options.Compiler = None,
    tune: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=1, help="First search the fastest schedules, as `pconv tune` does."
        ),
    ] = None,
    tuning: options.Tuning = None,
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
    """Compile a model to one shared library: code, weights and manifest, with no dependency but libc.

    Zeros in the weights are found and turned into speed, whoever pruned them; a dense model compiles as well.
    Run the result with pconv run, with pconv.load in Python, or from C with pconv.h. Compiled code is cached.

    --cpu and --dtype may be several with commas between: the file holds them all, and when it is opened, the most
    demanding that the CPU can run is taken.
    """
    from pconv.compiler import compile_file

    settings = options.settings_with_rate(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
    )
    if tune is not None and (target is not None or cpu is not None):
        raise PconvError(
            "--tune: it measures on this machine, for this machine; leave --target and --cpu out, or tune apart "
            "with `pconv tune --device`."
        )
    if tune is not None and dtype is not None and "," in dtype:
        raise PconvError(
            f"--tune --dtype {dtype}: one type is tuned at a time; tune each first with `pconv tune --dtype TYPE`, "
            "and leave --tune out."
        )
    start = time.perf_counter()
    console.check_writable(output, model=model, sources={"file of tuning": tuning})
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track, settings) as found,
    ):
        if tune is not None:
            _tune(found.path, input, dtype, dense, fold, cc, tuning, tune, track)
            if tuning is not None and not tuning.is_file():
                tuning = None  # nothing was faster than modelled, so nothing was recorded
        compile_file(
            found.path,
            inputs=options.shapes(input),
            target=target,
            cpu=cpu,
            dtype=dtype,
            cc=cc,
            tuned=tuning,
            dense=tuple(dense or ()),
            fold=fold or 1,
            out=output,
            progress=track.steps,
        )
    seconds, size = time.perf_counter() - start, output.stat().st_size
    if json:
        console.print_json({"output": str(output), "bytes": size, "seconds": round(seconds, 3)})
    else:
        console.stdout().print(f"wrote {output}, {units.megabytes(size)}, in {seconds:.1f} s", soft_wrap=True)


def _tune(
    path: Path,
    input: options.Shapes,
    dtype: options.DType,
    dense: options.Dense,
    fold: options.Fold,
    cc: options.Compiler,
    tuning: options.Tuning,
    seconds: float,
    track: console.Tracker,
) -> None:
    from pconv.bench import timing
    from pconv.tune import tune

    with timing.alone(console.note_waiting):
        tune(
            path,
            inputs=options.shapes(input),
            dtype=dtype,
            dense=tuple(dense or ()),
            fold=fold or 1,
            cc=cc,
            path=tuning,
            seconds=seconds,
            on_event=track,
        )
