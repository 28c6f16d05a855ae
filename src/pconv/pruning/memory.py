"""Which parameters lie in the same memory: who writes into one writes into all of them.

a.weight  [0 ....... 64)                one parameter under two names, or two over the same memory, are shared;
b.weight         [32 ....... 96)        views of one buffer that have no element in common are not
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Where a parameter of some name lies in memory. Units: begin and end are addresses in bytes."""

    name: str
    parameter: Tensor
    begin: int
    end: int

    def meets(self, other: "Place") -> bool:
        """Say whether the two are one parameter, or have an element in common."""
        if self.parameter is other.parameter:
            return True
        near = self.begin < other.end and other.begin < self.end
        return near and self.parameter.device == other.parameter.device and _cross(self, other)


def places_of(module: nn.Module) -> list[Place]:
    """List where the parameters of all modules lie; one that several modules have is there several times."""
    return [
        Place(f"{path}.{key}".lstrip("."), parameter, *_span(parameter))
        for path, child in module.named_modules()
        for key, parameter in child.named_parameters(recurse=False)
    ]


def owners(parameter: Tensor, places: Iterable[Place]) -> list[str]:
    """List the names of all that a parameter's memory belongs to, its own included."""
    places = list(places)
    own = next(place for place in places if place.parameter is parameter)
    return [place.name for place in places if own.meets(place)]


def _span(parameter: Tensor) -> tuple[int, int]:
    """Give the addresses where a parameter begins and ends: none where it has no numbers, or is no plain tensor."""
    if type(parameter) is not nn.Parameter or parameter.layout != torch.strided or not parameter.numel():
        return 0, 0
    last = sum((size - 1) * step for size, step in zip(parameter.shape, parameter.stride(), strict=True))
    return parameter.data_ptr(), parameter.data_ptr() + (last + 1) * parameter.element_size()


def _cross(a: Place, b: Place) -> bool:
    """Say whether two places have an element in common: they may lie between each other, as a matrix's columns do."""
    low, high = min(a.begin, b.begin), max(a.end, b.end)
    taken = torch.zeros(high - low, dtype=torch.bool)
    _elements(taken, a, low).fill_(True)
    return bool(_elements(taken, b, low).any())


def _elements(memory: Tensor, place: Place, low: int) -> Tensor:
    """View the bytes in which a place's elements begin. Shapes: memory [bytes], from address low on."""
    tensor, size = place.parameter, place.parameter.element_size()
    return memory.as_strided(tensor.shape, [size * step for step in tensor.stride()], place.begin - low)
