"""Owns the drawings of a pruned model: what layers keep, accuracy against compression, and all of it as one picture."""

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from pconv.report.accuracy import Series
from pconv.report.charts import COLOURS, INK, MUTED, RULE, STYLE, svg
from pconv.report.curves import DPI, TINTS, WIDTH_INCHES
from pconv.report.page import PatternUse, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = tuple[str, float, float | None]
"""A layer's name, and the shares of its weights and of its norm that are kept."""
PER_ROW = 6


def draw_layers(rows: Sequence[Row]) -> str:
    """Draw what every layer keeps, as bars. Returns: an `<svg>` element."""
    return _draw([(_layers_height(rows), lambda axes: _layers(axes, rows))])


def draw_accuracy(series: Sequence[Series]) -> str:
    """Draw accuracy against compression. Returns: an `<svg>` element."""
    return _draw([(3.6, lambda axes: _accuracy(axes, series))])


def save_png(
    title: str, patterns: Sequence[PatternUse], rows: Sequence[Row], series: Sequence[Series], file: IO[bytes]
) -> None:
    """Draw everything into one picture."""
    lines = -(-len(patterns) // PER_ROW)
    parts: list[Any] = [(1.55 * lines, lambda axes: _gallery(axes, patterns))] if patterns else []
    parts.append((_layers_height(rows), lambda axes: _layers(axes, rows)))
    if series:
        parts.append((3.6, lambda axes: _accuracy(axes, series)))
    _draw(parts, file, title)


def _draw(parts: Sequence[Any], file: IO[bytes] | None = None, title: str = "") -> str:
    import matplotlib
    from matplotlib.figure import Figure

    heights = [height for height, _ in parts]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.4 * bool(title)), layout="constrained")
        if title:
            figure.suptitle(title, fontweight="bold", x=0.01, ha="left")
        grid = figure.add_gridspec(len(parts), 1, height_ratios=heights)
        for i, (_, draw) in enumerate(parts):
            draw(figure.add_subplot(grid[i]))
        if file is None:
            return svg(figure)
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": "pconv"})
        return ""


def _layers_height(rows: Sequence[Row]) -> float:
    return 0.24 * len(rows) + 0.9


def _layers(axes: "Axes", rows: Sequence[Row]) -> None:
    positions = range(len(rows))
    norms = [norm for _, _, norm in rows if norm is not None]
    if len(norms) == len(rows):
        axes.barh(positions, norms, height=0.7, color=COLOURS["dense"], label="norm kept")
    axes.barh(
        positions, [kept for _, kept, _ in rows], height=0.7, color=COLOURS["pruned"], label="weights kept"
    )
    axes.set_yticks(positions, [name for name, _, _ in rows], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    _plain(axes, grid="x")


def _accuracy(axes: "Axes", series: Sequence[Series]) -> None:
    for one, colour in zip(series, TINTS * len(series), strict=False):
        xs, ys = [p.compression for p in one.points], [100 * p.accuracy for p in one.points]
        axes.plot(xs, ys, color=colour, linewidth=1.4, label=one.label)
        for x, y, point in zip(xs, ys, one.points, strict=True):
            axes.plot(x, y, "o", color=colour, markerfacecolor="white" if point.shortened else colour)
            axes.annotate(
                f"{y:.2f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=9
            )
        if one.dense is not None:
            axes.axhline(100 * one.dense, color=colour, linestyle=":", linewidth=1.2)
    axes.set_xlabel("compression of the whole network (hollow: shortened run; dotted: dense)")
    axes.set_ylabel("accuracy, %")
    axes.margins(x=0.08, y=0.15)
    axes.legend(frameon=False, loc="lower left")
    _plain(axes, grid="y")


def _gallery(axes: "Axes", patterns: Sequence[PatternUse]) -> None:
    from matplotlib.patches import Rectangle

    for i, use in enumerate(patterns):
        left, top = 4.6 * (i % PER_ROW), 4.4 * (i // PER_ROW)
        for y, line in enumerate(use.mask):
            for x, kept in enumerate(line):
                colour = COLOURS["pruned"] if kept else RULE
                axes.add_patch(Rectangle((left + x, top + y), 0.86, 0.86, color=colour, linewidth=0))
        axes.text(
            left + 1.43, top + 3.55, percent(use.share), ha="center", va="center", color=INK, fontsize=9
        )
    axes.set_xlim(-0.2, 4.6 * PER_ROW)
    axes.set_ylim(4.4 * -(-len(patterns) // PER_ROW), -0.2)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _plain(axes: "Axes", grid: Any) -> None:
    axes.grid(axis=grid, color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
