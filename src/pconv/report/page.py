"""Owns what the page says, as plain data, and its rendering; whoever measured something fills a Page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pconv._version import __version__
from pconv.errors import PconvError
from pconv.files import write_atomically
from pconv.report.charts import Bar, latency_chart

Mask = tuple[tuple[bool, ...], ...]
"""The kept positions of a kernel, row by row."""


@dataclass(frozen=True)
class Stat:
    """One big number and what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Row:
    """One line of the results table; its cells fit the page's columns."""

    cells: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True)
class PatternUse:
    """A pattern and the share of kept kernels that use it, 0..1."""

    name: str
    mask: Mask
    share: float


@dataclass(frozen=True)
class Layer:
    """One sparse layer: its kept share of weights, and its kernels' share per pattern (as in the gallery)."""

    name: str
    shape: str
    density: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Page:
    """All that the page says."""

    title: str
    lede: str
    stats: Sequence[Stat]
    columns: Sequence[str]
    rows: Sequence[Row]
    bars: Sequence[Bar]
    patterns: Sequence[PatternUse]
    layers: Sequence[Layer]
    steps: Sequence[str]
    machine: str


def require_packages() -> None:
    """Check that a page can be made, before the work that it is to show.

    Raises: PconvError when matplotlib or jinja2 is missing.
    """
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise PconvError(f"report: {' and '.join(missing)} not installed; pip install {' '.join(missing)}.")


def render(page: Page) -> str:
    """Turn a page into one self-contained HTML text.

    Raises: PconvError when matplotlib or jinja2 is missing.
    """
    require_packages()
    chart = latency_chart(page.bars) if page.bars else ""
    return fill("page.html.j2", page=page, chart=chart)


def fill(template: str, **values: Any) -> str:
    """Render a template of this room; texts are escaped, but for those it passes to `drawing`.

    Raises: PconvError when matplotlib or jinja2 is missing.
    """
    require_packages()
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pconv.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["drawing"] = Markup
    return environment.get_template(template).render(**values, version=__version__)


def write(page: Page, path: Path) -> Path:
    """Render a page into a file, whole or not at all.

    Raises: PconvError when a package is missing or the file cannot be written.
    """
    html = render(page).encode("utf-8")
    return write_atomically(path, html, "Name another place for the report.")


def percent(share: float) -> str:
    """Write a share as a percentage, with a decimal only where it says something."""
    value = 100 * share
    return f"{value:.0f}%" if value >= 9.95 or value == 0 else f"{value:.1f}%"
