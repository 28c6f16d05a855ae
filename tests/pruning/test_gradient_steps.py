"""What gradient steps of post-training pruning borrow they give back: memory, layouts, gradients."""

import copy
import itertools

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.pruning import post_train  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=4, first="dense", exclude=("tied", "twin"))


class Network(nn.Module):
    """Two layers share their memory, and one more parameter and buffer have five dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.tied, self.twin = (nn.Conv2d(c, 8, 3, padding=1) for c in (3, 8, 8, 8))
        self.twin.weight.data = self.tied.weight.data
        self.volume = nn.Parameter(torch.ones(1, 1, 1, 1, 1))
        self.register_buffer("grid", torch.zeros(1, 1, 2, 2, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.stem(x).relu()).relu()
        return self.twin(self.tied(x).relu()) * self.volume[0]


@pytest.fixture
def module() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def tune(module: nn.Module, images: torch.Tensor, **options) -> None:
    """Prune and take some steps; the clock counts how often it is asked."""
    ticks = itertools.count()
    post_train(module, images, RECIPE, seconds=40, clock=lambda: float(next(ticks)), **options)


def test_memory_and_layouts_stay(module: Network, images: torch.Tensor) -> None:
    module.share_memory()
    module.body.weight.data = module.body.weight.data.contiguous(memory_format=torch.channels_last)
    before = {name: (p.data_ptr(), p.stride()) for name, p in module.named_parameters()}
    weights = copy.deepcopy(module.state_dict())
    tune(module, images)
    assert {name: (p.data_ptr(), p.stride()) for name, p in module.named_parameters()} == before
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, weights[name])}
    assert {"stem.weight", "body.weight", "tied.weight", "twin.weight"} <= changed
    assert torch.equal(module.tied.weight, module.twin.weight)


def test_the_callers_gradients_stay(module: Network, images: torch.Tensor) -> None:
    module(images).sum().backward()
    module.stem.weight.grad = None
    before = {name: p.grad for name, p in module.named_parameters()}
    numbers = {name: grad.clone() for name, grad in before.items() if grad is not None}
    tune(module, images)
    for name, parameter in module.named_parameters():
        assert parameter.grad is before[name], name
        assert name not in numbers or torch.equal(parameter.grad, numbers[name]), name


def test_a_module_whose_steps_fail_is_as_it_was(module: Network, images: torch.Tensor) -> None:
    def fail(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        raise KeyboardInterrupt

    before = copy.deepcopy(module.state_dict())
    with pytest.raises(KeyboardInterrupt):
        tune(module, images, vary=fail)
    assert list(module.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
