"""What code generation hands to the build: C text, weights, and what is said about them."""

from dataclasses import dataclass
from typing import Any

from pconv.targets import Target


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One model as text, ready to be compiled.

    `sources` maps C file names to their text; together they define what runtime/native/model.h declares,
    except the weights, the manifest's text and the CPU check, which the build adds. `weights` is anything
    with the buffer protocol (bytes, bytearray, a contiguous uint8 array).
    """

    sources: dict[str, str]
    weights: bytes | bytearray | memoryview
    manifest: dict[str, Any]
    target: Target
