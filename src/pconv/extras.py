"""The one place that says what to do when an optional package is missing."""

from importlib.util import find_spec

from pconv.errors import PconvError


def require_torch(what: str) -> None:
    """Check that torch is installed before `what` imports it.

    Raises: PconvError when torch is missing.
    """
    _require("torch", what)


def require_safetensors(what: str) -> None:
    """Check that safetensors is installed before `what` imports it.

    Raises: PconvError when safetensors is missing.
    """
    _require("safetensors", what)


def require_onnxruntime(what: str) -> None:
    """Check that ONNX Runtime is installed before `what` imports it.

    Raises: PconvError when it is missing.
    """
    _require("onnxruntime", what, extra="bench")


def _require(package: str, what: str, extra: str = "torch") -> None:
    if find_spec(package) is None:
        raise PconvError(
            f"{what}: {package} is not installed, and this step needs it; pip install 'pconv[{extra}]'."
        )
