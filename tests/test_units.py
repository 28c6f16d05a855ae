"""Quantities as people read them."""

import pytest

from pconv import units


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123 ms"), (1.234, "1.23 ms"), (12.345, "12.3 ms"), (123.45, "123 ms")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert units.milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(1_234_567, "1.23 MB"), (73_123_456, "73.1 MB")])
def test_megabytes(value: int, text: str) -> None:
    assert units.megabytes(value) == text
