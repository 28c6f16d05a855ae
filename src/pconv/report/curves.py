"""Owns the drawing of a forecast: latency against compression, for the network and for each layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from pconv.report.charts import COLOURS, INK, MUTED, RULE, STYLE, number, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TINTS = (COLOURS["pruned"], "#b45309", "#4f46e5", "#be185d", "#0369a1")
COLUMNS = 4
WIDTH_INCHES = 8.2
DPI = 160


@dataclass(frozen=True)
class Curve:
    """Latency over compression, such as those of one group: (compression, ms) from left to right."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One set of axes; `floor_ms` is a level that no compression gets below."""

    title: str
    curves: tuple[Curve, ...]
    floor_ms: float | None = None


def draw_network(panel: Panel) -> str:
    """Draw one large panel, without its title: the page has one. Returns: an `<svg>` element."""
    return _draw([replace(panel, title="")], [], None)


def draw_layers(panels: Sequence[Panel]) -> str:
    """Draw a grid of small panels. Returns: an `<svg>` element."""
    return _draw([], panels, None)


def save_png(network: Panel, layers: Sequence[Panel], file: IO[bytes]) -> None:
    """Draw everything into one picture."""
    _draw([network], layers, file)


def _draw(large: Sequence[Panel], small: Sequence[Panel], file: IO[bytes] | None) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    rows = math.ceil(len(small) / COLUMNS)
    heights = [3.4] * len(large) + [1.65] * rows
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
        for i, panel in enumerate(large):
            _panel(figure.add_subplot(grid[i, :]), panel, numbers=True)
        for i, panel in enumerate(small):
            axes = figure.add_subplot(grid[len(large) + i // COLUMNS, i % COLUMNS])
            _panel(axes, panel, numbers=False)
            if i % COLUMNS == 0:
                axes.set_ylabel("ms", fontsize=7)
        return _finish(figure, file)


def _finish(figure: "Figure", file: IO[bytes] | None) -> str:
    if file is None:
        return svg(figure)
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": "pconv"})
    return ""


def _panel(axes: "Axes", panel: Panel, numbers: bool) -> None:
    ticks = sorted({x for curve in panel.curves for x, _ in curve.points})
    top = max((y for curve in panel.curves for _, y in curve.points), default=1.0) or 1.0
    for i, (curve, colour) in enumerate(zip(panel.curves, TINTS * 2, strict=False)):
        xs, ys = [x for x, _ in curve.points], [y for _, y in curve.points]
        axes.plot(xs, ys, color=colour, marker="o", markersize=5 if numbers else 3, label=curve.label)
        if numbers:
            _number(axes, curve, above=i == 0)
    if panel.floor_ms is not None:
        axes.axhline(panel.floor_ms, color=MUTED, linestyle=":", linewidth=1.2)
        label = f"not pruned: {number(panel.floor_ms)} ms"
        axes.text(ticks[0], panel.floor_ms, label, color=MUTED, ha="left", va="bottom", fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], fontsize=None if numbers else 7)
    axes.minorticks_off()
    axes.set_ylim(0, 1.12 * top)
    axes.tick_params(length=0, axis="both", labelcolor=MUTED)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    _label(axes, panel, numbers)


def _number(axes: "Axes", curve: Curve, above: bool) -> None:
    for x, y in curve.points[0 if above else 1 :]:  # all curves begin at the dense network
        offset: Any = (0, 6) if above else (0, -14)
        axes.annotate(number(y), (x, y), xytext=offset, textcoords="offset points", ha="center", fontsize=9)


def _label(axes: "Axes", panel: Panel, numbers: bool) -> None:
    if numbers:
        axes.set_ylabel("ms")
        axes.set_xlabel("compression of the pruned layers")
        axes.set_title(panel.title, color=INK, loc="left", fontweight="bold")
        if len(panel.curves) > 1:
            axes.legend(frameon=False, loc="upper right")
    else:
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(panel.title, fontsize=8, color=INK, loc="left")
