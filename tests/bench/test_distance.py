"""How far apart two cores are."""

import pytest

from pconv.bench.distance import Distance, near_share
from pconv.errors import BuildError
from pconv.targets import get


@pytest.mark.cc
def test_a_line_takes_what_caches_and_schedulers_take() -> None:
    distance = Distance()
    readings = [distance() for _ in range(3)]
    assert all(1 < reading < 1e7 for reading in readings)
    assert distance.readings == [round(reading, 1) for reading in readings]


def test_the_share_of_near_readings() -> None:
    assert near_share([]) == 1.0
    assert near_share([24.0, 30.0, 32.0, 160.0]) == 0.5
    assert near_share([60.0, 74.0]) == 1.0
    assert near_share([160.0, 161.0]) == 0.0


def test_a_compiler_that_fails_is_named() -> None:
    with pytest.raises(BuildError, match=r"distance.c: sh -c .* failed .*: broken.* with PCONV_CC"):
        Distance(get("x86-64-v3"), cc="sh -c 'test $1 = --version || { echo broken >&2; exit 1; }' true")
