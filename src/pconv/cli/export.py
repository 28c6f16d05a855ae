"""`pconv export`: a model as a folder for an app's developer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pconv.cli import console, models, options
from pconv.errors import PconvError

EPILOG = """Examples:

pconv export pruned.onnx --target android-arm64 --cpu cortex-a76 --dtype fp16,fp32 -o out/

pconv export pruned.onnx --target android-arm64 --gpu opencl-fp16 -o out/

pconv export resnet18 --compression 8 --target ios-arm64 -o out/ --name classifier

cc -Iout/include out/example/classify.c out/lib/*/*.a -lpthread -o classify && ./classify image.npy labels.txt
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, export, EPILOG)


def export(
    model: options.ModelOrName,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write.")],
    target: options.Target = None,
    cpu: options.Cpu = None,
    dtype: options.DType = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Write the model for a GPU beside it, with what chooses between them in C: opencl, opencl-fp16, "
            "opencl-fp16-math.",
            rich_help_panel=options.BUILD,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=r"What C calls the model: NAME_open, ... \[default: the file's name]"
        ),
    ] = None,
    input: options.Shapes = None,
    cc: options.Compiler = None,
    tuning: options.Tuning = None,
    gpu_tuning: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The records of `pconv tune` for the GPU. "
            r"\[default: this machine's own, for its own GPU; none for others]",
            rich_help_panel=options.BUILD,
        ),
    ] = None,
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
    """Write all that an app needs of a model: C header, shared and static library, C text, wrappers, example.

    The C text builds by itself with CMake, also with Android's NDK; pconv_bench is an executable to push to a
    device, which prints the latency of each layer. README.md in the folder says how each part is used. A folder that
    an export wrote is replaced, unless something else is in it. As in `pconv compile`, --cpu and --dtype may be several
    with commas between.
    """
    from pconv.compiler import generate_program
    from pconv.deploy import write_folder

    settings = options.settings_with_rate(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
    )
    if gpu_tuning is not None and gpu is None:
        raise PconvError(
            f"--gpu-tuning {gpu_tuning}: nothing is written for a GPU; add --gpu, e.g. --gpu opencl-fp16, or leave "
            "--gpu-tuning out."
        )
    for what, file in (("model", model), ("file of tuning", tuning), ("GPU's file of tuning", gpu_tuning)):
        if (
            file is not None
            and Path(file).is_file()
            and Path(file).resolve().is_relative_to(output.resolve())
        ):
            raise PconvError(
                f"-o {output}: the {what} lies in it, and an export replaces it whole. Name another folder with -o."
            )
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track, settings) as found,
    ):
        said: dict[str, Any] = {"inputs": options.shapes(input), "dense": tuple(dense or ())}
        program = generate_program(
            found.path,
            target=target,
            cpu=cpu,
            dtype=dtype,
            fold=fold or 1,
            tuned=tuning,
            progress=track.steps,
            **said,
        )
        made = write_folder(
            program,
            output,
            name=name or found.name,
            gpu=generate_program(found.path, target=gpu, tuned=gpu_tuning, progress=track.steps, **said)
            if gpu
            else None,
            cc=cc,
            progress=track.steps,
        )
    if json:
        files = [str(path) for path in made.files]
        console.print_json(
            {"output": str(output), "name": made.name, "platform": made.platform, "files": files}
        )
        return
    console.stdout().print(
        f"wrote {output}: {made.name} for {made.platform}, {len(made.files)} files; begin with "
        f"{output / 'README.md'}",
        soft_wrap=True,
    )
