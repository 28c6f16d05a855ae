"""Pruning of torch modules: the zeros hold through training, and nothing else changes."""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

from pconv.errors import ModelError, RecipeError  # noqa: E402
from pconv.graph import load  # noqa: E402
from pconv.graph.prune import find_layers  # noqa: E402
from pconv.patterns import library  # noqa: E402
from pconv.pruning import MagnitudePruner, Pruner, prune  # noqa: E402
from pconv.recipe import Recipe, plan_layers  # noqa: E402
from pconv.sparsity import SparsityMap  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=6, fc_group=4)


def test_one_shot_leaves_plain_weights_with_the_zeros(module: nn.Module, weights_of) -> None:
    before = {key: value.clone() for key, value in module.state_dict().items()}
    sparsity = prune(module, RECIPE).finish()
    after = module.state_dict()
    assert list(after) == list(before)
    weights = weights_of(module)
    assert sparsity.verify(weights, library("scp8")) == []
    assert SparsityMap.detect(weights) == sparsity
    assert sparsity.layers["block.0"].compression_rate == pytest.approx(6, rel=0.1)
    assert sparsity.layers["stem"].compression_rate == sparsity.layers["depth"].compression_rate == 2.25
    for key, value in after.items():
        kept = value != 0 if key.endswith("weight") else torch.ones_like(value, dtype=bool)
        assert torch.equal(value[kept], before[key][kept])


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_fine_tuning_never_fills_a_zero(module: nn.Module, train, weights_of, make, before: bool) -> None:
    optimizer = make(module.parameters()) if before else None
    if optimizer:  # momentum from dense training pulls at what is about to be pruned
        train(module, MagnitudePruner(module, Recipe(compression_rate=1)), optimizer, 0, 4)
    pruner = prune(module, RECIPE)
    start = module.block[0].weight.clone()
    train(module, pruner, optimizer or make(module.parameters()), 4, 8)
    sparsity = pruner.finish()
    weights = weights_of(module)
    assert sparsity.verify(weights, library("scp8")) == []
    assert SparsityMap.detect(weights) == sparsity
    assert not torch.equal(module.block[0].weight, start)  # it did learn


def test_zeros_stay_after_finish_reload_and_copy(module: nn.Module, network, weights_of) -> None:
    sparsity = prune(module, RECIPE).finish()
    reloaded = network(seed=1)
    reloaded.load_state_dict(module.state_dict())
    for twin in (reloaded, copy.deepcopy(module)):
        assert type(twin.stem) is nn.Conv2d
        assert sparsity.verify(weights_of(twin)) == []


def test_a_copy_made_while_pruning_is_its_own(module: nn.Module) -> None:
    pruner = prune(module, RECIPE)
    twin = copy.deepcopy(module)
    pruner.finish()
    x = torch.ones(1, 3, 8, 8)
    assert torch.equal(module.eval()(x), twin.eval()(x))


def test_finish_is_the_same_twice(module: nn.Module) -> None:
    pruner = prune(module, RECIPE)
    assert pruner.sparsity() == pruner.finish() == pruner.finish()


def test_checkpoints_while_pruning_carry_the_masks(module: nn.Module, network, weights_of) -> None:
    prune(module, RECIPE)
    other = network(seed=1)
    pruner = prune(other, RECIPE)
    other.load_state_dict(module.state_dict())
    sparsity = pruner.finish()
    assert sparsity.verify(weights_of(other)) == []
    x = torch.ones(1, 3, 8, 8)
    assert torch.equal(other.eval()(x), module.eval()(x))


def test_a_method_overrides_select_alone(module: nn.Module) -> None:
    class Gradual(Pruner):
        def select(self, step: int):
            masks = {name: np.ones(rule.shape, bool) for name, rule in self.rules.items()}
            for name in masks:
                masks[name].reshape(-1)[: step * 10] = False
            return masks

    pruner = Gradual(module, RECIPE)
    pruner.prepare()
    assert pruner.sparsity().layers["fc"].sparsity == 0
    pruner.step()
    pruner.step()
    pruner.finish()
    assert not module.fc.weight.view(-1)[:20].any() and module.fc.weight.view(-1)[20:].all()


