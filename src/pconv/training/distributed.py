"""Several processes, one network: what torchrun sets up, read from its environment. No launcher of our own.

One process is the case of one rank; nothing else in this room asks how many there are.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pconv.errors import PconvError


@dataclass(frozen=True)
class Ranks:
    """Say which of how many processes this is; `rank` 0 speaks and writes."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Say whether this process speaks and writes for all."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Add numbers up over all ranks."""
        if self.world == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        if distributed.get_backend() == "nccl":
            summed = summed.cuda(self.local)
        distributed.all_reduce(summed)
        return [float(value) for value in summed]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            distributed.barrier()


ALONE = Ranks()


@contextmanager
def join(device: str | None = None) -> Iterator[Ranks]:
    """Join the group that torchrun describes, until the block ends; alone where there is none."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    cuda = torch.cuda.is_available() and device != "cpu"
    if cuda:
        torch.cuda.set_device(ranks.local)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ranks
        # Measured: a rank that leaves before the others, or with wrapped modules still alive, now and then
        # aborts at its exit in gloo's threads (one run in twenty).
        gc.collect()
        ranks.barrier()
    finally:
        distributed.destroy_process_group()


def choose_device(name: str | None, ranks: Ranks) -> torch.device:
    """Return the device to train on: the one named, else this rank's GPU, else the CPU.

    Raises: PconvError for a device that is not there.
    """
    if name is None:
        return torch.device("cuda", ranks.local) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PconvError(
            f"device {name}: not available here; allowed cpu, or cuda where torch sees a GPU."
        ) from error
    return device


def spread(module: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """Wrap a network so that its gradients are averaged over all ranks.

    Rank 0's buffers, masks among them, go to all at every step. On GPUs batch norms see the global batch.
    """
    if ranks.world == 1:
        return module
    return DistributedDataParallel(module, device_ids=[device.index] if device.type == "cuda" else None)


def share_batch_norms(module: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """Let batch norms see the global batch, where torch can do it (on GPUs).

    Before pruning and before anyone holds a layer: it replaces modules.
    """
    if ranks.world == 1 or device.type != "cuda":
        return module
    shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
    return shared
