"""What code generation hands to the build: C text, weights, and what is said about them."""

import json
from dataclasses import dataclass
from typing import Any

from pconv.targets import Target


def manifest_lines(manifest: dict[str, Any]) -> list[str]:
    """Spell what a model says of itself as JSON, a line for each of its layers."""
    head = json.dumps({key: value for key, value in manifest.items() if key != "layers"})
    layers = ",\n".join(json.dumps(layer) for layer in manifest["layers"])
    return [f'{head[:-1]}, "layers": [', *layers.splitlines(), "]}"]


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One model for one kind of CPU: C file names to their text, what is said about it, and its target."""

    sources: dict[str, str]
    manifest: dict[str, Any]
    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One model as text, ready to be compiled.

    `sources` maps C file names to their text; together they define what runtime/native/model.h declares,
    except the weights, which the build adds. `weights` is anything with the buffer protocol (bytes, bytearray, a
    contiguous uint8 array).

    `fallbacks` are for CPUs that lack what `target` needs, in the order in which they are tried. They read the same
    weights, and call functions in the `sources` of those after them.
    """

    sources: dict[str, str]
    weights: bytes | bytearray | memoryview
    manifest: dict[str, Any]
    target: Target
    fallbacks: tuple[Variant, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return all that one file is to hold, the most demanding first."""
        return (Variant(self.sources, self.manifest, self.target), *self.fallbacks)

    @property
    def files(self) -> dict[str, str]:
        """Return the sources of all variants."""
        return {name: text for variant in self.variants for name, text in variant.sources.items()}
