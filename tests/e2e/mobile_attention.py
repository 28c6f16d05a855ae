"""What networks for phones put among their convolutions where all pixels look at all others."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Partial(nn.Module):
    """YOLO11's C2PSA: half of the channels through attention whose values get a depthwise convolution, and an MLP."""

    def __init__(self, channels: int = 32, heads: int = 2) -> None:
        super().__init__()
        half, self.heads = channels // 2, heads
        self.each, self.key = half // heads, half // heads // 2
        self.first, self.last = (nn.Sequential(nn.Conv2d(channels, channels, 1), nn.SiLU()) for _ in range(2))
        self.stem = nn.Conv2d(3, channels, 3, 2, 1)
        self.qkv = nn.Conv2d(half, half + 2 * heads * self.key, 1)
        self.near, self.out = nn.Conv2d(half, half, 3, padding=1, groups=half), nn.Conv2d(half, half, 1)
        self.inner = nn.Sequential(nn.Conv2d(half, 2 * half, 1), nn.SiLU(), nn.Conv2d(2 * half, half, 1))

    def attend(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = self.qkv(x).view(n, self.heads, 2 * self.key + self.each, h * w)
        q, k, v = parts.split([self.key, self.key, self.each], 2)
        shares = (q.transpose(-2, -1) @ k * self.key**-0.5).softmax(-1)
        y = (v @ shares.transpose(-2, -1)).view(n, c, h, w) + self.near(v.reshape(n, c, h, w))
        return self.out(y)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(self.stem(x)).chunk(2, 1)
        b = b + self.attend(b)
        return self.last(torch.cat([a, b + self.inner(b)], 1))


class Unfolded(nn.Module):
    """MobileViT's block: a transformer over pixels that lie in the same corner of their 2x2 windows."""

    def __init__(self, channels: int = 16, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.SiLU(), nn.Conv2d(channels, width, 1))
        self.layer = nn.TransformerEncoderLayer(
            width, 3, 40, 0.0, nn.functional.silu, batch_first=True, norm_first=True
        )
        self.last = nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        y = x.reshape(n * c * h // 2, 2, w // 2, 2).transpose(1, 2).reshape(n, c, h * w // 4, 4)
        y = self.layer(y.transpose(1, 3).reshape(n * 4, h * w // 4, c))
        y = y.reshape(n, 4, h * w // 4, c).transpose(1, 3).reshape(n * c * h // 2, w // 2, 2, 2)
        return self.last(y.transpose(1, 2).reshape(n, c, h, w) + x)


class Tokens(nn.Module):
    """A vision transformer: a class beside the pixels, places added, scaled_dot_product_attention, layer scales."""

    def __init__(self, width: int = 24, heads: int = 2, tokens: int = 21) -> None:
        super().__init__()
        self.heads, self.patches = heads, nn.Conv2d(3, width, 4, 4)
        self.kind, self.places = (
            nn.Parameter(torch.rand(1, 1, width)),
            nn.Parameter(torch.rand(1, tokens, width)),
        )
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))
        self.scale, self.head = nn.Parameter(torch.rand(width)), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.kind.expand(x.shape[0], -1, -1), x], 1) + self.places
        n, t, c = x.shape
        q, k, v = (
            self.qkv(self.norms[0](x)).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        )
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c)
        x = x + self.out(y) * self.scale
        x = x + self.inner(self.norms[1](x)) * self.scale
        return self.head(self.norms[2](x)[:, 0])


