"""ResNet for CIFAR-10 (He et al., 2015, section 4.2): three stages of 16, 32 and 64 channels.

Shortcuts take option A: every second pixel, and zeros for the new channels, so that they carry no weights.
The names are those of the widely used public checkpoints (`conv1`, `layer1.0.conv1`, ..., `linear`).
"""

from torch import Tensor, nn
from torch.nn import functional


def _conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut without weights."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.new_channels:
            half = self.new_channels // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return functional.relu(y + x)


class ResNetCifar(nn.Module):
    """Stem, three stages, global average, linear classifier."""

    def __init__(self, num_classes: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(in_channels, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(blocks - 1)))


def build(num_classes: int, blocks: int) -> ResNetCifar:
    """Build the network of 6 * blocks + 2 layers."""
    return ResNetCifar(num_classes, blocks)
