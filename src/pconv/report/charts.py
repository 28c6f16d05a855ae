"""Owns the charts: numbers and labels in, self-contained SVG text out."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#16202c", "#5d6b7a", "#e3e8ee"
COLOURS = {"pruned": "#0f766e", "dense": "#8fb8b3", "peer": "#c3ccd6"}
"""Ours stands out, ours dense is its tint, everybody else is grey."""

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the font of the page
    "svg.hashsalt": "pconv",  # the same numbers give the same bytes
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 11,
    "text.parse_math": False,  # a layer's name may hold dollars
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Bar:
    """One bar: what it is, how long it took, and its note behind the number. `kind` is a key of COLOURS."""

    label: str
    value: float
    kind: str
    note: str = ""


def latency_chart(bars: Sequence[Bar]) -> str:
    """Draw latencies, in milliseconds, as horizontal bars, each with its number.

    Returns: an `<svg>` element.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 0.5 * len(bars) + 0.2), layout="constrained")
        axes = figure.add_subplot()
        positions = range(len(bars))
        axes.barh(
            positions, [bar.value for bar in bars], height=0.6, color=[COLOURS[bar.kind] for bar in bars]
        )
        top = max((bar.value for bar in bars), default=1.0)
        for y, bar in zip(positions, bars, strict=True):
            text = f"{number(bar.value)} ms" + (f" · {bar.note}" if bar.note else "")
            weight = "bold" if bar.kind == "pruned" else "normal"
            axes.text(bar.value + top * 0.012, y, text, va="center", fontweight=weight)
        axes.set_yticks(positions, [bar.label for bar in bars])
        axes.set_xlim(0, top * 1.36)
        axes.set_xticks([])
        axes.invert_yaxis()
        axes.tick_params(length=0, pad=8)
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        axes.spines["left"].set_color(RULE)
        return svg(figure)


def svg(figure: "Figure") -> str:
    """Write a figure as an `<svg>` element; to be called where STYLE holds."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": "pconv"})
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def number(value: float) -> str:
    """Write a quantity with three significant digits and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
