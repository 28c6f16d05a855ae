"""What benchmarks of two threads ask of the cores."""

import sys
from collections.abc import Sequence

from pconv.bench.distance import near_share

MIN_NEAR = 0.5
"""Else most turns do not count, and those that do come just behind such, after which pconv still runs on one thread for
a while.
"""


def require_near(name: str, readings: Sequence[float]) -> None:
    """End the program, with nothing stored, where the cores were apart for most of the time."""
    if (near := near_share(readings)) < MIN_NEAR:
        sys.exit(
            f"{name}: the cores were near for {near:.0%} of the time alone; not stored, measure it again."
        )
