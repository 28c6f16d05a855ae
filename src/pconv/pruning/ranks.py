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
    for (dtype, _), alike in kinds.items():
        wire = torch.cat([tensor.reshape(-1) for tensor in alike])
        wire = wire.to(torch.uint8) if dtype == torch.bool else wire
        dist.broadcast(wire, src=0)
        parts = wire.split([tensor.numel() for tensor in alike])  # type: ignore[no-untyped-call]
        for tensor, part in zip(alike, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
