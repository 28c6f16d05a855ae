"""A small network, batches that are the same every time, and a training loop as a user would write it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.pruning import Pruner  # noqa: E402


class Network(nn.Module):
    """A layer of every kind that pruning knows: [n, 3, 8, 8] -> [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point = nn.Conv2d(16, 32, 1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.point(self.depth(torch.relu(self.block(torch.relu(self.stem(x))))))
        return self.fc(x.mean(dim=(2, 3)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep small sums on one thread: the same each time, and quick on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> Callable[[], Network]:
    def make(seed: int = 0) -> Network:
        torch.manual_seed(seed)
        return Network()

    return make


@pytest.fixture
def module(network: Callable[[], Network]) -> Network:
    return network()


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return (
        torch.randn(8, 3, 8, 8, generator=generator),
        torch.randint(0, 10, (8,), generator=generator),
    )


@pytest.fixture
def images() -> torch.Tensor:
    """Give 48 smooth ones of 12x12, for post-training pruning."""
    x = torch.randn(48, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    return nn.functional.avg_pool2d(x, 3, 1, 1) * 2


@pytest.fixture
def weights_of() -> Callable[[nn.Module], dict[str, np.ndarray]]:
    def find(module: nn.Module) -> dict[str, np.ndarray]:
        state = module.state_dict()
        return {key.removesuffix(".weight"): state[key].numpy() for key in state if state[key].ndim > 1}

    return find


@pytest.fixture
def train() -> Callable[..., list[float]]:
    def run(
        module: nn.Module, pruner: Pruner, optimizer: torch.optim.Optimizer, first: int, last: int
    ) -> list[float]:
        losses = []
        for step in range(first, last):
            x, y = batch(step)
            loss = nn.functional.cross_entropy(module(x), y) + pruner.penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pruner.step()
            losses.append(loss.item())
        return losses

    return run


@pytest.fixture
def sgd() -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda module: torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
