"""What torch puts around a module without changing it."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrap(module: nn.Module) -> nn.Module:
    """Give the user's own module out of DistributedDataParallel or torch.compile: its names are what counts."""
    while True:
        if isinstance(module, DistributedDataParallel):
            module = module.module
        elif isinstance(compiled := getattr(module, "_orig_mod", None), nn.Module):
            module = compiled
        else:
            return module
