"""Weights to begin training from scratch with."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def initialise(module: nn.Module, seed: int) -> None:
    """Fill a network's weights for training; torch's own random state stays as it was.

    Source: Kaiming initialisation by fan-out for convolutions (He et al., 2015); 0.01 for linear layers, as in VGG.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.weight[:, 0].numel()
                layer.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
            elif isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 0.01, generator=generator)
            elif isinstance(layer, _BatchNorm):
                layer.reset_running_stats()
                nn.init.ones_(layer.weight)
            else:
                continue
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
