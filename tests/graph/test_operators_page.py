"""docs/operators.md names every operator that is converted, and no other."""

import re
from pathlib import Path

from pconv.graph.ops import CONVERTERS
from pconv.graph.spec import ACTIVATIONS, OPS

ROOT = Path(__file__).parents[2]


def named(text: str, first_column: str) -> set[str]:
    """Collect what stands in backticks in the first column of the table whose head begins so."""
    table = text.partition(f"| {first_column} |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines() if row for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_operator_is_on_the_page() -> None:
    page = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert named(page, "ONNX") == set(CONVERTERS)


def test_every_normalised_operator_is_in_the_table() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert named(page, "op") == set(OPS)
    listed = page.partition("`activation` is one of `")[2].partition("`")[0]
    assert set(listed.split()) == set(ACTIVATIONS)
