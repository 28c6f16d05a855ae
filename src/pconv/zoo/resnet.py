"""ResNet (He et al., 2015) for ImageNet, and the CIFAR variant with a 3x3 stem and the same four stages.

ResNet-50 is v1.5: the stride stands in the 3x3 convolution, as in torchvision.
"""

from collections.abc import Sequence

from torch import Tensor, nn


def _conv_bn(
    in_channels: int, channels: int, kernel: int, stride: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(channels)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(in_channels, width, 3, stride)
        self.conv2, self.bn2 = _conv_bn(width, width, 3)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(in_channels, width, 1)
        self.conv2, self.bn2 = _conv_bn(width, width, 3, stride)
        self.conv3, self.bn3 = _conv_bn(width, width * self.expansion, 1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: Tensor = self.relu(y + shortcut)
        return out


class ResNet(nn.Module):
    """Stem, four stages, global average, linear classifier."""

    def __init__(
        self, num_classes: int, block: type[BasicBlock] | type[Bottleneck], blocks: Sequence[int], small: bool
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv_bn(3, 64, 3 if small else 7, 1 if small else 2)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        stages = []
        for i, count in enumerate(blocks):
            stages.append(_stage(block, channels, 64 << i, count, stride=1 if i == 0 else 2))
            channels = (64 << i) * block.expansion
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, count: int, stride: int
) -> nn.Sequential:
    channels = width * block.expansion
    downsample = None
    if stride != 1 or in_channels != channels:
        downsample = nn.Sequential(*_conv_bn(in_channels, channels, 1, stride))
    first = block(in_channels, width, stride, downsample)
    return nn.Sequential(first, *(block(channels, width, 1, None) for _ in range(count - 1)))


def build(num_classes: int, blocks: Sequence[int], bottleneck: bool = False, small: bool = False) -> ResNet:
    """Build a ResNet with that many blocks a stage."""
    return ResNet(num_classes, Bottleneck if bottleneck else BasicBlock, blocks, small)
