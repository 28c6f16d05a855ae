"""Batch norms of several processes are what those of one are to post-training pruning."""

import copy

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.pruning import post_train  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head, self.last = nn.Linear(8, 8), nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = self.norm(self.conv(x)) + x
        return self.last(self.head(x.mean((2, 3))))


def test_shared_batch_norms_are_batch_norms(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    module = Residual()
    for _ in range(30):
        module(images)
    shared = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(module))
    for network in (module, shared):
        post_train(network, images, Recipe(compression_rate=2.25, first="dense"))
    assert isinstance(shared.norm, nn.SyncBatchNorm)
    for name, value in module.state_dict().items():
        assert torch.equal(shared.state_dict()[name], value), name