def test_a_pruned_weight_stays_positive_zero_under_infinity(module: nn.Module) -> None:
    pruner = prune(module, RECIPE)
    with torch.no_grad():
        module.fc.parametrizations.weight.original.fill_(-torch.inf)
    pruner.finish()
    zeros = module.fc.weight[module.fc.weight == 0]
    assert len(zeros) and not torch.signbit(zeros).any() and not module.fc.weight.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_types_are_kept(module: nn.Module, dtype: torch.dtype) -> None:
    sparsity = prune(module.to(dtype), RECIPE).finish()
    assert module.block[0].weight.dtype == dtype
    assert sparsity.layers["block.0"].balanced


def test_a_lone_layer_has_a_name() -> None:
    sparsity = prune(nn.Linear(16, 8), Recipe(compression_rate=2)).finish()
    assert list(sparsity.layers) == ["weight"]


def test_a_module_used_twice_is_one_layer() -> None:
    conv = nn.Conv2d(8, 8, 3)
    sparsity = prune(nn.Sequential(conv, nn.ReLU(), conv), Recipe()).finish()
    assert list(sparsity.layers) == ["0"]
    assert sparsity.verify({"0": conv.weight.detach().numpy()}, library("scp8")) == []


def test_a_tied_weight_is_refused_unless_dense() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight = module[0].weight
    with pytest.raises(ModelError, match=r"0: its weight is shared \(0.weight, 1.weight\).*exclude"):
        prune(module, Recipe())
    assert "parametrizations" not in "".join(module.state_dict())
    assert prune(module, Recipe(exclude=("0", "1"))).finish().layers["2"].compression_rate == 8


def test_a_weight_in_the_memory_of_another_is_refused_unless_dense() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight = nn.Parameter(module[0].weight.data)
    for excluded in ((), ("1",)):
        with pytest.raises(ModelError, match=r"0: its weight is shared \(0.weight, 1.weight\).*exclude"):
            prune(module, Recipe(exclude=excluded))
    assert prune(module, Recipe(exclude=("0", "1"))).finish().layers["2"].compression_rate == 8


@pytest.mark.parametrize("dim", [0, 1])
def test_views_of_one_buffer_are_weights_of_their_own(dim: int) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    rows = torch.randn(16, 8) if dim == 0 else torch.randn(8, 16)
    for layer, view in zip(module, rows.split(8, dim), strict=True):
        layer.weight = nn.Parameter(view)
    sparsity = prune(module, Recipe(compression_rate=2)).finish()
    assert [layer.compression_rate for layer in sparsity.layers.values()] == [2, 2]
    module[1].weight = nn.Parameter(rows[1:9] if dim == 0 else rows[:, 1:9])
    with pytest.raises(ModelError, match="0: its weight is shared"):
        prune(module)


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)


class Centred(nn.Conv2d):
    def _conv_forward(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


class Renamed(nn.Conv2d):
    pass


def test_layers_that_may_compute_other_weights_are_named_once(caplog) -> None:
    layers = Standardised(3, 8, 3), Standardised(8, 8, 3), Renamed(8, 8, 3), nn.MultiheadAttention(8, 2)
    prune(nn.Sequential(*layers), Recipe())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("0 (Standardised) and 1 more: its class has a forward of its own.")
    caplog.clear()
    patched = nn.Linear(8, 8)
    patched.forward = lambda x: nn.functional.linear(x, patched.weight - patched.weight.mean())
    prune(nn.Sequential(nn.Conv2d(3, 8, 3), patched, Centred(8, 8, 3)), Recipe())
    assert caplog.messages[0].startswith("1 (Linear) and 1 more: ")
    caplog.clear()
    qat = torch.ao.nn.qat.Conv2d(8, 8, 3, qconfig=torch.ao.quantization.get_default_qat_qconfig())
    prune(nn.Sequential(Standardised(3, 8, 3), Renamed(8, 8, 3), qat), Recipe(exclude=("0",)))
    assert not caplog.messages


def test_computed_weights_are_refused() -> None:
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 8)))
    with pytest.raises(ModelError, match="0: its weight is parametrized already; remove that first"):
        prune(normed, Recipe())
    pruner = prune(module := nn.Sequential(nn.Linear(8, 8)), Recipe())
    with pytest.raises(ModelError, match="parametrized already"):
        prune(module, Recipe())
    pruner.finish()
    fixed = nn.Sequential(nn.Linear(8, 8))
    del fixed[0].weight
    fixed[0].register_buffer("weight", torch.ones(8, 8))
    with pytest.raises(ModelError, match="computed, not a parameter"):
        prune(fixed, Recipe())


