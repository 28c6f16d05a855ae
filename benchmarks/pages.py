"""Owns what scripts write into pages: a Markdown table, and the part of a page between two marks.

The marks of a part are `<!-- NAME:begin -->` and `<!-- NAME:end -->`, each on a line of its own.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
DOCS = ROOT / "docs"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the first column names, the others are numbers."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def between(text: str, mark: str, body: str) -> str:
    """Replace what stands between the marks of a text.

    Raises: ValueError when the text does not have both marks once.
    """
    begin, end = f"<!-- {mark}:begin -->\n", f"<!-- {mark}:end -->\n"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{begin.strip()} and {end.strip()} must stand there once, as lines.")
    head, rest = text.split(begin)
    return f"{head}{begin}{body}\n{end}{rest.split(end)[1]}"


def write(page: Path, mark: str, body: str) -> None:
    """Replace what stands between the marks of a page."""
    page.write_text(between(page.read_text("utf-8"), mark, body), "utf-8")
    print(f"wrote {page}")
