"""The one place that says what to do when an optional package is missing."""

from importlib.util import find_spec

from pconv.errors import PconvError


def require_torch(what: str) -> None:
    """Check that torch is installed before `what` imports it.

    Raises: PconvError when torch is missing.
    """
    _require(what, "torch", "onnxscript", "safetensors")


def require_safetensors(what: str) -> None:
    """Check that safetensors is installed before `what` imports it.

    Raises: PconvError when safetensors is missing.
    """
    _require(what, "safetensors")


def require_onnxruntime(what: str) -> None:
    """Check that ONNX Runtime is installed before `what` imports it.

    Raises: PconvError when it is missing.
    """
    _require(what, "onnxruntime")


def _require(what: str, package: str, *others: str) -> None:
    """Check for one package; where it is missing, those that are used with it are installed at once."""
    if find_spec(package) is None:
        wanted = " ".join((package, *others))
        raise PconvError(f"{what}: {package} is not installed, and this step needs it; pip install {wanted}.")
