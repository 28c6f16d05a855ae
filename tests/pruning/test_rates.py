"""Rates per layer: what each rate harms is measured, and together they cost no more than one rate for all."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from pconv.errors import ModelError, RecipeError  # noqa: E402
from pconv.pruning import Curve, post_train, sensitivity, spread_rates  # noqa: E402
from pconv.pruning.layers import describe_layers, find_layers  # noqa: E402
from pconv.pruning.rates import Unit, _between  # noqa: E402
from pconv.recipe import Recipe, plan_layers  # noqa: E402

pytestmark = pytest.mark.torch
RECIPE = Recipe("centre3", 4.0, layers={"fc": 2.0})
IMAGES = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))
HARM = {2.25: 0.1, 4.0: 0.2, 4.5: 0.25}
CURVES = {
    "many_macs": Curve(weights=100, macs=10_000, rate=4.0, harm=HARM),
    "many_weights": Curve(weights=1000, macs=1_000, rate=4.0, harm=HARM),
}


class Network(nn.Module):
    """[n, 3, 8, 8] -> [n, 10]: at 8x8, at 4x4, and a layer of each kind that keeps a rate of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.wide = nn.Conv2d(16, 32, 3, 2, 1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(torch.relu(self.bn(self.conv(torch.relu(self.stem(x))))))
        return self.fc(torch.relu(self.wide(x)).mean(dim=(2, 3)))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def left(module: nn.Module) -> Callable[[Recipe], dict[str, float]]:
    """Say what a recipe leaves of the layers of the curves: weights and multiply-adds."""

    def count(recipe: Recipe) -> dict[str, float]:
        rules = plan_layers(recipe, describe_layers(find_layers(module)))
        weights = {
            "conv": 2304 / rules["conv"].compression_rate,
            "wide": 4608 / rules["wide"].compression_rate,
        }
        return {"weights": sum(weights.values()), "macs": weights["conv"] * 64 + weights["wide"] * 16}

    return count


def test_each_layer_that_shares_the_rate_has_a_curve(module: nn.Module) -> None:
    before = copy.deepcopy(module.state_dict())
    curves = sensitivity(module, IMAGES, RECIPE, rates=(2.25, 2.26, 12.0))
    assert {name: (curve.weights, curve.macs, curve.rate) for name, curve in curves.items()} == {
        "conv": (2304, 2304 * 64, 4.0),
        "wide": (4608, 4608 * 16, 4.0),
    }
    for curve in curves.values():
        assert list(curve.harm) == [2.25, 4.0, 12.0], (
            "equal numbers of kernels are one rate, the recipe's is there"
        )
        assert 0 < curve.harm[2.25] < curve.harm[4.0] < curve.harm[12.0] < 1
    after = module.state_dict()
    assert not module.training
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_layers_without_a_curve_may_be_of_any_kind() -> None:
    class Odd(Network):
        def __init__(self) -> None:
            super().__init__()
            self.depth = nn.Conv2d(16, 16, 3, padding="same")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(self.depth(self.stem(x))[:, :3])  # runs twice

    torch.manual_seed(0)
    curves = sensitivity(Odd().eval(), IMAGES, replace(RECIPE, exclude=("stem", "depth")), rates=(2.25, 12.0))
    assert list(curves) == ["conv", "wide"]


class Normalised(nn.Module):
    """A network that normalises what it is given: as a new value, or over it."""

    def __init__(self, network: nn.Module, over: bool) -> None:
        super().__init__()
        self.network, self.over = network, over

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.sub_(0.5).div_(0.25) if self.over else x.sub(0.5).div(0.25))


def test_a_network_may_write_over_its_images(module: nn.Module) -> None:
    given = IMAGES.clone()
    recipe = Recipe("centre3", 4.0, exclude=("network.fc",))
    new, over = (Normalised(module, over) for over in (False, True))
    assert sensitivity(new, IMAGES, recipe, rates=(12.0,)) == sensitivity(over, given, recipe, rates=(12.0,))
    for seconds in (None, 0.2):
        post_train(copy.deepcopy(over), given, recipe, seconds=seconds)
    cut = [copy.deepcopy(network) for network in (new, over)]
    for network in cut:
        post_train(network, given, recipe)
    assert torch.equal(cut[0].network.wide.weight, cut[1].network.wide.weight)
    assert torch.equal(given, IMAGES)


