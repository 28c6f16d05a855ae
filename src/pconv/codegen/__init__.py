"""Plan -> Program: C text, the weights as one blob, the manifest."""

from pconv.codegen.generate import generate
from pconv.codegen.program import Program

__all__ = ["Program", "generate"]
