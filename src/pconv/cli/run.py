"""`pconv run`: a model on an array, a picture, or random numbers."""

import re
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from pconv.cli import arrays, console, models, options

EPILOG = """Examples:

pconv run net.so --input x.npy --output y.npy

pconv run squeezenet.onnx --input cat.jpg --top 5 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

pconv run net.so --threads 2 --repeat 100
"""

_SHAPE = re.compile(r".+=\d+(,\d+)*")


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, run, EPILOG)


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A compiled model (.so, .pcl), an ONNX file, or a name of the zoo."
        ),
    ],
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A .npy file or a picture; NAME=FILE where there are several inputs. NAME=N,C,H,W is the shape of one "
            "that an ONNX file leaves open.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the output: .npy (several: .npz)."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the largest values to print.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help=r"\[default: the physical cores]")] = None,
    repeat: Annotated[
        int,
        typer.Option(min=1, help="Run this many times, after one more run, and say how long a run takes."),
    ] = 1,
    mean: options.Mean = "0",
    std: options.Std = "1",
    dtype: options.DType = None,
    json: options.Json = False,
) -> None:
    """Run a model and print its largest outputs. A compiled model needs no compiler, torch or onnx here."""
    scale = arrays.Scale.parse(mean, std)
    files = [text for text in input or () if not _SHAPE.fullmatch(text) or Path(text).exists()]
    open_shapes = options.shapes([text for text in input or () if text not in files])
    with console.progress(f"loading {model}", quiet=json) as track:
        engine = models.engine(model, threads, track, dtype=dtype, inputs=open_shapes)
    if output is not None:
        arrays.check_output(output, len(engine.outputs), files)
    shapes = {info.name: info.shape for info in engine.inputs}
    given = arrays.read_inputs(files, shapes, scale)
    call = tuple(given[name] for name in shapes)
    if repeat > 1:
        console.note_busy()
        engine(*call)  # not timed: a GPU's code may be compiled only now
    samples = []
    for _ in range(repeat):
        begin = time.perf_counter()
        result = engine(*call)
        samples.append((time.perf_counter() - begin) * 1e3)
    results = result if isinstance(result, tuple) else (result,)
    outputs = dict(zip((info.name for info in engine.outputs), results, strict=True))
    if output is not None:
        arrays.write_outputs(output, outputs)
    described = [_describe(name, array, top) for name, array in outputs.items()]
    timing = {"median_ms": median(samples), "min_ms": min(samples), "runs": repeat, "threads": engine.threads}
    if json:
        console.print_json({"outputs": described, **timing})
        return
    for one in described:
        _show(one)
    if repeat > 1:
        said = f"median {median(samples):.3f} ms, fastest {min(samples):.3f} ms"
        print(f"{repeat} runs, {console.count(engine.threads, 'thread')}: {said}")
    if output is not None:
        print(f"wrote {output}")


def _describe(name: str, array: Any, top: int) -> dict[str, Any]:
    """Summarise an output: a classifier's ([n, k]) with the largest values of each sample, integers by their shares."""
    if array.dtype.kind in "biu":
        return _describe_integers(name, array, top)
    described = {
        "name": name,
        "shape": list(array.shape),
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean()),
    }
    if array.ndim == 2:
        order = (-array).argsort(axis=1, kind="stable")[:, :top]
        described["top"] = [
            [{"index": int(i), "value": float(row[i])} for i in chosen]
            for row, chosen in zip(array, order, strict=True)
        ]
    return described


def _describe_integers(name: str, array: Any, top: int) -> dict[str, Any]:
    """Summarise classes, places or a mask: how many there are, and which are the most frequent."""
    import numpy as np

    values, counts = np.unique(array, return_counts=True)
    order = (-counts).argsort(kind="stable")[:top]
    return {
        "name": name,
        "shape": list(array.shape),
        "type": array.dtype.name,
        "min": values[0].item(),
        "max": values[-1].item(),
        "values": len(values),
        "most": [{"value": values[i].item(), "share": counts[i].item() / array.size} for i in order],
    }


def _show(described: dict[str, Any]) -> None:
    shape = " x ".join(map(str, described["shape"]))
    if "most" in described:
        shares = ", ".join(f"{one['value']} ({one['share']:.1%})" for one in described["most"])
        several = f"{described['values']} values, most often {shares}"
        said = several if described["values"] > 1 else f"all {described['min']}"
        print(f"{described['name']}: {shape} {described['type']}, {said}")
        return
    spread = ", ".join(f"{key} {described[key]:.4g}" for key in ("min", "max", "mean"))
    print(f"{described['name']}: {shape}, {spread}")
    for i, best in enumerate(described.get("top", ())):
        values = "  ".join(f"{one['index']}: {one['value']:.4g}" for one in best)
        print(f"  sample {i}, largest: {values}")
