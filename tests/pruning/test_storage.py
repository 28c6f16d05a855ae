"""Packed state dicts: small, exact, and refused when damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

import pconv  # noqa: E402
from pconv.errors import BuildError, ModelError, PconvError  # noqa: E402
from pconv.pruning import load_sparse, prune, read_sparse, save_sparse  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=6, group=4, fc_group=4)


def parts_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_loaded_is_what_was_saved(module, network, tmp_path: Path, dtype) -> None:
    sparsity = prune(module.to(dtype), RECIPE).finish()
    path = save_sparse(module, tmp_path / "net.safetensors", sparsity)
    other = network(seed=5).to(dtype)
    assert load_sparse(other, path) == sparsity
    for key, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[key], value) and other.state_dict()[key].dtype == value.dtype
    assert prune(other, method="keep", sparsity=sparsity).finish() == sparsity


def test_training_goes_on_from_the_file(module, network, tmp_path: Path, train, sgd) -> None:
    sparsity = prune(module, RECIPE).finish()
    path = save_sparse(module, tmp_path / "net.safetensors")
    other = network(seed=5)
    pruner = prune(other, method="keep", sparsity=load_sparse(other, path))
    train(other, pruner, sgd(other), 0, 5)
    assert pruner.finish() == sparsity
    assert read_sparse(save_sparse(other, path))[1].layers["fc"] == sparsity.layers["fc"]


@pytest.mark.parametrize(("group", "index_bytes"), [(1, 64 * 14 * 2), (16, 4 * 14 * 2)])
def test_the_file_is_small(tmp_path: Path, group: int, index_bytes: int) -> None:
    module = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Conv2d(64, 64, 3, bias=False))
    rule = Recipe(compression_rate=9.0, group=group, exclude=("0",))
    layer = prune(module, rule).finish().layers["1"]
    path = save_sparse(module, tmp_path / "net.safetensors")
    dense = 4 * sum(p.numel() for p in module[0].parameters())
    kept = 4 * layer.kept_elems
    # the rest: set of each filter, offsets, and the file's own header
    assert path.stat().st_size < dense + kept + index_bytes + 64 + 260 + 1600


def test_large_kernels_and_lone_layers(tmp_path: Path) -> None:
    for module in (nn.Conv2d(8, 8, 11), nn.Linear(32, 16)):
        sparsity = prune(module, Recipe(compression_rate=4)).finish()
        path = save_sparse(module, tmp_path / "one.safetensors")
        other = type(module)(*module.weight.shape[1::-1], *module.weight.shape[3:])
        assert load_sparse(other, path) == sparsity
        assert torch.equal(other.weight, module.weight)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, torch.nn.utils.spectral_norm])
def test_a_computed_weight_is_saved_as_what_it_is_made_of(tmp_path: Path, norm) -> None:
    module, other = (nn.Sequential(nn.Linear(8, 8), norm(nn.Linear(8, 8))) for _ in range(2))
    sparsity = prune(module, Recipe(compression_rate=2, exclude=("1",))).finish()
    path = save_sparse(module, tmp_path / "net.safetensors", sparsity)
    assert load_sparse(other, path) == sparsity
    x = torch.ones(1, 8)
    assert torch.equal(other.eval()(x), module.eval()(x))


def test_a_module_under_masks_is_refused(module, tmp_path: Path) -> None:
    pruner = prune(module, RECIPE)
    with pytest.raises(ModelError, match=r"still carries masks; call the pruner's finish\(\) first"):
        save_sparse(module, tmp_path / "net.safetensors")
    sparsity = pruner.finish()
    with torch.no_grad():
        module.fc.weight.fill_(1)
    with pytest.raises(ModelError, match=r"fc: \d+ pruned weights are no longer zero"):
        save_sparse(module, tmp_path / "net.safetensors", sparsity)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BuildError, match=r"cannot be written .*Choose another place"):
        save_sparse(module, Path("/dev/null/net.safetensors"))


def test_another_network_is_refused_and_stays_as_it_was(module, tmp_path: Path) -> None:
    path = save_sparse(module, tmp_path / "net.safetensors")
    other = nn.Sequential(nn.Linear(4, 4))
    before = other[0].weight.clone()
    with pytest.raises(ModelError, match=r"tensors are not those of this Sequential, the first is 0\.bias"):
        load_sparse(other, path)
    assert torch.equal(other[0].weight, before)


def damage(tensors: dict[str, torch.Tensor], how: str) -> None:
    if how == "channel":
        tensors["fc.weight/channels"] = tensors["fc.weight/channels"].int() + 1000
    elif how == "filters":
        tensors["fc.weight/filters"] = tensors["fc.weight/filters"][:-1]
    elif how == "values":
        tensors["fc.weight/values"] = tensors["fc.weight/values"][:-1]
    elif how == "offsets":
        tensors["fc.weight/offsets"] = tensors["fc.weight/offsets"].int().flip(0)
    else:
        del tensors["fc.weight/shapes"]


@pytest.mark.parametrize("how", ["channel", "filters", "values", "offsets", "missing"])
def test_damaged_files_are_refused(module, tmp_path: Path, how: str) -> None:
    prune(module, RECIPE).finish()
    tensors, metadata = parts_of(save_sparse(module, tmp_path / "net.safetensors"))
    damage(tensors, how)
    save_file(tensors, tmp_path / "bad.safetensors", metadata)
    with pytest.raises(ModelError, match=r"bad\.safetensors: not a file of save_sparse, or damaged"):
        load_sparse(module, tmp_path / "bad.safetensors")


def test_other_files_are_refused(module, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(ModelError, match=r"net\.safetensors: cannot be read"):
        load_sparse(module, path)
    path.write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not a file of save_sparse, or damaged"):
        load_sparse(module, path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="not a file of save_sparse, or damaged"):
        load_sparse(module, path)
    save_file({"x": torch.ones(1)}, path, {"pconv.sparse": json.dumps({"format": 2, "layers": {}})})
    with pytest.raises(ModelError, match="format 2; allowed 1"):
        load_sparse(module, path)


def test_it_says_what_is_missing(module, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pconv.extras.find_spec", lambda name: None)
    with pytest.raises(
        PconvError, match=r"save_sparse: safetensors is not installed.*pip install safetensors\.$"
    ):
        save_sparse(module, tmp_path / "net.safetensors")


class Remembers(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def test_a_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    path, module = tmp_path / "net.safetensors", nn.Sequential(Remembers(8, 8))
    with pytest.raises(
        ModelError, match=r"save_sparse: 0\._extra_state of this Sequential is a dict; allowed"
    ):
        save_sparse(module, path)
    save_sparse(nn.Sequential(nn.Linear(8, 8)), path)
    with pytest.raises(
        ModelError, match=r"load_sparse: 0\._extra_state of this Sequential is a dict; allowed"
    ):
        load_sparse(module, path)
    pconv.export(module, tmp_path / "net.onnx", (1, 8), fold=False)
    with pytest.raises(ModelError, match=r"0\._extra_state of this Sequential is a dict, which ONNX does"):
        pconv.load_weights(module, tmp_path / "net.onnx")


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weight = nn.Conv2d(3, 8, 3), nn.Parameter(torch.ones(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)) @ self.weight


def test_a_map_may_name_dense_products_that_are_no_layer(tmp_path: Path) -> None:
    module = Product().eval()
    sparsity = prune(module).finish()
    pconv.export(module, tmp_path / "net.onnx", (1, 3, 8, 8), fold=False)
    found = pconv.load_weights(module, tmp_path / "net.onnx")
    assert found.layers.keys() > sparsity.layers.keys()
    path = save_sparse(module, tmp_path / "net.safetensors", found)
    assert load_sparse(Product(), path) == sparsity


def test_chance_zeros_are_values_where_a_map_says_so(module, network, tmp_path: Path) -> None:
    sparsity = prune(module, RECIPE).finish()
    with torch.no_grad():
        module.fc.weight.zero_()
    other = network(seed=2)
    assert load_sparse(other, save_sparse(module, tmp_path / "a.safetensors", sparsity)) == sparsity
    assert not np.any(other.fc.weight.detach().numpy())