class Halves(Network):
    """The upper and the lower half of each image are two of what the network reads."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.unflatten(2, (2, 4)).movedim(2, 1).flatten(0, 1))


def test_multiply_adds_are_those_of_one_image() -> None:
    curves = sensitivity(Halves().eval(), IMAGES, RECIPE, rates=(12.0,))
    assert {name: curve.macs for name, curve in curves.items()} == {"conv": 2304 * 64, "wide": 4608 * 16}


def test_numbers_that_are_not_finite_are_refused(module: nn.Module) -> None:
    images = IMAGES.clone()
    images[0, 0, 0, 0] = torch.nan
    with pytest.raises(ModelError, match="conv: it computes NaN or infinity on the calibration images"):
        sensitivity(module, images, RECIPE)
    with torch.no_grad():
        module.wide.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(ModelError, match="wide: 1 weights are NaN or infinite"):
        sensitivity(module, IMAGES, RECIPE)


def test_harm_between_measured_rates_is_a_power_of_the_error() -> None:
    assert _between({0: 1.0, 3: 64.0, 4: 64.0}, [1.0, 2.0, 4.0, 8.0, 9.0]) == pytest.approx(
        [1, 4, 16, 64, 64]
    )
    assert _between({0: 0.5}, [3.0]) == [0.5]
    assert _between({0: 0.0, 1: 0.0}, [0.0, 0.0]) == [0.0, 0.0]


@pytest.mark.parametrize("within", [("weights", "macs"), ("weights",), ("macs",)])
def test_rates_per_layer_cost_no_more(
    module: nn.Module, left: Callable[[Recipe], dict[str, float]], within: tuple[Unit, ...]
) -> None:
    curves = sensitivity(module, IMAGES, RECIPE)
    recipe = spread_rates(RECIPE, curves, within)
    assert recipe.layers["fc"] == 2.0
    assert recipe == Recipe.loads(recipe.dumps())
    for unit in within:
        assert left(recipe)[unit] <= left(RECIPE)[unit]
    assert recipe.layers.keys() == {"fc", "conv", "wide"}


@pytest.mark.parametrize(
    ("within", "rates"),
    [(("weights",), (2.25, 4.5)), (("macs",), (4.5, 2.25)), (("weights", "macs"), (4.0, 4.0))],
)
def test_each_budget_has_its_rates(within: tuple[Unit, ...], rates: tuple[float, float]) -> None:
    assert tuple(spread_rates(Recipe(), CURVES, within).layers.values()) == rates


def test_own_rates_stay_where_nothing_found_is_better() -> None:
    curves = {
        "large": Curve(4608, 73728, 2.25, {2.25: 0.87, 4.5: 1.19, 9.0: 1.70, 18.0: 2.29}),
        "small": Curve(4608, 294912, 9.0, {2.25: 0.15, 4.5: 0.43, 9.0: 1.16, 18.0: 1.73}),
    }
    assert spread_rates(Recipe(), curves).layers == {"large": 2.25, "small": 9.0}


def test_what_two_budgets_leave_is_spent() -> None:
    """A price on multiply-adds alone stops short of what both allow."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        curves = {}
        for i in range(6):
            weights, rates = int(draw.choice([144, 2304, 9216])), (2.25, 4.5, 9.0, 18.0)
            harm = dict(zip(rates, np.sort(draw.random(4)).tolist(), strict=True))
            curves[f"{i}"] = Curve(
                weights, weights * int(draw.choice([16, 256])), float(draw.choice(rates)), harm
            )
        rates = {name: 1 if r == "dense" else r for name, r in spread_rates(Recipe(), curves).layers.items()}
        harms = {name: {1: 0.0} | dict(curve.harm) for name, curve in curves.items()}
        assert sum(harms[n][rates[n]] for n in curves) <= sum(c.harm[c.rate] for c in curves.values())
        spare = {
            unit: sum(c.dense(unit) / c.rate - c.dense(unit) / rates[n] for n, c in curves.items())
            for unit in ("weights", "macs")
        }
        assert min(spare.values()) > -1e-3
        for name, curve in curves.items():
            for rate in curve.rates():
                more = {unit: curve.dense(unit) * (1 / rate - 1 / rates[name]) for unit in spare}
                better = harms[name][rate] < harms[name][rates[name]]
                assert not better or any(more[unit] > spare[unit] for unit in spare)


def test_another_budget_is_refused() -> None:
    with pytest.raises(RecipeError, match='allowed: "weights", "macs", or both'):
        spread_rates(RECIPE, CURVES, ("latency",))  # type: ignore[arg-type]
