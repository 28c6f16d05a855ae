"""Out to ONNX, back into torch, on with training, out again: nothing is filled in."""

import copy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import pconv  # noqa: E402
from pconv.errors import ModelError  # noqa: E402
from pconv.graph import load  # noqa: E402
from pconv.graph.prune import layer_weights, read_sparsity  # noqa: E402

pytestmark = pytest.mark.torch
INPUTS = (1, 3, 8, 8)


def make(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    for norm in (module[1], module[4]):
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.running_mean)
    return module


def train(module: nn.Module, pruner, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(
            module.train()(torch.randn(8, 3, 8, 8)), torch.randint(0, 10, (8,))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step()


@pytest.mark.parametrize("fold", [True, False])
def test_the_file_answers_as_the_module_does(tmp_path: Path, fold: bool) -> None:
    module = make()
    sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, sparsity, fold=fold)
    model = load(path)
    assert read_sparsity(model) == sparsity
    assert any(node.op_type == "BatchNormalization" for node in model.graph) is not fold
    x = torch.randn(INPUTS)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    np.testing.assert_allclose(pconv.compile(path)(x.numpy()), expected, atol=1e-5)


def test_training_goes_on_and_nothing_is_filled_in(tmp_path: Path) -> None:
    first = make()
    pruner = pconv.prune(first, pconv.Recipe(compression_rate=4))
    train(first, pruner)
    sparsity = pruner.finish()
    path = pconv.export(first, tmp_path / "first.onnx", INPUTS, sparsity, fold=False)

    second = make(seed=1)
    loaded = pconv.load_weights(second, path)
    assert loaded == sparsity
    x = torch.randn(INPUTS)
    assert torch.equal(second.eval()(x), first.eval()(x))
    pruner = pconv.prune(second, method="keep", sparsity=loaded)
    train(second, pruner)
    again = pconv.export(second, tmp_path / "second.onnx", INPUTS, pruner.finish())
    assert sparsity.verify(layer_weights(load(again))) == []
    assert read_sparsity(load(again)) == sparsity
    assert not torch.equal(second[3].weight, first[3].weight)


def test_bfloat16_is_read_back(tmp_path: Path) -> None:
    module = make().to(torch.bfloat16)
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, fold=False)
    for other in (make(seed=1).to(torch.bfloat16), make(seed=1)):
        pconv.load_weights(other, path)
        for key, value in other.state_dict().items():
            assert torch.equal(value, module.state_dict()[key].to(value.dtype)), key


def test_a_module_that_is_being_pruned_is_written_as_it_stands(tmp_path: Path) -> None:
    module = make()
    module[3] = nn.utils.parametrizations.weight_norm(module[3])
    pruner = pconv.prune(module, pconv.Recipe(compression_rate=4, exclude=("3",)))
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, pruner.sparsity())
    assert set(layer_weights(load(path))) == {"0", "3", "8"}
    x = torch.randn(INPUTS)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    np.testing.assert_allclose(pconv.compile(path)(x.numpy()), expected, atol=1e-5)
    train(module, pruner)
    assert pruner.finish() == read_sparsity(load(path))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_module_that_is_being_pruned_may_have_a_norm_of_the_older_kind(tmp_path: Path) -> None:
    module = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 8, 3)), nn.Conv2d(8, 8, 3))
    x = torch.randn(INPUTS)
    module(x)
    pruner = pconv.prune(module, pconv.Recipe(compression_rate=4, exclude=("0",)))
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(pconv.compile(path)(x.numpy()), expected, atol=1e-5)
    assert read_sparsity(load(path)).layers["1"] == pruner.finish().layers["1"]


