"""Two processes train one module: the masks are rank 0's on both, whatever each rank would choose."""

from datetime import timedelta
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import distributed, nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from pconv.patterns import library  # noqa: E402
from pconv.pruning import prune  # noqa: E402
from pconv.pruning.ranks import _carrier, _served, broadcast  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch
STEPS = 8


def make(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", timedelta(minutes=2), rank=rank, world_size=2
    )
    results = {}
    rest = {
        "settle": 2.0 * rank,
        "freeze": 1.0,
    }  # by its own masks rank 1 would rest at once, and rank 0 never
    for method, given in (("magnitude", {}), ("gradual", rest), ("admm", {})):
        for wrapped_first in (False, True):
            module = make(seed=rank)  # another start on each rank
            if wrapped_first:
                module = DistributedDataParallel(module)
            pruner = prune(module, Recipe(compression_rate=4.5), method, STEPS, **given)
            if not wrapped_first:
                module = DistributedDataParallel(module)
            optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
            generator = torch.Generator().manual_seed(rank)  # other images on each rank
            masks = []
            for _ in range(STEPS):
                loss = module(torch.randn(4, 3, 8, 8, generator=generator)).square().sum() + pruner.penalty()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                pruner.step()
                masks.append((pruner.settled(), pruner.sparsity().to_json()))
            sparsity = pruner.finish()
            plain = module.module
            results[method, wrapped_first] = masks, sparsity.to_json(), plain.state_dict()
            arrays = {name: layer.weight.detach().numpy() for name, layer in pruner.layers.items()}
            assert sorted(arrays) == ["0", "2", "6"]  # names without DistributedDataParallel's "module."
            assert sparsity.verify(arrays, library("scp8")) == []
    # Another pruner under the same wrapper: gradients are still those of both ranks.
    pruner = prune(module, method="keep", sparsity=sparsity)
    for _ in range(2):
        optimizer.zero_grad()
        module(torch.randn(4, 3, 8, 8, generator=generator)).square().sum().backward()
        optimizer.step()
    results["keep", True] = [], pruner.finish().to_json(), plain.state_dict()
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_masks_are_the_same_on_all_ranks(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(first) == 7
    for key, (masks, sparsity, state) in first.items():
        assert (masks, sparsity) == second[key][:2], key
        assert all(torch.equal(value, second[key][2][name]) for name, value in state.items()), key


@pytest.mark.parametrize(
    ("backends", "device", "carrier"),
    [
        ("gloo", "cpu", "cpu"),
        ("gloo", "cuda:1", "cuda:1"),
        ("cuda:gloo", "cpu", "cuda"),  # as NCCL, which serves no CPU either
        ("cuda:gloo", "cuda:1", "cuda:1"),
    ],
)
def test_what_travels_lies_where_the_group_can_send_it(
    tmp_path: Path, backends: str, device: str, carrier: str
) -> None:
    distributed.init_process_group(backends, f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        served = _served(distributed.get_backend_config())
    finally:
        distributed.destroy_process_group()
    assert _carrier(torch.device(device), served) == torch.device(carrier)


def test_masks_are_sent_from_a_device_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sent(Exception):
        pass

    def send(wire: torch.Tensor, src: int) -> None:
        raise Sent(f"{wire.device.type}, {wire.dtype}")

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_backend_config", lambda: "meta:gloo")  # stands for a GPU
    monkeypatch.setattr(distributed, "broadcast", send)
    with pytest.raises(Sent, match=r"meta, torch\.uint8"):
        broadcast([torch.zeros(2, 3, dtype=torch.bool)])
