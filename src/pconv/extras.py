"""The one place that says what to do when an optional package is missing."""

from importlib.util import find_spec

from pconv.errors import PconvError


def require_torch(what: str) -> None:
    """Check that torch is installed before `what` imports it.

    Raises: PconvError when torch is missing.
    """
    if find_spec("torch") is None:
        raise PconvError(
            f"{what}: torch is not installed, and this step needs it; pip install 'pconv[torch]'."
        )
