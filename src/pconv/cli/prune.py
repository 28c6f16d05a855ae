"""`pconv prune`: zeros into the weights of an ONNX file. Needs neither torch nor a compiler."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pconv.cli import console, models, options
from pconv.errors import PconvError

EPILOG = """Examples:

pconv prune vgg16.onnx -o pruned.onnx --compression 8

pconv prune net.onnx -o out.onnx --compression 6 --group 4 --exclude "head.*" --layer conv2=dense

pconv prune net.onnx -o out.onnx --recipe recipe.toml
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
    json: options.Json = False,
) -> None:
    """Prune a model by magnitude: 3x3 kernels to patterns, and whole kernels away.

    The output is an ordinary ONNX file whose weights hold the zeros, so any engine runs it; pconv makes them
    pay. Without fine-tuning the accuracy falls: prune in training with pconv.prune(module, recipe), or
    use this for timing and for models that bear it. The default is 8x with the patterns of scp8.
    """
    from pconv.recipe import Recipe

    settings = options.recipe_settings(
        compression=compression,
        patterns=patterns,
        group=group,
        rate_1x1=rate_1x1,
        rate_fc=rate_fc,
        exclude=exclude,
        layer=layer,
    )
    if recipe is not None and settings:
        raise PconvError(f"--recipe {recipe}: it holds all settings; leave the other pruning options out.")
    with (
        console.replacing(output) as draft,
        console.progress(f"reading {model}", quiet=json) as track,
        models.source(model, track) as found,
    ):
        used = Recipe.load(recipe) if recipe is not None else Recipe.from_dict(settings)
        statistics = models.prune_file(found, used, draft, track).statistics()
    if json:
        console.print_json({"output": str(output), "bytes": output.stat().st_size, **statistics})
    else:
        show(statistics)
        console.stdout().print(f"wrote {output}", markup=False)


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
