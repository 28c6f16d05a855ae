"""Source operators: one file each (or a few that are one idea), found when this package is imported.

A file defines `CONVERTERS`, a dict from ONNX operator to a function `Site -> Operand`, or a list of them where the
operator has several outputs. To add an operator, add a file; nothing else changes.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from ..site import Operand, Site

Converter = Callable[[Site], Operand | list[Operand]]

CONVERTERS: dict[str, Converter] = {}
for _module in iter_modules(__path__):
    CONVERTERS.update(import_module(f"{__name__}.{_module.name}").CONVERTERS)
