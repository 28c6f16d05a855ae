"""Random weights under which every layer matters and no activation explodes.

Batch norms get statistics and scales that differ from channel to channel, so that folding them is put to the
test. Then one image of noise runs through, and each convolution or linear layer is scaled until its output
has a standard deviation near 1, however deep the network is and whatever its shortcuts add.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

WEIGHTED = (nn.Conv2d, nn.Linear)


def randomise(module: nn.Module, input_shape: Sequence[int], seed: int) -> None:
    """Fill a network's parameters and statistics from `seed`.

    Source: Kaiming initialisation (He et al., 2015), then layer-sequential unit variance (Mishkin and Matas,
    2015). Ours: the scales are powers of two, so that the same seed gives the same bits on every machine.
    """
    generator = torch.Generator().manual_seed(seed)
    hooks = []
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, WEIGHTED):
                fan_in = layer.weight[0].numel()
                layer.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
                if layer.bias is not None:
                    layer.bias.normal_(0.0, 0.1, generator=generator)
                hooks.append(layer.register_forward_hook(_scale_to_unit))
            elif isinstance(layer, _BatchNorm):
                _randomise_batch_norm(layer, generator)
        module(torch.randn(*input_shape, generator=generator, device="cpu"))
    for hook in hooks:
        hook.remove()


def _randomise_batch_norm(layer: _BatchNorm, generator: torch.Generator) -> None:
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.normal_(0.0, 0.1, generator=generator)
    layer.running_var.uniform_(0.5, 1.5, generator=generator)
    layer.weight.uniform_(0.5, 1.5, generator=generator)
    layer.bias.normal_(0.0, 0.1, generator=generator)


def _scale_to_unit(layer: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    scale = 2.0 ** -round(math.log2(output.std().item()))
    for parameter in layer.parameters(recurse=False):
        parameter.mul_(scale)
    return output * scale