@pytest.mark.parametrize("method", ["magnitude", "gradual", "admm"])
def test_a_dense_layer_may_compute_its_weight(method: str) -> None:
    module = nn.Sequential(nn.Linear(8, 8), parametrizations.weight_norm(nn.Linear(8, 8)))
    pruner = prune(module, Recipe(compression_rate=2, exclude=("1",)), method=method, steps=4)
    pruner.step()
    assert math.isfinite(pruner.penalty().item())
    sparsity = pruner.finish()
    assert [layer.compression_rate for layer in sparsity.layers.values()] == [2, 1]
    assert parametrize.is_parametrized(module[1], "weight")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        module.block[0].weight[1, 2, 0, 0] = value
    with pytest.raises(ModelError, match=r"block\.0: 1 weights are NaN or infinite"):
        prune(module, Recipe(exclude=("block.0",)))
    assert not any("parametrizations" in key for key in module.state_dict())


def test_modules_without_layers_or_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match="ReLU: has no Conv2d or Linear layer"):
        prune(nn.ReLU())
    with pytest.raises(ModelError, match=r"0: its weights have no shape yet\. Run the module once"):
        prune(nn.Sequential(nn.LazyConv2d(8, 3)))


def test_weights_that_are_not_here_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"0: its weights are on the meta device, without values\. Load them"
    ):
        prune(nn.Sequential(nn.Conv2d(3, 8, 3, device="meta")))

    class Sharded(torch.Tensor):
        pass

    module = nn.Sequential(nn.Linear(8, 8))
    module[0].weight = nn.Parameter(torch.ones(8, 8).as_subclass(Sharded))
    with pytest.raises(ModelError, match=r"0: its weights are a Sharded; .*before they are sharded"):
        prune(module)


def test_the_parameter_stays_what_and_where_it_is(module: nn.Module) -> None:
    """Optimisers hold it, DistributedDataParallel hooks into it, and layouts are chosen for speed."""
    module.to(memory_format=torch.channels_last)
    weight, place = module.block[0].weight, module.block[0].weight.data_ptr()
    pruner = prune(module, RECIPE)
    assert module.block[0].weight.is_contiguous(memory_format=torch.channels_last)
    pruner.finish()
    assert module.block[0].weight is weight and weight.data_ptr() == place
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_unknown_layers_are_refused(module: nn.Module) -> None:
    with pytest.raises(RecipeError, match=r"layers.block.1: .*did you mean block.0"):
        prune(module, Recipe(layers={"block.1": 4}))


def test_the_first_layer_reads_an_image() -> None:
    module = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 3), nn.Conv2d(3, 8, 3))
    keeps = {name: rule.keep for name, rule in MagnitudePruner(module, Recipe()).rules.items()}
    assert keeps == {"0": 2, "1": 2, "2": 3}


def test_a_depthwise_layer_is_not_the_first() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3))
    rules = MagnitudePruner(module, Recipe()).rules
    assert {name: rule.keep for name, rule in rules.items()} == {"0": 1, "1": 3, "2": 5}
    of_file = find_layers(load(module, inputs=(1, 3, 12, 12)))
    assert plan_layers(Recipe(), [layer.info for layer in of_file]) == rules
