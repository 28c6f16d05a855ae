"""Masks by magnitude: what the rules ask is what the masks keep."""

from collections import Counter

import numpy as np
import pytest

from pconv.errors import ModelError
from pconv.masks import magnitude_masks
from pconv.patterns import library
from pconv.recipe import LayerInfo, LayerRule, Recipe, plan_layers
from pconv.sparsity import SparsityMap

INFOS = [
    LayerInfo("stem", "conv", (32, 3, 3, 3), is_first=True),
    LayerInfo("conv", "conv", (64, 32, 3, 3)),
    LayerInfo("depth", "depthwise", (64, 1, 3, 3), conv_groups=64),
    LayerInfo("point", "conv", (40, 64, 1, 1)),
    LayerInfo("wide", "conv", (16, 24, 5, 5)),
    LayerInfo("fc", "fc", (50, 128)),
    LayerInfo("grouped", "conv", (48, 12, 3, 3), conv_groups=6),
]


def weights_of(infos: list[LayerInfo]) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {info.name: generator.standard_normal(info.shape).astype(np.float32) for info in infos}


@pytest.mark.parametrize("group", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("patterns", ["scp8", "natural-6", "any4"])
def test_masks_obey_the_rules(patterns: str, group: int) -> None:
    weights = weights_of(INFOS)
    rules = plan_layers(Recipe(patterns, group=group), INFOS)
    masks = magnitude_masks(weights, rules)
    sparsity = SparsityMap.detect(masks)
    natural = [weights[name] for name, rule in rules.items() if rule.patterns]
    assert sparsity.verify({n: weights[n] * masks[n] for n in weights}, library(patterns, natural)) == []
    for name, layer in sparsity.layers.items():
        assert (layer.kernels_per_filter == rules[name].keep).all()
        assert layer.compression_rate == pytest.approx(rules[name].compression_rate)
        assert layer.group >= min(rules[name].group, layer.shape[0] // rules[name].conv_groups)


def test_a_kernel_is_ranked_by_what_its_shape_leaves() -> None:
    shape = library("elog4")[0]
    flat, fitting = (
        np.full((3, 3), 0.9),
        1.1 * shape.mask(),
    )  # flat has the larger norm until it is cut to a shape
    weights = np.stack([flat, fitting])[None]
    mask = magnitude_masks({"conv": weights}, {"conv": LayerRule((1, 2, 3, 3), 1, "elog4")})["conv"]
    assert not mask[0, 0].any() and np.array_equal(mask[0, 1], shape.mask())


def test_dense_layers_keep_everything() -> None:
    weights = weights_of(INFOS)
    masks = magnitude_masks(weights, plan_layers(Recipe(compression_rate=1), INFOS))
    assert all(mask.all() and mask.shape == weights[name].shape for name, mask in masks.items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    weights = weights_of(INFOS)
    weights["point"][3, 4] = value
    with pytest.raises(ModelError, match=r"point: 1 weights are NaN or infinite; .*Repair the model"):
        magnitude_masks(weights, plan_layers(Recipe(), INFOS))


def test_huge_weights_do_not_overflow() -> None:
    weights = np.full((1, 4, 3, 3), 1e30, np.float32)
    weights[0, 2] = 3e38
    mask = magnitude_masks({"conv": weights}, {"conv": LayerRule((1, 4, 3, 3), 1, "scp8")})["conv"]
    assert mask.any(axis=(2, 3)).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("patterns", ["scp8", "natural-6"])
@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("sharing", ["shape", "connectivity"])
def test_alike_filters_share_wherever_they_stand(patterns: str, block: int, sharing: str) -> None:
    infos = [INFOS[1], INFOS[3]]
    weights = weights_of(infos)
    recipe = Recipe(patterns, 4.5, group=4, permute=True, sharing=sharing, channel_block=block)
    masks = magnitude_masks(weights, plan_layers(recipe, infos))
    for mask in masks.values():
        kernels = mask.any(axis=(2, 3))
        shared = mask if sharing == "shape" else kernels
        alike = np.unique(shared.reshape(len(mask), -1), axis=0, return_counts=True)[1]
        assert (alike % 4 == 0).all()
        neighbours = kernels.reshape(-1, 4, mask.shape[1])
        assert not (neighbours == neighbours[:, :1]).all()
        blocks = mask.reshape(mask.shape[0], -1, block, *mask.shape[2:])
        assert (blocks == blocks[:, :, :1]).all()
        assert (kernels.sum(axis=1) == kernels.sum(axis=1)[0]).all()


def test_a_depthwise_layer_has_no_whole_block_of_channels() -> None:
    infos = [INFOS[2]]
    weights = weights_of(infos)
    recipe = Recipe(group=4, permute=True, channel_block=4)
    mask = magnitude_masks(weights, plan_layers(recipe, infos))["depth"]
    assert (mask.sum(axis=(1, 2, 3)) == 4).all()
    # Its filters read a channel each, and share with none.
    assert np.array_equal(mask, magnitude_masks(weights, plan_layers(Recipe(), infos))["depth"])


def test_sharing_connectivity_alone_keeps_more() -> None:
    weights = weights_of(INFOS)

    def norm(**keys: object) -> float:
        masks = magnitude_masks(weights, plan_layers(Recipe(group=8, **keys), INFOS))
        return sum(float(np.square(weights[name][mask]).sum()) for name, mask in masks.items())

    assert norm() < norm(permute=True) < norm(permute=True, sharing="connectivity")


def test_the_compiler_finds_groups_wherever_their_filters_stand() -> None:
    from pconv.lower.reorder import classes, pattern_shapes

    infos = [INFOS[1]]
    weights = weights_of(infos)
    mask = magnitude_masks(weights, plan_layers(Recipe(group=8, permute=True), infos))["conv"]
    shapes = pattern_shapes((weights["conv"] * mask).astype(np.float32), 1)
    assert shapes is not None and all(len(filters) % 8 == 0 for filters in classes(shapes))
    assert SparsityMap.detect({"conv": mask}).layers["conv"].group == 8


@pytest.mark.parametrize("permute", [False, True])
@pytest.mark.parametrize(("filters", "conv_groups"), [(64, 4), (64, 32), (48, 8), (16, 16)])
def test_the_compiler_finds_the_groups_of_a_grouped_convolution(
    filters: int, conv_groups: int, permute: bool
) -> None:
    from pconv.lower.reorder import classes, pattern_shapes

    infos = [LayerInfo("conv", "conv", (filters, 16, 3, 3), conv_groups=conv_groups)]
    weights = weights_of(infos)
    mask = magnitude_masks(weights, plan_layers(Recipe(group=4, permute=permute), infos))["conv"]
    shapes = pattern_shapes((weights["conv"] * mask).astype(np.float32), conv_groups)
    fours, rest = divmod(filters // conv_groups, 4)
    assert shapes is not None
    sizes = Counter(len(alike) for alike in classes(shapes))
    assert sizes == Counter({4: fours * conv_groups}) + Counter({rest: conv_groups * (rest > 0)})
