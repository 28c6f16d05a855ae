"""Charts: an SVG whose bars are as long as the numbers say."""

import re
from xml.etree import ElementTree

import pytest

from pconv.report.charts import COLOURS, Bar, latency_chart, number

BARS = [Bar("peer", 4.0, "peer"), Bar("ours dense", 3.0, "dense"), Bar("ours", 1.0, "pruned", "4x as fast")]


def lengths(svg: str) -> dict[str, float]:
    """Measure the bars by colour."""
    found = {}
    for path, style in re.findall(r'<path d="([^"]*)"[^>]*style="fill: (#\w+)', svg):
        xs = [float(x) for x in re.findall(r"[ML] (-?[\d.]+) ", path)]
        found[style] = max(xs) - min(xs)
    return found


def test_bars_are_to_scale_and_carry_their_numbers() -> None:
    svg = latency_chart(BARS)
    ElementTree.fromstring(svg)
    found = {kind: lengths(svg)[colour] for kind, colour in COLOURS.items()}
    assert found["peer"] / found["pruned"] == pytest.approx(4, rel=1e-3)
    assert found["dense"] / found["pruned"] == pytest.approx(3, rel=1e-3)
    for text in ("4.00 ms", "3.00 ms", "1.00 ms · 4x as fast", "ours dense"):
        assert text in svg


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert latency_chart(BARS) == latency_chart(BARS)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234.5, "1,234"), (0, "0.000")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text
