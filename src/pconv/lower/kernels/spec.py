"""What the specs of micro-kernels have in common: their names, taps and activations."""

import hashlib
from dataclasses import dataclass

from pconv.targets.dtype import FP32, DType

Taps = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Activation:
    """One of `graph.spec.ACTIVATIONS`.

    `low` and `high` are what a clip keeps to; `low` alone is the slope of `leaky`, the depth of `elu`, what `above` and
    `atleast` compare with.
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 0.0

    @property
    def tag(self) -> str:
        """Short form for names."""
        return "" if self.kind == "none" else f"_{self.kind}"


def digest(spec: object, digits: int = 6) -> str:
    """Return hexadecimal digits that tell one spec from another."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:digits]


NAME_DIGITS = 12
"""Of two micro-kernels with one name a model would have the code of one: with six digits, one such pair was found."""


def named(spec: object, what: str, lanes: int, dtype: DType = FP32) -> str:
    """Return a C function's name: type, what it does, lanes, and what tells its spec from another."""
    return f"{dtype.tag}_{what}_v{lanes}_{digest(spec, NAME_DIGITS)}"
