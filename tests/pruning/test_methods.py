"""Every method ends at the recipe's rates in legal shapes, holds its zeros, and goes on from its state."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pconv.errors import ModelError, RecipeError  # noqa: E402
from pconv.masks import magnitude_masks  # noqa: E402
from pconv.patterns import CENTRE3, library  # noqa: E402
from pconv.pruning import METHODS, AdmmPruner, GradualPruner, Pruner, prune  # noqa: E402
from pconv.recipe import Recipe  # noqa: E402
from pconv.sparsity import SparsityMap  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe(compression_rate=6, fc_group=4)
STEPS = 20
SCHEDULED = ["gradual", "admm"]


def assert_as_asked(weights, sparsity: SparsityMap, pruner: Pruner, shapes) -> None:
    assert sparsity.verify(weights, shapes) == []
    assert SparsityMap.detect(weights) == sparsity
    for name, rule in pruner.rules.items():
        assert (sparsity.layers[name].kernels_per_filter == rule.keep).all()


@pytest.mark.parametrize("method", ["magnitude", *SCHEDULED])
@pytest.mark.parametrize("patterns", ["scp8", "natural-6"])
def test_ends_as_the_recipe_asks(module, train, sgd, weights_of, method: str, patterns: str) -> None:
    recipe = Recipe(patterns, 6, fc_group=4)
    shapes = library(patterns, [array for array in weights_of(module).values() if array.shape[2:] == (3, 3)])
    pruner = prune(module, recipe, method, STEPS)
    train(module, pruner, sgd(module), 0, STEPS)
    sparsity = pruner.finish()
    assert_as_asked(weights_of(module), sparsity, pruner, shapes)


@pytest.mark.parametrize("method", SCHEDULED)
def test_ends_as_the_recipe_asks_when_training_stops_early(
    module, train, sgd, weights_of, method: str
) -> None:
    pruner = prune(module, RECIPE, method, STEPS)
    train(module, pruner, sgd(module), 0, 4)
    assert pruner.sparsity().layers["block.0"].compression_rate < 6
    sparsity = pruner.finish()
    assert_as_asked(weights_of(module), sparsity, pruner, library("scp8"))


@pytest.mark.parametrize("method", SCHEDULED)
def test_masks_hold_after_their_share_of_the_steps(module, train, sgd, method: str) -> None:
    pruner, optimizer = prune(module, RECIPE, method, STEPS), sgd(module)
    train(module, pruner, optimizer, 0, STEPS // 2)
    frozen = pruner.sparsity()
    train(module, pruner, optimizer, STEPS // 2, STEPS)
    assert pruner.finish() == frozen


@pytest.mark.parametrize("method", ["magnitude", *SCHEDULED])
@pytest.mark.parametrize("stop", [3, 13])
def test_a_resumed_run_is_the_run_that_never_stopped(network, train, sgd, method: str, stop: int) -> None:
    recipe = Recipe("natural-8", 6, group=2, permute=True)
    whole = network()
    pruner, optimizer = prune(whole, recipe, method, STEPS), sgd(whole)
    train(whole, pruner, optimizer, 0, stop)
    saved = io.BytesIO()
    torch.save([whole.state_dict(), optimizer.state_dict(), pruner.state_dict()], saved)
    losses = train(whole, pruner, optimizer, stop, STEPS)

    other = network(seed=7)  # other weights: natural shapes and groups are not what the state has
    pruner_again, optimizer_again = prune(other, recipe, method, steps=1), sgd(other)
    saved.seek(0)
    states = torch.load(saved, weights_only=True)
    for part, state in zip((other, optimizer_again, pruner_again), states, strict=True):
        part.load_state_dict(state)
    assert train(other, pruner_again, optimizer_again, stop, STEPS) == losses
    assert pruner_again.finish() == pruner.finish()
    for key, value in whole.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_a_resumed_schedule_is_that_of_the_state(module, network) -> None:
    pruner, again = prune(module, RECIPE, "gradual", 1000), prune(network(), RECIPE, "gradual", 1)
    again.load_state_dict(pruner.state_dict())
    for step in (25, 30):
        assert (again.select(step) is None) == (pruner.select(step) is None) == (step == 25)


def test_states_of_something_else_are_refused(network) -> None:
    state = prune(network(), RECIPE).state_dict()
    with pytest.raises(
        ModelError, match=r"method 'MagnitudePruner'; allowed 'AdmmPruner'\. Resume with what"
    ):
        prune(network(), RECIPE, "admm", STEPS).load_state_dict(state)
    with pytest.raises(ModelError, match=r"its 5 pruned layers are not the 4 of this module; allowed"):
        prune(network(), Recipe(exclude=("fc",))).load_state_dict(state)
    with pytest.raises(ModelError, match="format 9; allowed 1"):
        prune(network(), RECIPE).load_state_dict({**state, "format": 9})
    other = prune(network(), Recipe(compression_rate=9, fc_group=4))
    before = other.sparsity()
    with pytest.raises(
        ModelError, match=r"block\.0 has keep 6 in it; allowed is 4, .* Resume with the recipe"
    ):
        other.load_state_dict(state)
    assert other.sparsity() == before


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"module: a str; allowed is a torch\.nn\.Module\. `pconv prune` prunes"
    ):
        prune("model.onnx", RECIPE)


def test_unknown_methods_and_options_are_refused(module) -> None:
    with pytest.raises(
        RecipeError, match=r"recipe: a str; allowed is a pconv\.Recipe\. Recipe\.load\(path\)"
    ):
        prune(module, "recipe.toml")
    with pytest.raises(RecipeError, match='method "gradal" is unknown; did you mean gradual\\? allowed: mag'):
        prune(module, RECIPE, "gradal")
    with pytest.raises(RecipeError, match='rho: method "gradual" has no such option; allowed: each_step, '):
        prune(module, RECIPE, "gradual", STEPS, rho=1)
    with pytest.raises(RecipeError, match='rho: method "magnitude" has no such option; allowed: none'):
        prune(module, RECIPE, rho=1)
    for method in SCHEDULED:
        with pytest.raises(RecipeError, match=r"it follows a schedule; allowed is steps=N"):
            prune(module, RECIPE, method)
    with pytest.raises(RecipeError, match=r"ramp 0\.7, freeze 0\.5; allowed are shares of the steps"):
        prune(module, RECIPE, "gradual", STEPS, ramp=0.7)
    with pytest.raises(RecipeError, match="gradual: interval 0; allowed is a number of steps, 1 or more"):
        prune(module, RECIPE, "gradual", STEPS, interval=0)
    with pytest.raises(RecipeError, match="phase 0, stages 4, updates 3; allowed is a share"):
        prune(module, RECIPE, "admm", STEPS, phase=0)
    assert not any("parametrizations" in key for key in module.state_dict())


def test_gradual_removes_kernels_little_by_little(module, train, sgd) -> None:
    pruner, optimizer = prune(module, RECIPE, "gradual", 40, freeze=0.9, settle=0.0), sgd(module)
    kept = []
    for step in range(40):
        kept.append(int(pruner.sparsity().layers["block.0"].kernels_per_filter[0]))
        train(module, pruner, optimizer, step, step + 1)
    assert kept[0] == 16 and kept == sorted(kept, reverse=True)
    assert kept[16] == pruner.rules["block.0"].keep == kept[-1]
    assert kept[0] - kept[8] > kept[8] - kept[16]  # cubic: fast at first
    assert pruner.finish().layers["stem"].kernels_per_filter.tolist() == [3] * 16  # the first layer: whole


def test_gradual_lets_pruned_weights_come_back_until_it_freezes(module) -> None:
    pruner, optimizer = prune(module, RECIPE, "gradual", STEPS), torch.optim.SGD(module.parameters(), 0.05)
    held, kept = pruner.trained("block.0"), pruner.sparsity().layers["block.0"].mask()
    before = held.detach().clone()
    module(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    moved = (held != before).numpy()
    assert moved[kept].any() and not moved[~kept].any()  # a pruned weight waits
    with torch.no_grad():  # what was pruned becomes large, what was kept small
        held.copy_(torch.where(torch.from_numpy(kept), held * 1e-3, held * 10))
    pruner.step()
    assert not (pruner.sparsity().layers["block.0"].mask() & kept).all(axis=(0, 1)).any()
    for _ in range(STEPS):
        pruner.step()
    frozen = pruner.sparsity()
    with torch.no_grad():
        held.copy_(held.flip(0))
    pruner.step()
    assert pruner.sparsity() == frozen


def test_gradual_freezes_as_soon_as_shapes_have_settled(module) -> None:
    pruner = prune(module, RECIPE, "gradual", 100, freeze=1.0)
    for _ in range(42):  # no optimiser moves a weight
        pruner.step()
    assert pruner.settled()


def test_admm_is_written_out(module, train, sgd) -> None:
    """Z, Y, U and V by hand, and the penalty with squared norms."""
    pruner = prune(module, RECIPE, "admm", 16, phase=0.5, stages=2, updates=2, rho=0.1)
    name, optimizer = "block.0", sgd(module)
    rule = pruner.rules[name]
    kinds = "shape", "connectivity"

    def nearest(kind: str, point: np.ndarray) -> np.ndarray:
        if kind == "shape":
            chosen = {name: rule.__class__(rule.shape, rule.shape[1], "scp8")}
        else:
            chosen = {name: rule.__class__(rule.shape, rule.keep)}
        return point * magnitude_masks({name: point}, chosen)[name]

    weight = pruner.weights()[name].copy()
    dual = {kind: np.zeros_like(weight) for kind in kinds}
    copies = {kind: nearest(kind, weight) for kind in kinds}
    for step in range(7):
        if step and step % 2 == 0:
            weight = pruner.weights()[name].copy()
            for kind in kinds:
                copies[kind] = nearest(kind, weight + dual[kind])
                dual[kind] += weight - copies[kind]
                dual[kind] /= 10 if step == 4 else 1  # rho is ten times larger from here on
        state = pruner.extra_state()["splits"]
        for kind in kinds:
            np.testing.assert_allclose(state[kind]["nearest"][name].numpy(), copies[kind], atol=1e-6)
            np.testing.assert_allclose(state[kind]["dual"][name].numpy(), dual[kind], atol=1e-6)
        assert pruner.rho == pytest.approx(0.1 if step < 4 else 1.0)
        expected = sum(
            float((pruner.trained(n) - split["nearest"][n] + split["dual"][n]).square().sum().detach())
            for split in state.values()
            for n in split["nearest"]
        )
        assert pruner.penalty().item() == pytest.approx(pruner.rho / 2 * expected, rel=1e-4)
        train(module, pruner, optimizer, step, step + 1)
    assert set(pruner.extra_state()["splits"]["shape"]["nearest"]) == {"stem", "block.0", "depth"}
    assert set(pruner.extra_state()["splits"]["connectivity"]["nearest"]) == {"block.0", "point", "fc"}


@pytest.mark.parametrize("growth", [10.0, 5.0])
def test_admm_scales_its_duals_by_rho(module, network, train, sgd, growth: float) -> None:
    """rho changes between two updates, and where a run that is resumed has another schedule."""
    pruner = prune(module, RECIPE, "admm", 20, phase=1.0, stages=2, updates=1, rho=0.1)
    train(module, pruner, sgd(module), 0, 10)
    dual, state = pruner.extra_state()["splits"]["shape"]["dual"]["block.0"], pruner.state_dict()
    again = prune(network(), RECIPE, "admm", 20, phase=1.0, stages=2, updates=1, rho=0.1, growth=growth)
    again.load_state_dict(state)
    there = again.extra_state()["splits"]["shape"]["dual"]["block.0"]
    torch.testing.assert_close(there * again.rho, dual * pruner.rho)
    assert pruner.rho == 1.0 and again.rho == pytest.approx(0.1 * growth) and dual.any()


def test_admm_follows_a_module_that_moves(module) -> None:
    pruner = prune(module, RECIPE, "admm", STEPS)
    assert pruner.penalty().device.type == "cpu"
    module.to("meta")
    assert pruner.penalty().is_meta


def test_admm_pulls_weights_toward_what_it_will_keep(network) -> None:
    def lost(method: str) -> float:
        """Give the share of the norm that the cut takes."""
        module = network()
        pruner = prune(
            module, RECIPE, method, 400, **({"rho": 1.0, "growth": 1.0} if method == "admm" else {})
        )
        optimizer = torch.optim.SGD(module.parameters(), 0.2)
        for _ in range(199):
            optimizer.zero_grad()
            (pruner.penalty() + 0 * module.fc.weight.sum()).backward()
            optimizer.step()
            pruner.step()
        weight = pruner.weights()["block.0"]
        mask = magnitude_masks(pruner.weights(), pruner.rules)["block.0"]
        return float(np.linalg.norm(weight[~mask]) / np.linalg.norm(weight))

    assert lost("admm") < 0.1 < 0.5 < lost("magnitude")


@pytest.mark.parametrize("method", SCHEDULED)
def test_a_library_shrinks_while_training(module, train, sgd, weights_of, method: str) -> None:
    pruner, optimizer = prune(module, Recipe("shrinking-4", 6), method, STEPS), sgd(module)
    train(module, pruner, optimizer, 0, STEPS)
    sparsity = pruner.finish()
    used = {bits for name in ("stem", "block.0", "depth") for bits in sparsity.layers[name].patterns}
    assert len(used) <= 4 and used <= {shape.bits for shape in CENTRE3}
    assert_as_asked(weights_of(module), sparsity, pruner, CENTRE3)


def test_a_library_cannot_shrink_without_training(module) -> None:
    with pytest.raises(RecipeError, match='"shrinking-8" is found while training, with method="gradual" or'):
        prune(module, Recipe("shrinking-8"))


def test_keep_holds_the_zeros_that_are_there(module, network, train, sgd, weights_of) -> None:
    sparsity = prune(module, RECIPE).finish()
    again = network(seed=3)
    again.load_state_dict(module.state_dict())
    pruner = prune(again, method="keep")
    train(again, pruner, sgd(again), 0, 5)
    assert pruner.finish() == sparsity == SparsityMap.detect(weights_of(again))
    assert not torch.equal(again.fc.weight, module.fc.weight)


def test_keep_goes_by_the_map_where_there_is_one(module, train, sgd) -> None:
    sparsity = prune(module, RECIPE).finish()
    with torch.no_grad():
        module.fc.weight.zero_()  # by chance, so to say
    pruner = prune(module, method="keep", sparsity=sparsity)
    train(module, pruner, sgd(module), 0, 3)
    assert pruner.finish() == sparsity
    with torch.no_grad():
        module.fc.weight.fill_(1.0)
    with pytest.raises(ModelError, match=r"fc: \d+ pruned weights are no longer zero"):
        prune(module, method="keep", sparsity=sparsity)


def test_keep_holds_single_zeros_of_large_kernels() -> None:
    module = torch.nn.Conv2d(1, 4, 9)
    with torch.no_grad():
        module.weight[:, :, ::2] = 0
    pruner = prune(module, method="keep")
    module(torch.ones(1, 1, 9, 9)).sum().backward()
    torch.optim.SGD(module.parameters(), 1.0).step()
    pruner.finish()
    assert not module.weight[:, :, ::2].any() and module.weight[:, :, 1::2].all()


def test_keep_needs_zeros(module) -> None:
    with pytest.raises(ModelError, match="Network: no layer has zeros to keep; load pruned weights first"):
        prune(module, method="keep")


def test_methods_are_in_one_table() -> None:
    assert METHODS["gradual"] is GradualPruner and METHODS["admm"] is AdmmPruner
    assert all(issubclass(method, Pruner) for method in METHODS.values())


def test_copies_of_a_module_in_the_middle_are_their_own(module, train, sgd) -> None:
    pruner = prune(module, RECIPE, "gradual", STEPS)
    train(module, pruner, sgd(module), 0, 3)
    twin = copy.deepcopy(module).eval()
    x = torch.ones(1, 3, 8, 8)
    expected = module.eval()(x)
    pruner.finish()
    assert torch.equal(twin(x), expected)


@pytest.mark.parametrize("method", ["magnitude", *SCHEDULED])
@pytest.mark.parametrize("steps", [4, STEPS])
def test_an_average_of_the_weights_is_pruned_as_the_module_is(
    module, train, sgd, weights_of, method: str, steps: int
) -> None:
    pruner, optimizer = prune(module, RECIPE, method, STEPS), sgd(module)
    average = torch.optim.swa_utils.AveragedModel(module)
    for step in range(steps):
        train(module, pruner, optimizer, step, step + 1)
        average.update_parameters(module)
    last = module.point.weight.clone()
    module.load_state_dict(average.module.state_dict())
    sparsity = pruner.finish()
    assert_as_asked(weights_of(module), sparsity, pruner, library("scp8"))
    assert not torch.equal(module.point.weight, last)
