"""Sparsity: connectivity, detection, verification, the text form."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pconv.errors import ModelError
from pconv.patterns import filter_groups, library, project
from pconv.sparsity import LayerSparsity, SparsityMap, keep_kernels

masks = hnp.arrays(
    bool,
    st.one_of(
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
    ),
)


def pruned(oc: int = 16, ic: int = 12, keep: int = 4, group: int = 1, seed: int = 0) -> np.ndarray:
    weights = np.random.default_rng(seed).standard_normal((oc, ic, 3, 3)).astype(np.float32)
    shapes = np.stack([pattern.mask() for pattern in library("scp8")])[
        project(weights, library("scp8"), group)
    ]
    kept = keep_kernels(np.linalg.norm(weights, axis=(2, 3)), keep, group)
    return weights * shapes * kept[:, :, None, None]


@given(st.integers(1, 20), st.integers(1, 12), st.sampled_from([1, 2, 4, 8, 16]), st.data())
def test_connectivity_keeps_the_largest_and_exactly_as_many(oc: int, ic: int, group: int, data) -> None:
    keep = data.draw(st.integers(1, ic))
    # Few different values: ties are the hard part.
    norms = data.draw(hnp.arrays(np.float32, (oc, ic), elements=st.sampled_from([0.0, 1.0, 2.0])))
    kept = keep_kernels(norms, keep, group)
    assert (kept.sum(axis=1) == keep).all()
    for rows in filter_groups(oc, group):
        assert (kept[rows] == kept[rows[0]]).all()
        energy = np.square(norms[rows]).sum(axis=0)
        assert sorted(energy[kept[rows[0]]]) == sorted(energy)[ic - keep :]


def test_ties_go_to_the_lower_channel() -> None:
    assert keep_kernels(np.ones((1, 4)), 2).tolist() == [[True, True, False, False]]


@given(masks)
def test_detection_gives_the_zeros_back(mask: np.ndarray) -> None:
    layer = LayerSparsity.detect(mask)
    assert np.array_equal(layer.mask(), mask)
    assert layer.kept_elems == mask.sum()
    assert layer.sparsity == pytest.approx(1 - mask.mean())
    assert sum(layer.patterns.values()) == layer.kernels_per_filter.sum()


def test_bits_count_from_the_top_left() -> None:
    weights = np.zeros((1, 2, 3, 3))
    weights[0, 1, 0, 1] = weights[0, 1, 2, 2] = -0.5
    assert LayerSparsity.detect(weights).bits.tolist() == [[0, 0b100_000_010]]


@pytest.mark.parametrize(("kernel", "dtype"), [(1, "u1"), (3, "u2"), (5, "u4"), (7, "u8"), (8, "u8")])
def test_bits_take_the_smallest_type(kernel: int, dtype: str) -> None:
    layer = LayerSparsity.detect(np.ones((2, 2, kernel, kernel)))
    assert layer.bits.dtype == dtype
    assert layer.patterns == {2 ** (kernel * kernel) - 1: 4}
    assert layer.compression_rate == 1.0


def test_kernels_beyond_64_weights_are_whole() -> None:
    weights = np.zeros((2, 2, 9, 9))
    weights[0, 0, 4, 4] = weights[1, 1] = 1.0
    layer = LayerSparsity.detect(weights)
    assert layer.bits.tolist() == [[1, 0], [0, 1]]
    assert layer.density == 0.5
    assert layer.mask()[0, 0].all()


@pytest.mark.parametrize(("oc", "group"), [(16, 1), (16, 2), (16, 4), (32, 8), (32, 16), (10, 4), (17, 16)])
def test_groups_are_found_whatever_the_order_of_filters(oc: int, group: int) -> None:
    weights = pruned(oc, 24, 5, group)
    assert LayerSparsity.detect(weights).group == group
    shuffled = weights[np.random.default_rng(1).permutation(oc)]
    assert LayerSparsity.detect(shuffled).group == group


def test_a_dense_layer_is_one_class() -> None:
    assert LayerSparsity.detect(np.ones((3, 4, 3, 3))).group == 2
    assert LayerSparsity.detect(np.ones((64, 4))).group == 16


def test_a_fully_pruned_layer_is_sound() -> None:
    layer = LayerSparsity.detect(np.zeros((4, 4, 3, 3)))
    assert layer.balanced and layer.compression_rate == math.inf
    statistics = SparsityMap({"conv": layer}).statistics()
    assert statistics["layers"]["conv"]["compression_rate"] is None


@given(st.dictionaries(st.text(max_size=8), masks, max_size=3))
def test_text_round_trip_is_exact(layers: dict[str, np.ndarray]) -> None:
    sparsity = SparsityMap.detect(layers)
    assert SparsityMap.from_json(sparsity.to_json()) == sparsity


def test_text_round_trip_of_whole_kernels() -> None:
    sparsity = SparsityMap.detect({"conv": np.ones((3, 5, 11, 11)) * (np.arange(5) % 2)[:, None, None]})
    assert SparsityMap.from_json(sparsity.to_json()) == sparsity


def damage(**change: object) -> str:
    document = json.loads(SparsityMap.detect({"conv": np.eye(4)}).to_json())
    document["layers"]["conv"].update(change)
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"format":2,"layers":{}}',
        '{"format":1,"layers":[]}',
        '{"format":1,"layers":{"conv":3}}',
        damage(shape=[4, 5]),
        damage(shape=[4]),
        damage(shape=[-4, -4]),
        damage(shape=[10**9, 10**9]),
        damage(shape=[10**12, 10**12]),
        damage(shape="44"),
        damage(bits="not base64"),
        damage(bits="AAAA"),
        damage(bits=7),
    ],
)
def test_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"sparsity map: cannot be read \(.*Prune the model again"):
        SparsityMap.from_json(text)


def test_sound_weights_pass() -> None:
    weights = {"conv": pruned()}
    sparsity = SparsityMap.detect(weights)
    assert sparsity.verify(weights, library("scp8")) == []
    assert sparsity.verify(weights, library("scp8")) == []


def test_a_kept_weight_may_be_zero_by_chance() -> None:
    weights = pruned()
    sparsity = SparsityMap.detect({"conv": weights})
    weights[tuple(np.argwhere(weights)[0])] = 0.0
    assert sparsity.verify({"conv": weights}, library("scp8")) == []
    assert SparsityMap.detect({"conv": weights}).verify({"conv": weights}, library("scp8")) == []


def test_filled_in_zeros_are_found() -> None:
    weights = pruned()
    sparsity = SparsityMap.detect({"conv": weights})
    spot = np.argwhere(weights == 0)[0]
    weights[tuple(spot)] = 1e-30
    assert sparsity.verify({"conv": weights}) == [
        f"conv: 1 pruned weights are no longer zero, the first at {spot.tolist()}"
    ]
    with pytest.raises(ModelError, match=r"conv: 1 pruned weights .*Prune the model again"):
        sparsity.check({"conv": weights})


def test_illegal_shapes_are_found() -> None:
    weights = pruned()
    weights[0, np.flatnonzero(weights[0].any(axis=(1, 2)))[0]] = np.eye(3)
    problems = SparsityMap.detect({"conv": weights}).verify({"conv": weights}, library("scp8"))
    assert problems == ["conv: 1 kernels have shapes outside the library: 100/010/001"]


def test_a_dense_layer_has_no_illegal_shapes() -> None:
    weights = {"first": np.ones((8, 3, 3, 3)), "large": np.ones((8, 3, 5, 5)), "fc": np.eye(4)}
    assert SparsityMap.detect(weights).verify(weights, library("scp8")) == []


def test_unequal_filters_are_found() -> None:
    weights = pruned(keep=4)
    weights[3] = 0
    sparsity = SparsityMap.detect({"conv": weights})
    assert sparsity.verify({"conv": weights}) == [
        "conv: filters keep 0 to 4 kernels; balance needs the same number in each"
    ]
    assert sparsity.verify({"conv": weights}, balance=False) == []


def test_missing_and_reshaped_layers_are_found() -> None:
    sparsity = SparsityMap.detect({"a": np.eye(4), "b": np.eye(4)})
    problems = sparsity.verify({"b": np.eye(5)})
    assert problems == [
        "a: the map has this layer, the weights do not",
        "b: weights have shape [5, 5]; the map says [4, 4]",
    ]
    with pytest.raises(ModelError, match=r"\(and 1 more\)"):
        sparsity.check({"b": np.eye(5)})
    assert SparsityMap.detect({"dense": np.ones((4, 4))}).verify({}) == []  # promises nothing


def test_a_map_shows_in_a_line_what_is_kept() -> None:
    weights = np.zeros((4, 2, 3, 3))
    found = SparsityMap.detect({"none": weights, "dense": np.ones((3, 4)), "few": np.eye(4)})
    assert repr(found) == "<SparsityMap of 3 layers: 6.25x>"
    assert repr(found.layers["few"]) == "<LayerSparsity 4x4: 4.00x>"
    assert repr(SparsityMap.detect({"none": weights})) == "<SparsityMap of 1 layer: infx>"


def test_statistics_are_json() -> None:
    statistics = SparsityMap.detect({"conv": pruned(16, 12, 4, group=4), "fc": np.eye(4)}).statistics()
    json.dumps(statistics)
    conv = statistics["layers"]["conv"]
    assert conv["compression_rate"] == 2.25 * 3
    assert conv["kernels_per_filter"] == [4, 4] and conv["group"] == 4
    assert statistics["total_elems"] == 16 * 12 * 9 + 16
    assert statistics["kept_elems"] == 16 * 4 * 4 + 4
