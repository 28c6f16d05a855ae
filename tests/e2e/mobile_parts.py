"""What networks for phones put between their convolutions, each with a few layers around it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Coordinates(nn.Module):
    """Coordinate attention: a gate for each row, and one for each column."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.squeeze = nn.Conv2d(3, 16, 3, 2), nn.Conv2d(16, 8, 1)
        self.rows, self.columns = nn.Conv2d(8, 16, 1), nn.Conv2d(8, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        both = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        rows, columns = torch.split(functional.hardswish(self.squeeze(both)), list(x.shape[2:]), 2)
        return x * self.columns(columns.permute(0, 1, 3, 2)).sigmoid() * self.rows(rows).sigmoid()


class Kernels(nn.Module):
    """Selective kernels: two branches, weighed by a softmax over them."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Conv2d(3, 12, 3, padding=d, dilation=d) for d in (1, 2)])
        self.weigh = nn.Conv2d(12, 24, 1)

    def forward(self, x: Tensor) -> Tensor:
        each = torch.stack([branch(x) for branch in self.branches], 1)
        weights = self.weigh(each.sum(1).mean((2, 3), keepdim=True))
        return (each * weights.view(1, 2, 12, 1, 1).softmax(1)).sum(1)


class Channels(nn.Module):
    """Efficient channel attention: a 1-D convolution over the means of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.near = nn.Conv2d(3, 20, 3), nn.Conv1d(1, 1, 5, padding=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        gate = self.near(x.mean((2, 3)).unsqueeze(-1).transpose(-1, -2))
        return x * gate.transpose(-1, -2).unsqueeze(-1).sigmoid()


class Responses(nn.Module):
    """ConvNeXt V2's global response normalisation, a layer norm as older code spells it, and unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Conv2d(3, 16, 3, 2), nn.Parameter(torch.rand(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        apart = x - x.mean(1, keepdim=True)
        x = self.scale * apart / torch.sqrt(apart.pow(2).mean(1, keepdim=True) + 1e-6)
        norms = x.norm(p=2, dim=(2, 3), keepdim=True)
        x = x * (norms / (norms.mean(1, keepdim=True) + 1e-6)) + x
        return functional.normalize(x, dim=1) * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


class Embedding(nn.Module):
    """Faces and places: maxout, a generalised mean, and a unit vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 32, 5, 2), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.first(x).chunk(2, 1)
        x = torch.maximum(one, other).clamp(min=1e-6).pow(2.7).mean((2, 3)).pow(1 / 2.7)
        return functional.normalize(self.last(x), dim=-1)


def keywords() -> nn.Module:
    """Words in sound: 1-D convolutions from end to end."""
    return nn.Sequential(
        *(nn.Conv1d(4, 16, 9, 3, 4), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(3, 2, 1)),
        *(nn.Conv1d(16, 16, 3, padding=4, dilation=4, groups=16), nn.Conv1d(16, 24, 1), nn.SiLU()),
        *(nn.ConvTranspose1d(24, 12, 4, 2, 1), nn.Upsample(scale_factor=2), nn.PReLU(12)),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 5), nn.LogSoftmax(-1)),
    )


PARTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "coordinates": (Coordinates, (1, 3, 25, 38)),
    "kernels": (Kernels, (1, 3, 18, 21)),
    "channels": (Channels, (1, 3, 17, 19)),
    "responses": (Responses, (1, 3, 23, 30)),
    "embedding": (Embedding, (1, 3, 32, 24)),
    "keywords": (keywords, (1, 4, 101)),
}
