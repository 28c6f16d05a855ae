"""Small networks of the kinds that people put on phones, written as their authors write them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .mobile_attention import ATTENTION
from .mobile_parts import PARTS

Activation = Callable[[], nn.Module]


def conv(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1, act: Activation = nn.ReLU
) -> nn.Sequential:
    """Make a convolution as all of them have it."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
    )


class Gate(nn.Module):
    """Squeeze and excite; `linear` as in SENet, else as in MobileNetV3 and EfficientNet."""

    def __init__(self, channels: int, gate: Activation = nn.Hardsigmoid, linear: bool = False) -> None:
        super().__init__()
        layer = nn.Linear if linear else lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1)
        self.gate = nn.Sequential(
            layer(channels, channels // 4), nn.ReLU(), layer(channels // 4, channels), gate()
        )
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(x, 1)
        if self.linear:
            return x * self.gate(pooled.view(x.shape[:2]))[:, :, None, None]
        return x * self.gate(pooled)


class Inverted(nn.Module):
    """An inverted residual."""

    def __init__(
        self,
        inputs: int,
        wide: int,
        outputs: int,
        size: int,
        stride: int,
        act: Activation,
        gate: Activation | None,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            conv(inputs, wide, 1, act=act),
            conv(wide, wide, size, stride, wide, act=act),
            Gate(wide, gate) if gate else nn.Identity(),
            conv(wide, outputs, 1, act=nn.Identity),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


def mobilenet_v3() -> nn.Module:
    """Hard swishes and gates, and a head with one more layer."""
    swish = nn.Hardswish
    return nn.Sequential(
        conv(3, 16, stride=2, act=swish),
        Inverted(16, 16, 16, 3, 2, nn.ReLU, nn.Hardsigmoid),
        Inverted(16, 40, 24, 3, 1, nn.ReLU, None),
        Inverted(24, 64, 24, 5, 1, swish, nn.Hardsigmoid),
        conv(24, 48, 1, act=swish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *(nn.Linear(48, 32), swish(), nn.Dropout(0.2), nn.Linear(32, 10)),
    )


def efficientnet(act: Activation = nn.SiLU, gate: Activation | None = nn.Sigmoid) -> nn.Module:
    """Swishes and gates; the lite variant has ReLU6 and no gates."""
    return nn.Sequential(
        conv(3, 16, stride=2, act=act),
        Inverted(16, 32, 24, 3, 2, act, gate),
        Inverted(24, 48, 24, 5, 1, act, gate),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 10),
    )


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, 24, stride=2)
        self.branch = nn.Sequential(conv(12, 12, 1), conv(12, 12, 3, 1, 12, nn.Identity), conv(12, 12, 1))

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = self.first(x).chunk(2, 1)
        x = torch.cat([kept, self.branch(changed)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Detector(nn.Module):
    """YOLOv8 in small: split blocks, pyramid pooling, upsampling, and what decodes its boxes."""

    def __init__(self, decodes: bool) -> None:
        super().__init__()
        act = nn.SiLU
        self.fine = nn.Sequential(conv(3, 16, stride=2, act=act), conv(16, 32, stride=2, act=act))
        self.block = conv(16, 16, act=act)
        self.join = conv(48, 32, 1, act=act)
        self.coarse = nn.Sequential(conv(32, 64, stride=2, act=act), conv(64, 32, 1, act=act))
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.spread = conv(96, 64, 1, act=act)
        self.up = nn.Upsample(scale_factor=2)
        self.neck = conv(96, 32, 1, act=act)
        self.heads = nn.ModuleList([nn.Conv2d(32, 4 * 8 + 5, 1), nn.Conv2d(64, 4 * 8 + 5, 1)])
        self.register_buffer("places", torch.rand(1, 2, 80))
        self.decodes = decodes

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        fine = list(self.fine(x).chunk(2, 1))
        joined = self.join(torch.cat([*fine, fine[1] + self.block(fine[1])], 1))
        coarse = [self.coarse(joined)]
        coarse.append(self.pool(coarse[-1]))
        coarse.append(self.pool(coarse[-1]))
        deep = self.spread(torch.cat(coarse, 1))
        maps = [self.heads[0](self.neck(torch.cat([self.up(deep), joined], 1))), self.heads[1](deep)]
        return self.decoded(torch.cat([it.flatten(2) for it in maps], 2)) if self.decodes else maps

    def decoded(self, x: Tensor) -> Tensor:
        boxes, classes = x.split((4 * 8, 5), 1)
        n, _, count = boxes.shape
        shares = boxes.view(n, 4, 8, count).transpose(2, 1).softmax(1)
        sides = functional.conv2d(shares, torch.arange(8.0).view(1, 8, 1, 1)).view(n, 4, count)
        low, high = sides.chunk(2, 1)
        low, high = self.places - low, self.places + high
        return torch.cat([(low + high) / 2, high - low, classes.sigmoid()], 1)


class Anchors(nn.Module):
    """YOLOv3's blocks and head."""

    def __init__(self) -> None:
        super().__init__()

        def leaky() -> nn.Module:
            return nn.LeakyReLU(0.1)

        self.first = nn.Sequential(conv(3, 16, act=leaky), conv(16, 32, stride=2, act=leaky))
        self.block = nn.Sequential(conv(32, 16, 1, act=leaky), conv(16, 32, act=leaky))
        self.head = nn.Conv2d(32, 3 * 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.head(x + self.block(x))
        n, _, h, w = y.shape
        return y.view(n, 3, 7, h, w).permute(0, 1, 3, 4, 2).contiguous()


class Segmenter(nn.Module):
    """A U-Net of one step; `up` brings the coarse half back to the fine one's size."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.fine, self.coarse, self.up = conv(3, 16), conv(16, 32), up
        self.last = nn.Sequential(
            conv(32 + 16 if isinstance(up, nn.Upsample) else 32, 16), nn.Conv2d(16, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.up(self.coarse(functional.max_pool2d(fine, 2)))
        return self.last(torch.cat([fine, coarse], 1)).softmax(1)


class Pyramid(nn.Module):
    """Features of several sizes, added or brought to the size of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv(3, 16, stride=2), conv(16, 32, stride=2)
        self.sides = nn.ModuleList([nn.Conv2d(16, 8, 1), nn.Conv2d(32, 8, 1), nn.Conv2d(32, 8, 1)])

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.coarse(fine)
        y = self.sides[0](fine) + functional.interpolate(self.sides[1](coarse), size=fine.shape[-2:])
        whole = self.sides[2](functional.adaptive_avg_pool2d(coarse, 1))
        y = y + functional.interpolate(whole, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Attention(nn.Module):
    """CBAM: gates for channels, then for pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = conv(3, 16)
        self.shared = nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1))
        self.pixels = nn.Conv2d(1, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        pooled = (functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1))
        x = x * torch.sigmoid(self.shared(pooled[0]) + self.shared(pooled[1]))
        return x * torch.sigmoid(self.pixels(x.mean(1, keepdim=True)))


def generator() -> nn.Module:
    """Transposed convolutions, as in DCGAN."""
    return nn.Sequential(
        *(nn.ConvTranspose2d(8, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.ConvTranspose2d(16, 3, 3, 2, 1, 1), nn.Tanh()),
    )


def stylist() -> nn.Module:
    """Reflected borders and norms at run time, as in style transfer; and every other activation."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(16, affine=True)),
        nn.PReLU(16),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU()),
        *(conv(16, 16, act=nn.Mish), conv(16, 16, act=nn.ELU), conv(16, 16, act=nn.SELU)),
        *(conv(16, 4, act=lambda: nn.GELU(approximate="tanh")), nn.PixelUnshuffle(2)),
    )


class Convnext(nn.Module):
    """Layer norms and linear layers over channels that went last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.depthwise = nn.Conv2d(12, 12, 7, padding=3, groups=12)
        self.norm, self.last = nn.LayerNorm(12), nn.LayerNorm(12)
        self.inner = nn.Sequential(nn.Linear(12, 48), nn.GELU(), nn.Linear(48, 12))
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Give classes."""
        x = self.stem(x)
        x = x + self.inner(self.norm(self.depthwise(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.head(self.last(x.mean((2, 3))))


class Masks(nn.Module):
    """Which class each pixel is, where it is sure, and a picture in whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, stride=2), conv(16, 5, act=nn.Identity))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give classes, a mask of the sure ones, their scores, which pixels are of the third class, and bytes."""
        scores = functional.interpolate(self.body(x), size=x.shape[2:], mode="bilinear")
        best, place = scores.softmax(1).max(1, keepdim=True)
        sure = (best > 0.4) & ~(place == 2)
        picture = (scores[:, :3].sigmoid() * 255).round().to(torch.uint8)
        return place.squeeze(1), sure, torch.where(sure, best, 0.0), (place == 3).float(), picture


class Faces(nn.Module):
    """Scores and boxes of two sizes of faces, in which one image's rows stand without a batch, as in SCRFD."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv(3, 16, stride=2), conv(16, 16, stride=2)
        self.score, self.box = nn.Conv2d(16, 2, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give scores of each size, and all boxes; the colours come the other way round."""
        fine = self.fine(x.flip(1))
        levels = (fine, self.coarse(fine))
        scores = [self.score(y).permute(0, 2, 3, 1).reshape(-1, 1).sigmoid() for y in levels]
        boxes = [self.box(y).permute(0, 2, 3, 1).reshape(-1, 4) * 8 for y in levels]
        return (*scores, torch.cat(boxes, 0), self.coarse(fine)[0])


class Reader(nn.Module):
    """Letters along a line of text, time first, as CTC wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, stride=2), nn.AdaptiveAvgPool2d((1, None)))
        self.head = nn.Linear(16, 11)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give logarithms of probabilities [t, 1, letters], and the letters."""
        scores = self.head(self.body(x).squeeze(2).permute(0, 2, 1)).permute(1, 0, 2)
        return scores.log_softmax(2), scores.argmax(2)


IMAGE = (1, 3, 32, 32)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mobilenet_v3": (mobilenet_v3, IMAGE),
    "efficientnet": (efficientnet, IMAGE),
    "efficientnet_lite": (lambda: efficientnet(nn.ReLU6, None), IMAGE),
    "senet": (lambda: nn.Sequential(conv(3, 16), Gate(16, nn.Sigmoid, linear=True)), (1, 3, 17, 19)),
    "shufflenet_v2": (Shuffle, IMAGE),
    "yolo_v8": (lambda: Detector(False), IMAGE),
    "yolo_v8_decoded": (lambda: Detector(True), IMAGE),
    "yolo_v3": (Anchors, IMAGE),
    "unet": (lambda: Segmenter(nn.ConvTranspose2d(32, 16, 2, 2)), (1, 3, 24, 20)),
    "unet_bilinear": (lambda: Segmenter(nn.Upsample(scale_factor=2, mode="bilinear")), (1, 3, 24, 20)),
    "faces": (Faces, (1, 3, 22, 18)),
    "reader": (Reader, (1, 3, 16, 50)),
    "masks": (Masks, (1, 3, 22, 17)),
    "pyramid": (Pyramid, (1, 3, 34, 30)),
    "cbam": (Attention, (1, 3, 21, 24)),
    "generator": (generator, (1, 8, 1, 1)),
    "stylist": (stylist, (1, 3, 24, 20)),
    "convnext": (Convnext, (1, 3, 36, 28)),
    **PARTS,
    **ATTENTION,
}


def make(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Make a network in eval mode, its statistics as if it had been trained, and the shape it takes."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    module = build()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval(), shape
