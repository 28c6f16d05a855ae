"""The FMA peak is measured once, and kept where it is found again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pconv.bench import known_peak
from pconv.bench.known_peak import FILE, known_peak_gflops

Measured = Callable[..., list[int]]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measured:
    """Let the measurements give these values, and list the threads of those that were made."""
    monkeypatch.setenv("PCONV_CACHE", str(tmp_path / "cache"))

    def give(*values: float | None) -> list[int]:
        asked: list[int] = []
        left = list(values)

        def measured(threads: int) -> float | None:
            asked.append(threads)
            return left.pop(0)

        monkeypatch.setattr(known_peak.peak, "measure_if_possible", measured)
        return asked

    return give


def test_it_is_measured_once_for_each_number_of_threads(measure: Measured) -> None:
    asked = measure(100.0, 190.0)
    assert [known_peak_gflops(n) for n in (1, 2, 1, 2)] == [100.0, 190.0, 100.0, 190.0]
    assert asked == [1, 2]


def test_again_keeps_the_larger(measure: Measured) -> None:
    measure(100.0, 90.0, 120.0, None)
    assert known_peak_gflops() == 100.0
    assert [known_peak_gflops(again=True) for _ in range(3)] == [100.0, 120.0, 120.0]
    assert known_peak_gflops() == 120.0


def test_without_a_compiler_there_is_none(measure: Measured) -> None:
    measure(None)
    assert known_peak_gflops() is None


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "b"}'])
def test_a_damaged_file_is_measured_over(measure: Measured, tmp_path: Path, text: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_text(text)
    measure(100.0)
    assert [known_peak_gflops(), known_peak_gflops()] == [100.0, 100.0]


def test_a_cache_that_cannot_be_written_costs_a_measurement(
    measure: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PCONV_CACHE", str(tmp_path / "file"))
    asked = measure(100.0, 100.0)
    assert [known_peak_gflops(), known_peak_gflops()] == [100.0, 100.0]
    assert asked == [1, 1]
