"""DnCNN (Zhang et al., 2017): removes noise from grey images, and returns the noise."""

from torch import Tensor, nn

LAYERS = 17
CHANNELS = 64


class DnCNN(nn.Module):
    """Seventeen 3x3 convolutions with bias; the clean image is x - DnCNN(x), with x in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(LAYERS - 2):
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(CHANNELS, 1, 3, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        noise: Tensor = self.model(x)
        return noise


def build(num_classes: None) -> DnCNN:
    """Build DnCNN."""
    return DnCNN()
