"""The page: complete, self-contained, and safe with any text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pconv.errors import PconvError
from pconv.report import Layer, Page, PatternUse, Row, Stat, render, write
from pconv.report import page as page_module
from pconv.report.charts import Bar

CROSS = ((False, True, False), (True, True, True), (False, False, False))
CORNER = ((True, True, False), (True, True, False), (False, False, False))

PAGE = Page(
    title="Digits, pruned and compiled",
    lede="A small network.",
    stats=[Stat("8.0x", "compression")],
    columns=["", "Latency"],
    rows=[Row(("dense", "0.41 ms")), Row(("pruned", "0.12 ms"), strong=True)],
    bars=[Bar("dense", 0.41, "dense"), Bar("pruned", 0.12, "pruned", "3.4x")],
    patterns=[PatternUse("010/111/000", CROSS, 0.75), PatternUse("110/110/000", CORNER, 0.25)],
    layers=[Layer("conv2", "32 x 16", 0.125, (0.7, 0.3))],
    steps=["Trained for 3 epochs."],
    machine="A CPU · 2 cores",
)


class Tags(HTMLParser):
    """Collect tags and attributes, and check that every element is closed where it was opened."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_says_everything() -> None:
    html = render(PAGE)
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    for text in (
        "Digits, pruned and compiled",
        "8.0x",
        "0.12 ms",
        "75%",
        "conv2",
        "Trained for 3",
        "A CPU · 2",
    ):
        assert text in html
    glyphs = [attrs.get("class") for tag, attrs in tags.seen if tag == "rect"]
    assert glyphs.count("on") == 2 * 8  # two patterns of four, in the gallery and at the head of the layers
    assert glyphs.count("off") == 2 * 10


def test_page_needs_nothing_from_elsewhere() -> None:
    html = render(PAGE)
    tags = Tags()
    tags.feed(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags.seen}
    outside = [value for _, attrs in tags.seen for key, value in attrs.items() if key in ("src", "href")]
    assert all(value and value.startswith("#") for value in outside)
    assert not re.search(r"@import|url\((?!#)", html)


def test_page_escapes_what_a_model_brings() -> None:
    html = render(replace(PAGE, title="<script>", layers=[Layer("<b>", "1 x 1", 1.0, (0.0, 0.0))]))
    assert "&lt;script&gt;" in html and "<script>" not in html
    assert "&lt;b&gt;" in html


def test_page_without_a_chart_or_patterns_leaves_their_sections_out() -> None:
    html = render(replace(PAGE, bars=[], patterns=[], layers=[]))
    assert "Latency</h2>" not in html and "Patterns</h2>" not in html


def test_write_makes_one_file(tmp_path: Path) -> None:
    path = write(PAGE, tmp_path / "page.html")
    assert path.read_text("utf-8") == render(PAGE)
    assert list(tmp_path.iterdir()) == [path]


def test_write_to_a_place_that_is_none() -> None:
    with pytest.raises(
        PconvError, match=r"null/page\.html: cannot be written .*Name another place for the report"
    ):
        write(PAGE, Path("/dev/null/page.html"))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    message = r"report: jinja2 and matplotlib not installed; pip install jinja2 matplotlib\.$"
    with pytest.raises(PconvError, match=message):
        render(PAGE)


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (0.004, "0.4%"), (0.0999, "10%"), (0.1, "10%"), (1.0, "100%")]
)
def test_percent(share: float, text: str) -> None:
    assert page_module.percent(share) == text
