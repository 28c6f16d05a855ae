"""When the methods that choose while training choose, and when their masks hold."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.pruning import prune  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch


def test_dense_layers_do_not_hide_shapes_that_move() -> None:
    def first_settled(channels: int) -> int:
        """Prune beside a dense layer of so many channels, while the weights drift; say at which step shapes hold."""
        torch.manual_seed(0)
        module = nn.ModuleDict({"pruned": nn.Conv2d(8, 16, 3), "dense": nn.Conv2d(channels, channels, 3)})
        recipe = Recipe(compression_rate=4, first="dense", exclude=("dense",))
        pruner = prune(module, recipe, "gradual", 100, ramp=0.2, freeze=0.9)
        draw = torch.Generator().manual_seed(1)
        while not pruner.settled():
            with torch.no_grad():
                held = pruner.trained("pruned")
                held.add_(0.02 * torch.randn(held.shape, generator=draw))
            pruner.step()
        return pruner.steps_done

    assert first_settled(channels=128) == first_settled(channels=8) == 90
