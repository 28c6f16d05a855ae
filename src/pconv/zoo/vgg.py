"""VGG-16 (Simonyan and Zisserman, 2014), with and without batch norm, and its CIFAR variant."""

from torch import Tensor, nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _features(batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    in_channels = 3
    for stage in STAGES:
        for channels in stage:
            layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _classifier(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512 * 7 * 7, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(4096, num_classes),
    )


class VGG(nn.Module):
    """Thirteen 3x3 convolutions, then the classifier; `small` is the CIFAR one with a single linear layer."""

    def __init__(self, num_classes: int, batch_norm: bool, small: bool) -> None:
        super().__init__()
        self.features = _features(batch_norm)
        self.classifier = nn.Linear(512, num_classes) if small else _classifier(num_classes)

    def forward(self, x: Tensor) -> Tensor:
        # torchvision pools to 7x7 here; at the zoo's input sizes that is the identity
        y: Tensor = self.classifier(self.features(x).flatten(1))
        return y


def build(num_classes: int, batch_norm: bool = False, small: bool = False) -> VGG:
    """Build VGG-16."""
    return VGG(num_classes, batch_norm, small)
