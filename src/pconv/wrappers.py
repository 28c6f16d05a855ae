"""What torch puts around a module, or around a weight, without changing what it is."""

import copy

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils import parametrize


def unwrap(module: nn.Module) -> nn.Module:
    """Give the user's own module out of DataParallel, DistributedDataParallel or torch.compile: its names count."""
    while True:
        if isinstance(module, DataParallel | DistributedDataParallel):
            module = module.module
        elif isinstance(compiled := getattr(module, "_orig_mod", None), nn.Module):
            module = compiled
        else:
            return module


def first_names(module: nn.Module) -> dict[str, str]:
    """Give every name of each parameter and buffer, and the first of that tensor's names, which is what counts."""
    tensors = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors}


def copied(module: nn.Module) -> nn.Module:
    """Copy a module; what its last run left in it (torch's older weight_norm) is copied as numbers alone."""
    held = [value for part in module.modules() for value in (*vars(part).values(), *part.buffers(False))]
    computed = [value for value in held if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(module, {id(value): value.detach().clone() for value in computed})


def with_plain_weights(module: nn.Module) -> nn.Module:
    """Give the module, or where weights are computed (masked, normed) a copy that holds them under their own names."""
    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    twin = copied(module).eval()
    for part in list(twin.modules()):
        if parametrize.is_parametrized(part):
            own_class(part)
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name)
    return twin


def own_class(part: nn.Module) -> None:
    """Unshare the class that torch made for a parametrized module: a deepcopy has it too; removal empties it."""
    shared = type(part)
    part.__class__ = type(shared.__name__, shared.__bases__, dict(shared.__dict__))
