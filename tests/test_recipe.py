"""Recipes: what is allowed, TOML, and rates to keep counts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.errors import RecipeError
from pconv.patterns import LIBRARY_NAMES, SHRINKING
from pconv.recipe import LayerInfo, LayerRule, Recipe, leave_dense, plan_layers

NETWORK = [
    LayerInfo("stem", "conv", (64, 3, 3, 3), is_first=True, aliases=("Conv_0",)),
    LayerInfo("conv2", "conv", (128, 64, 3, 3)),
    LayerInfo("depth", "depthwise", (128, 1, 3, 3)),
    LayerInfo("depth5", "depthwise", (128, 1, 5, 5)),
    LayerInfo("point", "conv", (256, 128, 1, 1)),
    LayerInfo("wide", "conv", (8, 16, 5, 5)),
    LayerInfo("fc", "fc", (10, 4096)),
]

rates = st.floats(1, 1e6)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
recipes = st.builds(
    Recipe,
    patterns=st.sampled_from([*LIBRARY_NAMES, *SHRINKING]),
    compression_rate=rates,
    rate_1x1=st.none() | rates,
    rate_fc=st.none() | rates,
    group=st.sampled_from([1, 2, 4, 8, 16]),
    sharing=st.sampled_from(["shape", "connectivity"]),
    permute=st.booleans(),
    channel_block=st.sampled_from([1, 4]),
    fc_group=st.sampled_from([1, 2, 4, 8, 16]),
    first=st.sampled_from(["pattern", "dense"]),
    depthwise=st.sampled_from(["pattern", "dense"]),
    layers=st.dictionaries(names, rates | st.just("dense"), max_size=3),
    exclude=st.lists(names, max_size=3).map(tuple),
)


@given(recipes)
def test_toml_round_trip(recipe: Recipe) -> None:
    assert Recipe.loads(recipe.dumps()) == recipe


def test_numbers_of_numpy_are_numbers() -> None:
    recipe = Recipe(compression_rate=np.float64(4.5), rate_1x1=np.float32(2.1), layers={"conv": np.int64(6)})
    assert Recipe.loads(recipe.dumps()) == recipe


def test_layers_have_names() -> None:
    with pytest.raises(RecipeError, match=r"layers: \{0: 'dense'\} is no table of names"):
        Recipe(layers={0: "dense"})


def test_a_file_of_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'compression_rate = 4\npatterns = "natural-8"\nexclude = ["fc*"]\n'
        '[layers]\n"layer1.0" = "dense"\nconv = 6'
    )
    recipe = Recipe.load(path)
    assert recipe == Recipe(
        "natural-8", compression_rate=4, exclude=("fc*",), layers={"layer1.0": "dense", "conv": 6}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compresion_rate = 4", "compresion_rate: unknown key; did you mean compression_rate"),
        ('patterns = "scp9"', r"patterns: 'scp9' is unknown; did you mean scp8\? allowed: elog4, "),
        ("patterns = 3", "patterns: 3 is unknown"),
        ("compression_rate = 0.5", "compression_rate: 0.5 is no compression rate; .*of at least 1"),
        ("compression_rate = nan", "compression_rate: nan"),
        ("compression_rate = true", "compression_rate: True"),
        ('rate_fc = "8"', "rate_fc: '8' is no compression rate"),
        ("rate_1x1 = 0", "rate_1x1: 0"),
        ("group = 3", "group: 3 is unknown; allowed: 1, 2, 4, 8, 16"),
        ("group = true", "group: True"),
        ('sharing = "all"', "sharing: 'all' is unknown; allowed: shape, connectivity"),
        ("permute = 1", "permute: 1 is unknown; allowed: False, True"),
        ("channel_block = 2", "channel_block: 2 is unknown; allowed: 1, 4"),
        ("group = 4.0", "group: 4.0"),
        ("fc_group = 32", "fc_group: 32"),
        ('first = "sparse"', "first: 'sparse' is unknown; allowed: pattern, dense"),
        ('depthwise = "none"', "depthwise: 'none'"),
        ("layers = 3", "layers: 3 is no table"),
        ("[layers]\nfc = 0.9", 'layers.fc: 0.9 is no compression rate; .*or "dense"'),
        ('[layers]\nfc = "sparse"', "layers.fc: 'sparse'"),
        ('exclude = "fc"', "exclude: 'fc' is no list of names"),
        ("exclude = [1]", "exclude: "),
        ("exclude = 1", "exclude: 1"),
        ("[layers]\nlayer1.0.conv1 = 4", 'layers.layer1: .*A name with dots needs quotes, as in "layer1'),
        (f"compression_rate = 1{'0' * 400}", "compression_rate: 10+ is no compression rate"),
        (f"compression_rate = 1{'0' * 5000}", "not valid TOML: Exceeds the limit"),
        ("group = = 1", "not valid TOML"),
        (f"group = {'[' * 100_000}", "not valid TOML: maximum recursion depth"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        Recipe.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        Recipe.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.toml"):
        Recipe.load(tmp_path / "binary.toml")


def test_the_default_is_eight_times() -> None:
    rules = plan_layers(Recipe(), NETWORK)
    assert rules == {
        "stem": LayerRule((64, 3, 3, 3), 3, "scp8", 1),
        "conv2": LayerRule((128, 64, 3, 3), 18, "scp8", 1),  # 64 / (8 / 2.25)
        "depth": LayerRule((128, 1, 3, 3), 1, "scp8", 1),
        "depth5": LayerRule((128, 1, 5, 5), 1),
        "point": LayerRule((256, 128, 1, 1), 16, None, 1),
        "wide": LayerRule((8, 16, 5, 5), 2, None, 1),
        "fc": LayerRule((10, 4096), 512, None, 16),
    }
    assert rules["conv2"].compression_rate == 8.0
    assert rules["depth"].compression_rate == 2.25
    assert rules["depth5"].dense and not rules["stem"].dense


def test_rates_by_kind_and_group() -> None:
    rules = plan_layers(Recipe(rate_1x1=2, rate_fc=1, group=4, fc_group=8), NETWORK)
    assert rules["point"] == LayerRule((256, 128, 1, 1), 64, None, 4)
    assert rules["fc"].dense
    assert rules["conv2"].group == 4


def test_first_and_depthwise_can_stay_dense() -> None:
    rules = plan_layers(Recipe(first="dense", depthwise="dense"), NETWORK)
    assert rules["stem"].dense and rules["depth"].dense


def test_rate_one_prunes_nothing() -> None:
    assert all(rule.dense for rule in plan_layers(Recipe(compression_rate=1), NETWORK).values())


def test_at_least_one_kernel_stays() -> None:
    rules = plan_layers(Recipe(compression_rate=1000), NETWORK)
    assert rules["conv2"].keep == rules["wide"].keep == 1


def test_a_layer_of_its_own_rate_wins() -> None:
    recipe = Recipe(
        layers={"conv2": "dense", "Conv_0": 6.75, "fc": 2, "depth": 2.25}, exclude=("conv2", "f*")
    )
    rules = plan_layers(dataclasses.replace(recipe, depthwise="dense"), NETWORK)
    assert rules["conv2"].dense
    assert rules["stem"] == LayerRule((64, 3, 3, 3), 1, "scp8", 1)
    assert rules["fc"].keep == 2048
    assert rules["depth"].patterns == "scp8"


def test_exclude_globs_match_names_and_aliases() -> None:
    rules = plan_layers(Recipe(exclude=("dep*", "Conv_0")), NETWORK)
    assert [name for name, rule in rules.items() if rule.dense] == ["stem", "depth", "depth5"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(layers={"conv3": 4}), "layers.conv3: the model has no such layer; did you mean conv2"),
        (
            Recipe(exclude=("head.*",)),
            'exclude: "head.\\*" matches no layer; its layers: stem, conv2',
        ),
        (
            Recipe(layers={"conv2": 2}),
            r"conv2 \(3x3\): compression_rate 2 is impossible.*allowed 1 \(dense\) or at least 2\.25\.$",
        ),
        (
            Recipe(compression_rate=1.5),
            r'conv2 .*at least 2.25\. Leave it dense with --exclude conv2, in a recipe with exclude = \["conv2"\]',
        ),
        (
            Recipe(layers={"depth": 4}),
            r"depth \(depthwise 3x3\): rate 4 .*allowed 2.25 \(pattern\) or \"dense\"",
        ),
        (Recipe(layers={"depth5": 2.25}), r"depth5 \(depthwise 5x5\): .*allowed \"dense\""),
    ],
)
def test_a_recipe_that_does_not_fit(recipe: Recipe, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        plan_layers(recipe, NETWORK)


def test_layers_are_left_dense_by_what_an_error_says() -> None:
    name = "c one/[x]"
    assert leave_dense(name) == (
        "Leave it dense with --exclude 'c one/[[]x]', in a recipe with exclude = [\"c one/[[]x]\"]."
    )
    layer = LayerInfo(name, "conv", (8, 8, 3, 3))
    assert plan_layers(Recipe.loads('exclude = ["c one/[[]x]"]'), [layer])[name].dense


def test_blocks_of_channels_are_whole() -> None:
    recipe = Recipe(compression_rate=6, channel_block=4, exclude=("depth*",))
    rules = plan_layers(recipe, NETWORK)
    assert {rule.keep % 4 for name, rule in rules.items() if name != "stem"} <= {0, 1}
    assert rules["stem"].keep == 3 and rules["conv2"].keep == 24
    odd = [LayerInfo("odd", "conv", (8, 18, 3, 3))]
    with pytest.raises(RecipeError, match=r'odd: 18 input channels do not divide into blocks of 4; .*"odd"'):
        plan_layers(recipe.__class__(channel_block=4), odd)
    assert plan_layers(Recipe(compression_rate=2.25, channel_block=4), odd)["odd"].keep == 18


def test_one_filter_of_single_weights_stays_dense_unless_it_is_named() -> None:
    """What decodes YOLOv8's boxes is such a layer, of the constants 0 to 15."""
    dfl = LayerInfo("dfl", "conv", (1, 16, 1, 1))
    map_ = LayerInfo("map", "conv", (1, 16, 3, 3))
    rules = plan_layers(Recipe(compression_rate=4.0), [dfl, map_])
    assert rules["dfl"].dense and not rules["map"].dense
    assert plan_layers(Recipe(layers={"dfl": 4.0}), [dfl])["dfl"].keep == 4
