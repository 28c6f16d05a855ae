"""A compiled model for the tests of the run time."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pconv.build import build
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.runtime import Engine


@pytest.fixture(scope="session")
def affine(make_program: Callable[..., Program], session_cache: Cache) -> Path:
    """Return the file of the compiled affine program."""
    return build(make_program(), cache=session_cache)


@pytest.fixture
def engine(affine: Path) -> Iterator[Engine]:
    """Return an engine with two threads on the affine program."""
    with Engine(affine, threads=2) as opened:
        yield opened