class Rows(nn.Module):
    """Layers that read the channels last, as in ConvNeXt and transformers: products with transposed weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.wide, self.square = nn.Conv2d(3, 8, 3), nn.Linear(8, 16), nn.Linear(16, 16)
        self.turned, self.plain = (nn.Parameter(torch.randn(16, 16)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.square(torch.relu(self.wide(self.conv(x).permute(0, 2, 3, 1))))
        return nn.functional.linear(x, self.turned) @ self.plain


@pytest.mark.parametrize("fold", [True, False])
def test_layers_on_rows_keep_their_names_and_come_back(tmp_path: Path, fold: bool) -> None:
    module, other = Rows(), Rows(seed=1)
    sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, sparsity, fold=fold)
    assert {"conv", "wide", "square"} <= layer_weights(load(path)).keys()
    assert pconv.load_weights(other, path) == sparsity
    assert all(map(torch.equal, other.state_dict().values(), module.state_dict().values()))
    assert pconv.prune(other, method="keep", sparsity=sparsity).finish() == sparsity


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_a_module_within_another_is_the_one_that_counts(tmp_path: Path, wrap) -> None:
    """torch.compile puts a prefix before all names, and so do DataParallel and DistributedDataParallel."""
    module, other = wrap(make()), wrap(make(seed=1))
    sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, sparsity, fold=False)
    assert pconv.load_weights(other, path) == sparsity
    assert all(map(torch.equal, other.state_dict().values(), module.state_dict().values()))


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_module_that_is_itself_the_layer_has_a_name(tmp_path: Path, fold: bool, bias: bool) -> None:
    inputs = {nn.Conv2d: INPUTS, nn.Linear: (1, 8)}
    for module in (nn.Conv2d(3, 16, 3, bias=bias), nn.Linear(8, 16, bias=bias)):
        sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
        path = pconv.export(module, tmp_path / "net.onnx", inputs[type(module)], sparsity, fold=fold)
        assert read_sparsity(load(path)) == sparsity
        if not fold:
            assert pconv.load_weights(copy.deepcopy(module), path) == sparsity
        x = torch.randn(inputs[type(module)])
        np.testing.assert_allclose(pconv.compile(path)(x.numpy()), module(x).detach().numpy(), atol=1e-5)


class Aliases(nn.Module):
    """Layers under two names, as where a network lists its parts once more."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, bias=False)
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(8, 8)
        self.features = nn.Sequential(self.conv1, nn.ReLU(), self.conv2, self.norm)
        self.head = nn.Sequential(self.fc, nn.ReLU(), self.fc)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


@pytest.mark.parametrize("fold", [True, False])
def test_a_layer_with_two_names_goes_by_the_first(tmp_path: Path, fold: bool) -> None:
    module, other = Aliases(), Aliases(seed=1)
    sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
    assert list(sparsity.layers) == ["conv1", "conv2", "fc"]
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, sparsity, fold=fold)
    assert read_sparsity(load(path)) == sparsity
    if not fold:
        assert pconv.load_weights(other, path) == sparsity
        assert all(map(torch.equal, other.state_dict().values(), module.state_dict().values()))


def test_a_file_with_the_other_name_comes_back_too(tmp_path: Path) -> None:
    class Renamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.features(x)

    class Both(Renamed):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = self.features[0]
            self.features = self._modules.pop("features")  # comes second

    module, other = Renamed(), Both()
    path = pconv.export(module, tmp_path / "net.onnx", INPUTS, fold=False)
    pconv.load_weights(other, path)
    assert next(iter(other.state_dict())) == "conv1.weight"
    assert torch.equal(other.conv1.weight, module.features[0].weight)


def test_a_filled_module_is_not_written(tmp_path: Path) -> None:
    module = make()
    sparsity = pconv.prune(module, pconv.Recipe(compression_rate=4)).finish()
    with torch.no_grad():
        module[3].weight.fill_(1)
    with pytest.raises(ModelError, match=r"3: \d+ pruned weights are no longer zero"):
        pconv.export(module, tmp_path / "net.onnx", INPUTS, sparsity)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_this_network_is_refused(tmp_path: Path) -> None:
    module = make()
    folded = pconv.export(module, tmp_path / "folded.onnx", INPUTS)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(
        ModelError, match=r"1\.weight is \[16\] in this Sequential, the file has nothing; .*fold=False"
    ):
        pconv.load_weights(module, folded)
    whole = pconv.export(module, tmp_path / "whole.onnx", INPUTS, fold=False)
    other = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(ModelError, match=r"0\.weight is \[8, 3, 3, 3\] .*the file has \[16, 3, 3, 3\]"):
        pconv.load_weights(other, whole)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
