"""ONNX and torch in, normalised graph out; the only room that knows onnx.

    file, proto, module --load--> source model --translate, passes--> normalised model --view--> nodes.py

It refuses what it does not know, by name, rather than guess.
"""

from .describe import describe
from .load import load, other_floats, weight_files
from .nodes import GraphView, NodeView, view
from .normalise import normalise
from .plain import is_plain, plain

__all__ = [
    "GraphView",
    "NodeView",
    "describe",
    "is_plain",
    "load",
    "normalise",
    "other_floats",
    "plain",
    "view",
    "weight_files",
]
