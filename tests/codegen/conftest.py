"""Golden texts: kept beside the tests, at a path made of the test's name."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

LIMIT_BYTES = 8 << 10
_DIGEST = re.compile(r"(f(?:32|16)_\w+_v\d+)_[0-9a-f]{12}")

Compare = Callable[[str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Compare:
    """Return a comparison with golden/TEST.c; with --update-golden it writes that file instead.

    The hash at the end of a micro-kernel's name is left out: it says nothing to a reader.
    """
    path = Path(__file__).parent / "golden" / f"{request.node.name.removeprefix('test_')}.c"

    def compare(text: str) -> None:
        said = _DIGEST.sub(r"\1", text)
        if request.config.getoption("--update-golden"):
            path.write_text(said)
        assert path.exists(), f"{path.name} is missing; run pytest --update-golden and review the new file"
        assert len(said) < LIMIT_BYTES, "a golden text that nobody can review"
        assert said == path.read_text(), f"golden/{path.name} differs; review pytest --update-golden's change"

    return compare