class Sequence(nn.Module):
    """nn.MultiheadAttention over the pixels, whose sequence comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.attention = nn.Conv2d(3, 16, 3, 2), nn.MultiheadAttention(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = x.flatten(2).permute(2, 0, 1)
        return self.attention(y, y, y, need_weights=False)[0].permute(1, 2, 0).reshape(x.shape) + x


class Biased(nn.Module):
    """LeViT's and EfficientFormer's attention: a learned number for each pair of places, fewer queries than keys."""

    def __init__(self, heads: int = 3, key: int = 8, value: int = 12) -> None:
        super().__init__()
        self.heads, self.key = heads, key
        self.first = nn.Conv2d(3, 20, 3, 2, 1)
        self.q, self.k, self.v = (nn.Conv1d(20, heads * size, 1) for size in (key, key, value))
        self.norm, self.out = nn.BatchNorm1d(heads * value), nn.Linear(heads * value, 20)
        self.bias = nn.Parameter(torch.randn(heads, 5 * 4, 9 * 7))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c = x.shape[:2]

        def split(y: Tensor) -> Tensor:
            return y.unflatten(1, (self.heads, -1)).transpose(-2, -1)

        q = split(self.q(x[:, :, ::2, ::2].flatten(2)))
        k, v = (split(layer(x.flatten(2))) for layer in (self.k, self.v))
        y = (q @ k.transpose(-2, -1) * self.key**-0.5 + self.bias).softmax(-1) @ v
        y = y.transpose(1, 2).flatten(2)
        y = functional.hardswish(self.norm(y.flatten(0, 1)).reshape_as(y))
        return self.out(y).transpose(1, 2).reshape(n, c, 5, 4)


class Separable(nn.Module):
    """MobileViT's second version: each pixel's share of one context; and channels that look at channels (XCiT)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        self.qkv, self.out = nn.Conv2d(16, 33, 1), nn.Conv2d(16, 16, 1)
        self.turned = nn.Conv2d(16, 48, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(n, 33, 4, h * w // 4).split([1, 16, 16], 1)
        context = (k * q.softmax(-1)).sum(-1, keepdim=True)
        x = x + self.out((v.relu() * context.expand_as(v)).reshape(n, c, h, w))
        q, k, v = self.turned(x).reshape(n, 3, 4, 4, h * w).unbind(1)
        shares = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        return (shares.softmax(-1) @ v).reshape(n, c, h, w)


class Windows(nn.Module):
    """EfficientViT: windows of an image in place of the batch; heads whose inputs are added up one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 24, 1)
        self.qkvs = nn.ModuleList(nn.Conv2d(12, 20, 1) for _ in range(2))
        self.mixers = nn.ModuleList(nn.Conv2d(4, 4, size, 1, size // 2, groups=4) for size in (5, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        x = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 0, -w % 5, 0, -h % 5))
        rows, columns = x.shape[1] // 5, x.shape[2] // 5
        x = x.view(n, rows, 5, columns, 5, c).transpose(2, 3).reshape(n * rows * columns, 5, 5, c)
        parts: list[Tensor] = []
        for part, qkv, mixer in zip(x.permute(0, 3, 1, 2).chunk(2, 1), self.qkvs, self.mixers, strict=True):
            fed = part if not parts else part + parts[-1]
            q, k, v = qkv(fed).split([4, 4, 12], 1)
            shares = (mixer(q).flatten(2).transpose(-2, -1) * 0.5) @ k.flatten(2)
            parts.append((v.flatten(2) @ shares.softmax(-1).transpose(-2, -1)).view(-1, 12, 5, 5))
        x = self.out(torch.cat(parts, 1).relu()).permute(0, 2, 3, 1)
        x = x.view(n, rows, columns, 5, 5, c).transpose(2, 3).reshape(n, rows * 5, columns * 5, c)
        return x[:, :h, :w].permute(0, 3, 1, 2)


ATTENTION: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "c2psa": (Partial, (1, 3, 26, 22)),
    "efficientvit": (Windows, (1, 3, 23, 30)),
    "mobilevit": (Unfolded, (1, 3, 24, 20)),
    "vision_transformer": (Tokens, (1, 3, 20, 16)),
    "multihead_attention": (Sequence, (1, 3, 17, 21)),
    "levit": (Biased, (1, 3, 18, 14)),
    "separable": (Separable, (1, 3, 16, 24)),
}
