"""Post-training mathematics: statistics against plain sums, choices against brute force, refits against lstsq."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.calibration import Geometry, enough_images, sweep
from pconv.calibration.choice import DAMPING, choose_mask
from pconv.calibration.refit import refit
from pconv.calibration.statistics import Statistics, damped, gather
from pconv.errors import ModelError
from pconv.patterns import library
from pconv.recipe import LayerRule


def convolve(x: np.ndarray, w: np.ndarray, g: Geometry) -> np.ndarray:
    """Convolve the slow, plain way."""
    oc, per_group, kh, kw = w.shape
    x = np.pad(x, ((0, 0), (0, 0), (g.pads[0],) * 2, (g.pads[1],) * 2))
    oh = (x.shape[2] - (kh - 1) * g.dilations[0] - 1) // g.strides[0] + 1
    ow = (x.shape[3] - (kw - 1) * g.dilations[1] - 1) // g.strides[1] + 1
    y = np.zeros((len(x), oc, oh, ow))
    for o in range(oc):
        first = o // (oc // g.groups) * per_group
        for dy in range(kh):
            for dx in range(kw):
                rows = dy * g.dilations[0] + g.strides[0] * np.arange(oh)
                cols = dx * g.dilations[1] + g.strides[1] * np.arange(ow)
                part = x[:, first : first + per_group][:, :, rows[:, None], cols]
                y[:, o] += np.tensordot(part, w[o, :, dy, dx], ((1,), (0,)))
    return y


@given(
    st.sampled_from(
        [
            Geometry((3, 3), pads=(1, 1)),
            Geometry((3, 3), (2, 2), (1, 1)),
            Geometry((3, 3), (1, 2), (0, 1), (2, 1)),
            Geometry((5, 3), pads=(2, 1), groups=2),
            Geometry((1, 1), (2, 2)),
            Geometry((1, 1), pads=(1, 2)),
            Geometry((3, 2), (2, 3), (3, 3)),
            Geometry((3, 3), pads=(1, 1), groups=4),
        ]
    ),
    st.integers(0, 99),
)
def test_statistics_find_the_weights_that_made_the_outputs(geometry: Geometry, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((12, 4, 9, 8)).astype(np.float32)
    w = draw.standard_normal((8, 4 // geometry.groups, *geometry.kernel))
    bias = draw.standard_normal(8)
    y = (convolve(x, w, geometry) + bias[:, None, None]).astype(np.float32)
    statistics = gather(x, y, geometry, True, draw)
    found = np.linalg.solve(statistics.hessian, statistics.cross).swapaxes(1, 2).reshape(w.shape)
    np.testing.assert_allclose(found, w, atol=2e-3)
    new, constant = refit(w, np.ones(w.shape, bool), statistics)
    np.testing.assert_allclose(new, w, atol=2e-3)
    np.testing.assert_allclose(constant, bias, atol=2e-3)
    change = draw.standard_normal(w.shape)
    moved = convolve(x, change, geometry).var(axis=(0, 2, 3))
    assert statistics.output_error(change) == pytest.approx(moved.sum(), rel=1e-4)


@pytest.mark.parametrize("shape", [(200, 6), (5, 40, 6), (5, 8, 5, 6)])
def test_a_fully_connected_layer_is_rows_of_columns(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal(shape).astype(np.float32)
    w = draw.standard_normal((3, 6))
    statistics = gather(x, x @ w.T.astype(np.float32), Geometry(), False, draw)
    assert statistics.hessian.shape == (1, 6, 6)
    assert not statistics.mean_x.any() and not statistics.mean_y.any()
    np.testing.assert_allclose(np.linalg.solve(statistics.hessian[0], statistics.cross[0]).T, w, atol=1e-4)


def hessian_of(draw: np.random.Generator, k: int) -> np.ndarray:
    x = draw.standard_normal((4 * k, k)) @ draw.standard_normal((k, k))
    return (x.T @ x / len(x))[None]


def of(hessian: np.ndarray) -> Statistics:
    """Give statistics that say nothing but this."""
    return Statistics(hessian, np.empty(0), np.zeros(hessian.shape[:2]), np.empty(0))


@given(st.integers(0, 99))
def test_shapes_are_those_of_least_error_after_the_best_repair(seed: int) -> None:
    draw = np.random.default_rng(seed)
    hessian, w = hessian_of(draw, 9), draw.standard_normal((3, 1, 3, 3))
    patterns = library("scp8")
    mask = choose_mask(w, of(hessian), LayerRule(w.shape, 1, "scp8"), patterns)
    stiff = damped(hessian, DAMPING)[0]
    for kernel, chosen in zip(w.reshape(3, 9), mask.reshape(3, 9), strict=True):
        errors = {}
        for pattern in patterns:
            kept = pattern.mask().reshape(9)
            repair = np.linalg.solve(stiff[np.ix_(kept, kept)], stiff[np.ix_(kept, ~kept)] @ kernel[~kept])
            change = np.where(kept, 0.0, -kernel)
            change[kept] = repair
            errors[pattern.bits] = change @ stiff @ change
        bits = int((chosen << np.arange(9)).sum())
        assert errors[bits] == pytest.approx(min(errors.values()))


def test_kernels_that_go_are_those_that_cost_least() -> None:
    draw = np.random.default_rng(3)
    hessian, w = hessian_of(draw, 5), draw.standard_normal((4, 5))
    mask = choose_mask(w, of(hessian), LayerRule(w.shape, 4), ())
    inverse = np.linalg.inv(damped(hessian, DAMPING)[0])
    assert (np.argmin(w**2 / inverse.diagonal(), axis=1) == np.argmin(mask, axis=1)).all()
    assert (mask.sum(axis=1) == 4).all()


@pytest.mark.parametrize("sharing", ["shape", "connectivity"])
@pytest.mark.parametrize("permute", [False, True])
def test_masks_obey_the_rule(sharing: str, permute: bool) -> None:
    draw = np.random.default_rng(4)
    shape = (16, 8, 3, 3)
    w = draw.standard_normal(shape).astype(np.float32)
    rule = LayerRule(shape, 4, "scp8", 4, sharing, permute, 4)
    mask = choose_mask(w, of(hessian_of(draw, 72)), rule, library("scp8"))
    kernels = mask.reshape(16, 8, 9)
    alive = kernels.any(axis=2)
    assert (alive.sum(axis=1) == 4).all()
    assert (alive.reshape(16, 2, 4) == alive.reshape(16, 2, 4)[:, :, :1]).all()
    legal = {pattern.bits for pattern in library("scp8")}
    assert {int((kernel << np.arange(9)).sum()) for kernel in kernels[alive]} <= legal
    rows = (kernels if sharing == "shape" else alive).reshape(16, -1)
    _, sets = np.unique(rows, axis=0, return_counts=True)
    assert (sets % 4 == 0).all()
    if not permute:
        assert (rows.reshape(4, 4, -1) == rows.reshape(4, 4, -1)[:, :1]).all()


@pytest.mark.parametrize("group", [4, 8])
@pytest.mark.parametrize("permute", [False, True])
def test_filters_share_within_the_groups_of_a_convolution(group: int, permute: bool) -> None:
    draw = np.random.default_rng(6)
    shape = (16, 8, 3, 3)
    w = draw.standard_normal(shape).astype(np.float32)
    hessian = np.concatenate([hessian_of(draw, 72) for _ in range(4)])
    rule = LayerRule(shape, 4, "scp8", group, permute=permute, conv_groups=4)
    rows = choose_mask(w, of(hessian), rule, library("scp8")).reshape(4, 4, -1)
    assert (rows == rows[:, :1]).all()
    assert len(np.unique(rows[:, 0], axis=0)) == 4


@given(st.integers(0, 99))
def test_no_other_weights_on_the_mask_do_better(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((200, 6)).astype(np.float32)
    y = (np.tanh(x) @ draw.standard_normal((6, 4)) + 1).astype(np.float32)
    w = np.linalg.lstsq(x, y, rcond=None)[0].T
    mask = np.array([draw.permutation(6) < 3 for _ in range(4)])
    statistics = gather(x, y, Geometry(), True, draw)
    new, bias = refit(w, mask, statistics)
    assert not new[~mask].any()
    base = np.square(x @ new.T + bias - y).mean()
    for _ in range(5):
        other = np.where(mask, new + 0.3 * draw.standard_normal(w.shape), 0)
        assert np.square(x @ other.T + bias - y).mean() > base


def test_an_input_of_zeros_is_no_obstacle() -> None:
    x = np.zeros((20, 4), np.float32)
    w = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    statistics = gather(x, np.ones((20, 3), np.float32), Geometry(), True, np.random.default_rng(0))
    mask = choose_mask(w, statistics, LayerRule(w.shape, 2), ())
    new, bias = refit(w, mask, statistics)
    np.testing.assert_allclose(new, np.where(mask, w, 0), rtol=1e-5)
    np.testing.assert_allclose(bias, 1)


def test_a_layer_too_wide_for_a_hessian_is_chosen_by_its_kernels_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(5)
    x = draw.standard_normal((300, 8)).astype(np.float32) * np.array([9, 1, 9, 1, 9, 1, 9, 1], np.float32) + 1
    w = draw.uniform(0.9, 1.1, (4, 8))
    y = (x @ w.T).astype(np.float32)
    monkeypatch.setattr("pconv.calibration.statistics.MAX_COLUMNS", 7)
    statistics = gather(x, y, Geometry(), True, draw)
    mask = choose_mask(w, statistics, LayerRule(w.shape, 4), ())
    assert (mask == [True, False] * 4).all()
    new, bias = refit(w, mask, statistics)
    np.testing.assert_array_equal(new, np.where(mask, w, 0))
    np.testing.assert_allclose((x @ new.T + bias).mean(0), y.mean(0), rtol=1e-4)


class Chain:
    """Fully connected layers with a rectifier between them, as sites."""

    def __init__(self, sizes: list[int], x: np.ndarray) -> None:
        draw = np.random.default_rng(7)
        self.x = x
        self.dense = [draw.standard_normal((o, i)) / i**0.5 for i, o in pairwise(sizes)]
        self.now = [(w, np.zeros(len(w))) for w in self.dense]

    def __iter__(self) -> "Iterator[ChainSite]":
        for i in range(len(self.dense)):
            yield ChainSite(self, i)

    def weights(self) -> dict[str, np.ndarray]:
        return {f"fc{i}": w for i, w in enumerate(self.dense)}

    def run(self, layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        y = self.x
        for i, (w, b) in enumerate(layers):
            y = (y if i == 0 else np.maximum(y, 0)) @ w.T + b
        return y


class ChainSite:
    geometry = Geometry()
    has_bias = True

    def __init__(self, chain: Chain, i: int) -> None:
        self.name, self.weights = f"fc{i}", chain.dense[i]
        self._chain, self._i = chain, i

    def observe(self) -> tuple[np.ndarray, np.ndarray]:
        chain = self._chain
        before = chain.run(chain.now[: self._i])
        dense = [(w, np.zeros(len(w))) for w in chain.dense]
        return (before if self._i == 0 else np.maximum(before, 0)), chain.run(dense[: self._i + 1])

    def replace(self, weights: np.ndarray, bias: np.ndarray | None) -> None:
        assert bias is not None
        self._chain.now[self._i] = weights, bias


def test_a_sweep_repairs_layer_after_layer() -> None:
    x = np.random.default_rng(0).standard_normal((400, 12))
    x[:, 6:] = x[:, :6] @ np.random.default_rng(1).standard_normal((6, 6)) + 0.1 * x[:, 6:]
    chain = Chain([12, 16, 16, 5], x)
    rules = {
        "fc0": LayerRule((16, 12), 6),
        "fc1": LayerRule((16, 16), 8),
        "fc2": LayerRule((5, 16), 16),
    }
    heard: list[tuple[str, int, int]] = []
    masks = sweep(chain, chain.weights(), rules, lambda *said: heard.append(said))
    assert [said[0] for said in heard] == ["refitting fc0", "refitting fc1", "refitting fc2"]
    assert (masks["fc1"].sum(axis=1) == 8).all() and masks["fc2"].all()
    wanted = chain.run([(w, np.zeros(len(w))) for w in chain.dense])
    cut = [(np.where(masks[f"fc{i}"], w, 0), np.zeros(len(w))) for i, w in enumerate(chain.dense)]
    error, cut_error = (np.square(chain.run(net) - wanted).mean() for net in (chain.now, cut))
    assert error < 0.5 * cut_error


def test_what_comes_before_the_first_pruned_layer_stays() -> None:
    chain = Chain([6, 6, 6], np.random.default_rng(0).standard_normal((50, 6)))
    sweep(chain, chain.weights(), {"fc0": LayerRule((6, 6), 6), "fc1": LayerRule((6, 6), 3)})
    assert chain.now[0][0] is chain.dense[0]


def test_activations_that_are_not_finite_are_refused() -> None:
    x = np.ones((10, 4))
    x[3, 2] = np.inf
    chain = Chain([4, 4], x)
    with pytest.raises(ModelError, match=r"fc0: it computes NaN or infinity on the calibration images"):
        sweep(chain, chain.weights(), {"fc0": LayerRule((4, 4), 2)})


def test_weights_that_are_not_finite_are_refused() -> None:
    chain = Chain([4, 4], np.ones((10, 4)))
    chain.dense[0][1, 1] = np.nan
    with pytest.raises(ModelError, match="fc0: 1 weights are NaN"):
        sweep(chain, chain.weights(), {"fc0": LayerRule((4, 4), 2)})


def test_a_sweep_takes_images_from_everywhere() -> None:
    assert enough_images(5, 100).tolist() == [0, 1, 2, 3, 4]
    few = enough_images(4001, 1 << 19)
    assert few.tolist() == [0, 1333, 2666, 4000]
    assert len(enough_images(50_000, 1)) == 1024 and len(enough_images(3, 1 << 30)) == 1


def test_of_a_wide_layer_each_kernel_errs_by_itself() -> None:
    draw = np.random.default_rng(0)
    blocks = np.stack([np.stack([a @ a.T for a in draw.standard_normal((3, 9, 12))]) for _ in range(2)])
    change = draw.standard_normal((4, 3, 3, 3))
    statistics = Statistics(blocks, np.empty(0), np.zeros((2, 27)), np.zeros(4))
    kernels = change.reshape(2, 2, 3, 9)
    expected = sum(
        kernels[g, o, c] @ blocks[g, c] @ kernels[g, o, c]
        for g in range(2)
        for o in range(2)
        for c in range(3)
    )
    assert statistics.output_error(change) == pytest.approx(expected)
