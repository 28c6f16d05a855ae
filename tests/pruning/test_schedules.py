"""When the methods that choose while training choose, and when their masks hold."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.errors import RecipeError  # noqa: E402
from pconv.pruning import AdmmPruner, prune  # noqa: E402
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


def test_admm_settles_with_its_cut(module) -> None:
    pruner = prune(module, Recipe(), "admm", 8, phase=0.5)
    settled = [pruner.settled()]
    for _ in range(8):
        pruner.step()
        settled.append(pruner.settled())
    assert settled == [False] * 4 + [True] * 5


@pytest.mark.parametrize("steps", [24, 46, 200, 2001])
def test_admm_updates_as_often_in_every_stage(module, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    seen: list[float] = []
    monkeypatch.setattr(AdmmPruner, "_update", lambda self, progress: seen.append(self.rho))
    pruner = prune(module, Recipe(), "admm", steps, phase=0.5, stages=4, updates=3, rho=1, growth=2)
    for _ in range(steps // 2 - 1):
        pruner.step()
    assert seen == [1] * 3 + [2] * 3 + [4] * 3 + [8] * 3


@pytest.mark.parametrize("wrong", [{"rho": 0}, {"rho": float("nan")}, {"growth": 0}, {"growth": -2}])
def test_admm_needs_a_penalty(module, wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match=r"admm: rho .*, growth .*; allowed are numbers above 0"):
        prune(module, Recipe(), "admm", 8, **wrong)
