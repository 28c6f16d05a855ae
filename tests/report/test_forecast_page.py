"""The page of a forecast: curves at the measured points, every layer, and nothing from elsewhere."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pconv.errors import PconvError
from pconv.forecast import LayerTime, Table, Variant
from pconv.report.forecast import (
    DRAWN_LAYERS,
    layer_panels,
    layer_rows,
    network_panel,
    render_forecast,
    write_forecast,
)


def _table(names: tuple[str, ...] = ("conv1", "<fc>")) -> Table:
    def variant(rate: float, group: int) -> Variant:
        layers = tuple(
            LayerTime(
                name, rate, group, 4.0 / rate / group, round(9e6 / rate), 9_000_000, "f32_test", "because"
            )
            for name in names
        )
        median = 0.5 + sum(layer.ms for layer in layers)
        return Variant(rate, group, median, median, (median,) * 9, 0.5, 1_500_000, None, layers)

    variants = (variant(1.0, 1), variant(4.0, 1), variant(8.0, 1), variant(4.0, 4), variant(8.0, 4))
    return Table("tiny", 2, {}, {"cpu": "A CPU", "cores": 2}, variants)


def test_curves_begin_at_the_dense_network() -> None:
    panel = network_panel(_table())
    assert [curve.label for curve in panel.curves] == ["filters on their own", "groups of 4"]
    assert panel.curves[1].points == ((1.0, 8.5), (4.0, 1.0), (8.0, 0.75))
    assert panel.floor_ms == 0.5
    first, _ = layer_panels(_table())
    assert (first.title, first.curves[0].points) == ("conv1", ((1.0, 4.0), (4.0, 1.0), (8.0, 0.5)))


def test_every_layer_and_the_rest_have_a_row() -> None:
    first, _, rest = layer_rows(_table())
    assert (first["name"], first["times"]) == ("conv1", [4.0, 1.0, 0.5, 0.25, 0.125])
    assert first["shades"] == [0.0, 0.75, 0.875, 0.9375, 0.96875]
    assert rest["times"] == [0.5] * 5


def test_only_the_slowest_layers_that_are_pruned_are_drawn() -> None:
    table = _table(tuple(f"l{i}" for i in range(DRAWN_LAYERS + 3)))
    assert len(layer_panels(table)) == DRAWN_LAYERS
    dense = replace(table, variants=tuple(_all_dense(variant) for variant in table.variants))
    assert layer_panels(dense) == []


def _all_dense(variant: Variant) -> Variant:
    return replace(variant, layers=tuple(replace(layer, rate=1.0) for layer in variant.layers))


def test_page_says_it_in_words_and_escapes_names() -> None:
    html = render_forecast(_table())
    for text in (
        "Training is worth it: 8x in groups of 4: 0.750 ms, 11.3x faster than the dense network in pconv",
        "with 2 threads",
        "A CPU",
        "&lt;fc&gt;",
        "8.50 ms",
        "8x: because",
    ):
        assert text in html
    assert html.count("<svg") == 2 and "<fc>" not in html
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|compared with ONNX Runtime", html)


def test_page_and_picture_are_files(tmp_path: Path) -> None:
    write_forecast(_table(), tmp_path / "f.html", tmp_path / "f.png")
    assert (tmp_path / "f.html").read_text("utf-8") == render_forecast(_table())
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(
        PconvError, match=r"null/f\.html: cannot be written .*Name another place for the page"
    ):
        write_forecast(_table(), Path("/dev/null/f.html"), tmp_path / "f.png")
