"""A table that nobody measured."""

import pytest

from pconv.forecast import Table

from .tables import make_table


@pytest.fixture
def table() -> Table:
    """Return a table of two layers at three rates in groups of 1 and 4; larger groups are faster."""
    return make_table(groups=(1, 4))
