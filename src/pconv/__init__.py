"""Pattern and connectivity pruning for CNNs, compiled to native code that turns the sparsity into speed.

Public names load on first use, so that `import pconv` brings in neither torch nor onnx nor a compiler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .compiler import compile as compile
    from .compiler import compile_file
    from .errors import (
        ArtefactError,
        BuildError,
        DeviceError,
        InputError,
        ModelError,
        PconvError,
        RecipeError,
        UnsupportedError,
    )
    from .graph.round_trip import export, load_weights
    from .pruning import prune as prune
    from .recipe import Recipe
    from .runtime import Engine, load
    from .sparsity import SparsityMap

_HOME = {
    "compile": "compiler",
    "compile_file": "compiler",
    "load": "runtime",
    "Engine": "runtime",
    "prune": "pruning",
    "export": "graph.round_trip",
    "load_weights": "graph.round_trip",
    "Recipe": "recipe",
    "SparsityMap": "sparsity",
    "PconvError": "errors",
    "ModelError": "errors",
    "UnsupportedError": "errors",
    "RecipeError": "errors",
    "InputError": "errors",
    "BuildError": "errors",
    "DeviceError": "errors",
    "ArtefactError": "errors",
}

__all__ = [
    "ArtefactError",
    "BuildError",
    "DeviceError",
    "Engine",
    "InputError",
    "ModelError",
    "PconvError",
    "Recipe",
    "RecipeError",
    "SparsityMap",
    "UnsupportedError",
    "__version__",
    "compile",
    "compile_file",
    "export",
    "load",
    "load_weights",
    "prune",
]


_ROOMS = ("forecast", "pruning")
"""Packages that documents name as `pconv.pruning.post_train`: they need no import of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'pconv' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
