"""`pconv prune`: zeros into the weights of an ONNX file. Needs neither torch nor a compiler."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pconv.cli import arrays, calibration, console, models, options

EPILOG = """Examples:

pconv prune vgg16.onnx -o pruned.onnx --compression 8

pconv prune net.onnx -o out.onnx --compression 6 --group 4 --exclude "head.*" --layer conv2=dense

pconv prune net.onnx -o out.onnx --recipe recipe.toml

pconv prune net.onnx -o out.onnx --compression 2.25 --calibrate images/ --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.add_command(app, prune, EPILOG)


def prune(
    model: options.ModelOrName,
    output: options.Output,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings from a TOML file, instead of the options below."),
    ] = None,
    compression: options.Compression = None,
    patterns: options.Patterns = None,
    group: options.Group = None,
    rate_1x1: options.Rate1x1 = None,
    rate_fc: options.RateFc = None,
    exclude: options.Exclude = None,
    layer: options.LayerRates = None,
    calibrate: calibration.Calibrate = None,
    most: calibration.Most = calibration.MOST,
    size: calibration.Size = None,
    mean: options.Mean = "0",
    std: options.Std = "1",
    json: options.Json = False,
) -> None:
    """Prune a model: 3x3 kernels to patterns, and whole kernels away.

    The output is an ordinary ONNX file whose weights hold the zeros, so any engine runs it; pconv makes them
    pay. The default is 8x with the patterns of scp8, chosen by magnitude: good for timing, but the accuracy falls.

    With --calibrate it falls much less: some hundred images without labels choose what goes by its effect on each
    layer's output, and the kept weights are refitted by least squares. It takes minutes and needs onnxruntime.
    What is still lost, training brings back: pconv.prune(module, recipe).
    """
    settings = options.recipe_settings(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
        layer=layer,
    )
    used, scale = options.recipe(recipe, settings), arrays.Scale.parse(mean, std)
    console.check_writable(output, model=model, sources={"recipe": recipe})
    with (
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track) as found,
    ):
        images = calibration.read(calibrate, found.path, most, size, scale, track)
        sparsity, whole = models.prune_file(found, used, output, track, images)
        statistics = sparsity.statistics() | {"not_pruned": whole}
    if json:
        console.print_json({"output": str(output), "bytes": output.stat().st_size, **statistics})
    else:
        show(statistics)
        if whole:
            layers = ", ".join(f"{name} ({kind})" for name, kind in whole.items())
            console.stdout().print(
                f"not pruned: {layers}; patterns and connectivity are of 2-D convolutions and linear layers",
                soft_wrap=True,
            )
        console.stdout().print(f"wrote {output}", soft_wrap=True)


def show(statistics: dict[str, Any], title: str | None = None) -> None:
    """Print what pruning left, layer by layer."""
    table = console.table(
        "layer", "weights", "compression", "kernels per filter", "patterns", "group", title=title
    )
    for name, layer in statistics["layers"].items():
        few, most = layer["kernels_per_filter"]
        table.add_row(
            name,
            " x ".join(map(str, layer["shape"])),
            console.rate(layer["compression_rate"]),
            f"{few}" if few == most else f"{few}-{most}",
            str(layer["patterns"]),
            str(layer["group"]),
        )
    table.add_section()
    table.add_row("all", f"{statistics['total_elems']:,}", console.rate(statistics["compression_rate"]))
    console.stdout().print(table)
