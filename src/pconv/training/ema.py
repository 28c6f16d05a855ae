"""The running average of a network's weights and statistics: validated, and written, in place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follow a module's floating-point state with exponential decay; masks are not averaged, so they hold.

    Early on the decay is smaller, so that the first steps are soon forgotten. With decay 0 it is the module.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._live = {key: value for key, value in module.state_dict().items() if value.is_floating_point()}
        self._values = {key: value.clone() for key, value in self._live.items()}
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take a step towards the module as it is now."""
        self._steps += 1
        decay = min(self._decay, self._steps / (10 + self._steps)) if self._decay else 0.0
        torch._foreach_lerp_(list(self._values.values()), list(self._live.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the module until the block ends."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint needs."""
        return {"values": self._values, "steps": self._steps}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take a checkpoint's state over."""
        values, steps = state["values"], state["steps"]
        assert isinstance(values, dict) and isinstance(steps, int)
        for key, value in self._values.items():
            value.copy_(values[key])
        self._steps = steps

    @torch.no_grad()
    def _swap(self) -> None:
        for key, live in self._live.items():
            kept: Tensor = live.clone()
            live.copy_(self._values[key])
            self._values[key].copy_(kept)
