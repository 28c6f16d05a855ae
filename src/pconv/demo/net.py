"""The network of the digits demo: six 3x3 convolutions, large enough that pruning shows in its latency."""

from torch import Tensor, nn

# channels of the 3x3 convolutions of each stage; a stage halves the image
STAGES = ((32, 64, 64), (128, 128, 128))


class DigitsNet(nn.Module):
    """Convolutions at 16x16 and 8x8, global average, linear classifier: 38 million multiply-adds.

    Shapes: [n, 1, 16, 16] -> [n, 10].
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 1
        for stage in STAGES:
            for channels in stage:
                layers += [
                    nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
                    nn.BatchNorm2d(channels),
                ]
                layers.append(nn.ReLU(inplace=True))
                in_channels = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits
