"""One choice for all ranks of a distributed run: that of rank 0."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every rank rank 0's values, in place; do nothing outside of a distributed run.

    Ranks choose from equal weights, but sums in another order may tip a tie, and before the module is wrapped the
    weights may differ.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    served = _served(dist.get_backend_config())
    for (dtype, device), alike in kinds.items():
        wire = torch.cat([tensor.reshape(-1) for tensor in alike]).to(_carrier(device, served))
        wire = wire.to(torch.uint8) if dtype == torch.bool else wire
        dist.broadcast(wire, src=0)
        parts = wire.split([tensor.numel() for tensor in alike])  # type: ignore[no-untyped-call]
        for tensor, part in zip(alike, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def _served(backends: str) -> list[str]:
    """List the kinds of device that a group can send from, out of torch's text: "cpu:gloo,cuda:nccl"."""
    return [pair.partition(":")[0] for pair in backends.split(",")]


def _carrier(device: torch.device, served: list[str]) -> torch.device:
    """Choose where a tensor is sent from: where it lies, else this process's current device of a kind that is served.

    NCCL serves GPUs alone, and a module is pruned before it moves to one.
    """
    return device if device.type in served else torch.device(served[0])
