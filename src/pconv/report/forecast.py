"""The page of a forecast: latency against compression in words, curves and a table of every layer."""

import io
from pathlib import Path
from typing import Any

from pconv.bench.machine import line
from pconv.files import write_atomically
from pconv.forecast.table import Table
from pconv.forecast.words import sentence, speed_up, verdict
from pconv.report.charts import number
from pconv.report.curves import Curve, Panel, draw_layers, draw_network, save_png
from pconv.report.page import fill, require_packages

DRAWN_LAYERS = 24
"""The slowest ones get a panel of their own; the table has them all."""


def render_forecast(table: Table) -> str:
    """Turn a measured table into one self-contained HTML text.

    Raises: PconvError when matplotlib or jinja2 is missing.
    """
    require_packages()
    layers = layer_panels(table)
    best = min(table.variants, key=lambda variant: variant.median_ms)
    return fill(
        "forecast.html.j2",
        table=table,
        verdict=verdict(table),
        sentences=[sentence(table, variant) for variant in table.variants],
        speed_ups=[f"{speed_up(table, variant):.2f}x" for variant in table.variants],
        best=best,
        network=draw_network(network_panel(table)),
        layers=draw_layers(layers) if layers else "",
        drawn=len(layers),
        rows=layer_rows(table),
        number=number,
        checked=all(variant.max_rel_err is not None for variant in table.variants),
        samples=min(len(variant.samples_ms) for variant in table.variants),
        machine=line(table.machine),
    )


def write_forecast(table: Table, page: Path, picture: Path) -> None:
    """Write the page and its drawing as PNG.

    Raises: PconvError when a package is missing or a file cannot be written.
    """
    html = render_forecast(table).encode("utf-8")
    drawn = io.BytesIO()
    save_png(network_panel(table), layer_panels(table), drawn)
    write_atomically(page, html, "Name another place for the page.")
    write_atomically(picture, drawn.getvalue(), "Name another place for the page.")


def network_panel(table: Table) -> Panel:
    """Return the network's curves, one a group."""
    curves = tuple(
        Curve(_group(group), tuple((v.compression, v.median_ms) for v in table.of_group(group)))
        for group in table.groups
    )
    threads = "1 thread" if table.threads == 1 else f"{table.threads} threads"
    return Panel(f"{table.model}: median latency, {threads}, batch 1", curves, table.rest_ms(table.groups[0]))


def layer_panels(table: Table) -> list[Panel]:
    """Return the curves of the slowest layers that pruning reaches, in the order of the network."""
    reached = [
        dense
        for dense in table.dense.layers
        if any(layer.rate > 1 for v in table.variants for layer in v.layers if layer.name == dense.name)
    ]
    slowest = {layer.name for layer in sorted(reached, key=lambda layer: -layer.ms)[:DRAWN_LAYERS]}
    return [
        Panel(layer.name, tuple(_curve(table, layer.name, group) for group in table.groups))
        for layer in reached
        if layer.name in slowest
    ]


def layer_rows(table: Table) -> list[dict[str, Any]]:
    """Return a line for every layer and one for the rest: milliseconds, and the shade of each variant's cell."""
    rows = []
    for i, layer in enumerate(table.dense.layers):
        times = [variant.layers[i].ms for variant in table.variants]
        shape = [f"{variant.layers[i].rate:g}x: {variant.layers[i].reason}" for variant in table.variants]
        rows.append({"name": layer.name, "times": times, "notes": shape, "shades": _shades(times)})
    rest = [variant.rest_ms for variant in table.variants]
    rows.append(
        {"name": "rest (not pruned)", "times": rest, "notes": [""] * len(rest), "shades": [0.0] * len(rest)}
    )
    return rows


def _shades(times: list[float]) -> list[float]:
    """Shade by what is saved of the dense layer's time, 0..1."""
    return [max(0.0, 1 - ms / times[0]) if times[0] else 0.0 for ms in times]


def _curve(table: Table, name: str, group: int) -> Curve:
    points = tuple(
        (variant.compression, layer.ms)
        for variant in table.of_group(group)
        for layer in variant.layers
        if layer.name == name
    )
    return Curve(_group(group), points)


def _group(group: int) -> str:
    return f"groups of {group}" if group > 1 else "filters on their own"
