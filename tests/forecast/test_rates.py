"""A recipe gives every kind of layer exactly the rate that was found."""

from pconv.forecast import Found
from pconv.forecast.rates import recipe_of
from pconv.recipe import LayerInfo, Recipe, plan_layers

from .tables import make_table

INFOS = [
    LayerInfo("first", "conv", (16, 3, 3, 3), is_first=True),
    LayerInfo("depthwise", "depthwise", (16, 1, 3, 3)),
    LayerInfo("conv", "conv", (32, 48, 3, 3)),
    LayerInfo("pointwise", "conv", (32, 48, 1, 1)),
    LayerInfo("fc", "fc", (10, 48)),
    LayerInfo("unmeasured", "fc", (10, 48)),
]
RATES = {"first": 2.25, "depthwise": 2.25, "conv": 48 / 14 * 2.25, "pointwise": 48 / 7, "fc": 1.0}


def test_a_rate_for_every_layer() -> None:
    table = make_table({name: {1.0: 2.0, 2.25: 1.0} for name in RATES})
    recipe = recipe_of(Found(4, RATES, 1.0, 1, 0.1), table, INFOS)
    assert recipe.layers == {
        "first": 2.25, "depthwise": 2.25, "conv": 7.71, "pointwise": 6.86, "fc": "dense", "unmeasured": "dense",
    }  # fmt: skip
    rules = plan_layers(Recipe.loads(recipe.dumps()), INFOS)
    assert {name: rule.compression_rate for name, rule in rules.items()} == {**RATES, "unmeasured": 1.0}
    assert rules["conv"].group == 4 and rules["first"].keep == 3
