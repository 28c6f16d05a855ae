"""The measured FMA peak."""

import pytest

from pconv.bench import peak
from pconv.errors import BuildError
from pconv.targets import get, names


@pytest.mark.parametrize("name", names())
def test_source_counts_its_operations(name: str) -> None:
    target = get(name)
    text, flops = peak.source(target)
    assert flops == 2 * target.lanes_f32 * text.count("* a + b")
    assert text.count("* a + b") + 2 <= target.vector_registers


@pytest.mark.cc
def test_measure_gives_a_rate_that_a_cpu_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "CALL_S", 0.002)
    assert 0.1 < peak.measure() < 10_000


def test_a_compiler_that_fails_is_named() -> None:
    with pytest.raises(BuildError, match=r"peak.c: sh -c .* failed .*: broken.* with PCONV_CC") as caught:
        peak.measure(get("x86-64-v3"), cc="sh -c 'test $1 = --version || { echo broken >&2; exit 1; }' true")
    assert "\n" not in str(caught.value)
