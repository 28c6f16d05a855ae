"""What a method that chooses again and again settles once: pattern libraries, and which filters form a group.

    shrinking-8:   56 shapes -> 41 -> 29 -> 21 -> 15 -> 11 -> 8     the rarest dropped, a phase at a time

A fixed or natural library stays as the first weights gave it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pconv.masks import magnitude_masks, resolve_groups, resolve_libraries
from pconv.patterns import CENTRE3, SHRINKING, Library, Pattern, most_frequent
from pconv.recipe import LayerRule

PHASES = 6
Weights = Mapping[str, NDArray[Any]]


class Choice:
    """Choose masks by magnitude with the libraries and groups of one run."""

    def __init__(self, weights: Weights, rules: Mapping[str, LayerRule]) -> None:
        self._rules = dict(rules)
        fixed = {name: rule for name, rule in rules.items() if rule.patterns not in SHRINKING}
        shrinking = {rule.patterns for rule in rules.values() if rule.patterns in SHRINKING}
        self.libraries: dict[str, Library] = resolve_libraries(weights, fixed)
        self.libraries |= {name: CENTRE3 for name in shrinking if name is not None}
        self.groups = resolve_groups(weights, rules, self.libraries)

    def masks(self, weights: Weights, rules: Mapping[str, LayerRule]) -> dict[str, NDArray[np.bool_]]:
        """Choose what each layer keeps under these rules, which may ask for less than the final ones."""
        return magnitude_masks(weights, rules, self.libraries, self.groups)

    def shrink(self, weights: Weights, share: float) -> None:
        """Drop the rarest shapes of shrinking libraries; after `share` = 1 of the phases they are as small as asked."""
        for name in self.libraries.keys() & SHRINKING.keys():
            size = _size(SHRINKING[name], share)
            if size < len(self.libraries[name]):
                voters = [weights[layer] for layer, rule in self._rules.items() if rule.patterns == name]
                self.libraries[name] = most_frequent(voters, self.libraries[name], size)

    def state(self) -> dict[str, Any]:
        """Give libraries and groups as plain values."""
        return {
            "libraries": {name: [shape.bits for shape in shapes] for name, shapes in self.libraries.items()},
            "groups": {  # neighbours are found again
                name: [torch.from_numpy(rows.copy()) for rows in groups]
                for name, groups in self.groups.items()
                if self._rules[name].permute
            },
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.libraries = {name: tuple(map(Pattern, bits)) for name, bits in state["libraries"].items()}
        self.groups |= {
            name: [rows.cpu().numpy() for rows in groups] for name, groups in state["groups"].items()
        }


def _size(final: int, share: float) -> int:
    """Shrink by the same factor in each phase."""
    passed = min(PHASES, int(share * PHASES + 1e-9))
    factor: float = (final / len(CENTRE3)) ** (passed / PHASES)
    return round(len(CENTRE3) * factor)
