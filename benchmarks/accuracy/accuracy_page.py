"""What the scripts of this folder share: files of results, a row a case, and docs/accuracy.md with its tables."""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

from pconv.bench import machine

sys.path.append(str(Path(__file__).parents[1]))  # what the scripts beside this folder share
import pages

RESULTS = pages.RESULTS
PAGE = pages.DOCS / "accuracy.md"
WIDTH = 120

Document = dict[str, Any]
Page = Callable[[str, Document], str]
"""From a page's text and a file of results to the page with what these say."""


def parse(parser: ArgumentParser, cases: Collection[str], results: Path) -> Namespace:
    """Read a script's arguments: its own, and those that all have, the cases among them."""
    parser.add_argument("cases", nargs="*", default=list(cases), help=f"default: {' '.join(cases)}")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/accuracy.md")
    parser.add_argument("-o", "--output", type=Path, default=results)
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in cases:
            parser.error(f"{name}: no such case; allowed {', '.join(cases)}")
    return arguments


def read(path: Path) -> Document:
    """Read a file of results; one without rows where there is none yet."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {"results": []}


def add(path: Path, row: Document, cases: Iterable[str], **about: object) -> None:
    """Put a row in place of its case's last one; rows stand in the order of `cases`, `about` above them."""
    kept = {one["case"]: one for one in read(path)["results"]} | {row["case"]: row}
    document = about | {"results": [kept[case] for case in cases if case in kept]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


between = pages.between


def tabled(mark: str, table: Callable[[Document], str]) -> Page:
    """Make what puts a table between marks of docs/accuracy.md, and below it where its rows were measured."""
    return lambda text, document: between(text, mark, f"{table(document)}\n{machines(document['results'])}")


def write(page: Page, path: Path) -> None:
    """Write docs/accuracy.md anew, with what `page` makes of a file of results."""
    PAGE.write_text(page(PAGE.read_text("utf-8"), read(path)), "utf-8")


def machines(rows: Iterable[Document], before: str = "") -> str:
    """Say where rows were measured, each machine once, as lines of a page."""
    lines = dict.fromkeys(machine.line(row["machine"]) for row in rows)
    return fill(f"{before}{'; '.join(lines)}.", WIDTH, break_on_hyphens=False)
