"""How far apart two cores are."""

import pytest

from pconv.bench.distance import Distance
from pconv.errors import BuildError
from pconv.targets import get


@pytest.mark.cc
def test_a_line_takes_what_caches_and_schedulers_take() -> None:
    distance = Distance()
    readings = [distance() for _ in range(3)]
    assert all(1 < reading < 1e7 for reading in readings)
    assert distance.readings == [round(reading, 1) for reading in readings]


def test_a_compiler_that_fails_is_named() -> None:
    with pytest.raises(BuildError, match=r"distance.c: sh -c .* failed: broken. Try another compiler"):
        Distance(get("x86-64-v3"), cc="sh -c 'test $1 = --version || { echo broken >&2; exit 1; }' true")
