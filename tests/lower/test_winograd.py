"""Winograd's transforms are exact but for rounding, and the model takes them where they can serve."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.bench.case import Case, Sparsity, network
from pconv.bench.registry import FREE, SHARED, conv
from pconv.lower import lower
from pconv.lower.choice import Choice
from pconv.lower.fkw import Walk, pack_points
from pconv.lower.kernels import ConvKernel, WinogradInputKernel
from pconv.lower.reorder import all_taps, classes, mix_filters, order_filters, pattern_shapes
from pconv.lower.winograd import (
    LONG,
    LONG_TRANSFORMS,
    MOST_HALVES,
    TAPS,
    TRANSFORMS,
    Transform,
    kept_points,
    phases,
    point_lists,
    spacing,
    toom_cook,
    transforms,
)
from pconv.targets import Target

CPUS = [targets.get(name) for name in targets.names()]


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide a 3x3 kernel over an image, without padding."""
    height, width = (size - TAPS + 1 for size in image.shape)
    return sum(kernel[y, x] * image[y : y + height, x : x + width] for y in range(TAPS) for x in range(TAPS))


@given(st.sampled_from([*TRANSFORMS]), st.sampled_from([*TRANSFORMS]), st.integers(0, 2**32 - 1))
def test_a_tile_is_a_correlation(rows: int, cols: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    tile, kernel = random.standard_normal((rows + 2, cols + 2)), random.standard_normal((TAPS, TAPS))
    down, across = TRANSFORMS[rows], TRANSFORMS[cols]
    points = (down.inputs @ tile @ across.inputs.T) * (down.weights @ kernel @ across.weights.T)
    np.testing.assert_allclose(down.outputs @ points @ across.outputs.T, correlate(tile, kernel), atol=1e-12)


def test_a_stride_of_two_is_four_convolutions() -> None:
    random = np.random.default_rng(0)
    image, kernel = random.standard_normal((13, 13)), random.standard_normal((1, 1, 7, 7))
    direct = np.array(
        [[(kernel * image[y : y + 7, x : x + 7]).sum() for x in (0, 2, 4, 6)] for y in (0, 2, 4, 6)]
    )
    apart, shapes = phases(kernel)
    (long, _), total = transforms((4, 4), LONG), np.zeros((4, 4))
    kept = kept_points((4, 4), shapes.patterns, LONG).reshape(4, 7, 7)
    for number, part in enumerate(apart[0]):
        tile = np.full((7, 7), 1e9)  # what lies beyond the taps of an odd phase counts for nothing
        rows = image[number // 2 :: 2, number % 2 :: 2][:7, :7]
        tile[: len(rows), : len(rows.T)] = rows
        weights = long.weights @ part @ long.weights.T
        assert not weights[~kept[number]].any()
        total += (
            long.outputs
            @ np.where(kept[number], long.inputs @ tile @ long.inputs.T * weights, 0)
            @ long.outputs.T
        )
    np.testing.assert_allclose(total, direct, atol=1e-9)


@pytest.mark.parametrize("m", LONG_TRANSFORMS)
def test_a_tile_of_four_taps_is_a_correlation(m: int) -> None:
    random, long = np.random.default_rng(m), LONG_TRANSFORMS[m]
    row, kernel = random.standard_normal(m + LONG - 1), random.standard_normal(LONG)
    products = (long.inputs @ row) * (long.weights @ kernel)
    np.testing.assert_allclose(long.outputs @ products, np.correlate(row, kernel), atol=1e-12)


def test_a_tile_of_four_takes_a_quarter_of_the_multiplications() -> None:
    assert [len(TRANSFORMS[m].inputs) for m in (1, 2, 3, 4, 5)] == [3, 4, 5, 6, 7]
    assert TRANSFORMS[4].outputs.shape == (4, 6)


def largest_error(t: Transform, real: type = np.float32) -> float:
    """Sum over 256 channels in floats; return the largest error against doubles, of the largest value."""
    random, points, channels, taps = np.random.default_rng(0), len(t.inputs), 256, len(t.weights.T)
    tiles = np.maximum(random.standard_normal((200, channels, points, points)), 0)
    kernels = random.standard_normal((channels, taps, taps)) / np.sqrt(taps * taps * channels)

    def run(dtype: type) -> np.ndarray:
        b, g, a = (x.astype(dtype) for x in (t.inputs, t.weights, t.outputs))
        products = b @ tiles.astype(dtype) @ b.T * (g @ kernels.astype(dtype) @ g.T)
        return a @ products.sum(axis=1, dtype=dtype) @ a.T

    exact = run(np.float64)
    return float(np.abs(run(real) - exact).max() / np.abs(exact).max())


def test_precision() -> None:
    """Five digits are left; tiles of four lose less than with the usual points, and those of five hardly more."""
    assert max(largest_error(t) for t in TRANSFORMS.values()) < 1e-5
    assert max(largest_error(t) for t in LONG_TRANSFORMS.values()) < 1e-5
    usual = largest_error(toom_cook((0, 1, -1, 2, -2)))
    assert largest_error(TRANSFORMS[4]) < 0.5 * usual
    assert largest_error(TRANSFORMS[5]) < 1.5 * usual


def test_precision_in_halves() -> None:
    """Between two and three digits are left, and each row or column more costs some."""
    assert (
        largest_error(TRANSFORMS[MOST_HALVES], np.float16) < 5e-3 < largest_error(TRANSFORMS[3], np.float16)
    )
    assert largest_error(LONG_TRANSFORMS[2], np.float16) < 1e-2


def conv_kernel(case: Case, target: Target) -> ConvKernel:
    kernel = next(s.kernel for s in lower(network([case]), target).steps if s.name == case.name)
    assert isinstance(kernel, ConvKernel)
    return kernel


@pytest.mark.parametrize("target", CPUS, ids=lambda t: t.name)
@pytest.mark.parametrize("size", [14, 28, 56])
def test_dense_layers_take_it(size: int, target: Target) -> None:
    kernel = conv_kernel(conv("dense", 128, 128, (size, size)), target)
    assert kernel.points in (24, 36, 42, 49) and kernel.uniform


@pytest.mark.parametrize(("size", "points"), [(40, 49), (24, 25), (28, 36)])
def test_tiles_fit_the_blocks(size: int, points: int) -> None:
    """Blocks of 10 rows are two tiles of 5, those of 6 two of 3; of 7, tiles of 4 and 4 take fewer than 5 and 5."""
    assert conv_kernel(conv("dense", 128, 128, (size, size)), targets.get("x86-64-v4")).points == points


@pytest.mark.parametrize(
    "case",
    [
        conv("stride", 64, 64, (56, 56), stride=2),
        conv("dilation", 64, 64, (56, 56), dilation=2),
        conv("groups", 64, 64, (56, 56), groups=2),
        conv("size", 64, 64, (56, 56), 5),
        conv("first", 3, 64, (224, 224)),
        conv("pruned", 64, 64, (224, 224), sparsity=FREE),
        conv("pruned_together", 64, 64, (224, 224), sparsity=SHARED[4]),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("target", CPUS, ids=lambda t: t.name)
def test_other_layers_run_directly(case: Case, target: Target) -> None:
    assert conv_kernel(case, target).points == 1


@pytest.mark.parametrize("name", ["aarch64", "x86-64-v4"])
def test_the_first_layer_of_a_resnet_takes_it(name: str) -> None:
    kernel = conv_kernel(conv("first", 3, 64, (224, 224), 7, stride=2), targets.get(name))
    assert kernel.points == 49 and kernel.uniform


def test_strips_keep_their_points_in_l2() -> None:
    target = replace(targets.get("x86-64-v4"), l2_bytes=2 << 20)
    plan = lower(network([conv("large", 64, 64, (224, 224))]), target)
    (step,) = (s for s in plan.steps if s.name == "large")
    assert step.around and step.tasks > 4
    assert step.scratch_bytes == plan.scratch_bytes <= target.l2_bytes
    assert step.scratch_bytes >= sum(t.nbytes for t in (step.around[0].output, step.around[1].inputs[0]))
    assert not any(t.space == "scratch" for s in plan.steps for t in (*s.inputs, s.output))
    covered = step.params["strip"] * step.tasks
    assert 0 <= covered - step.params["tiles"] < step.params["strip"]


@pytest.mark.parametrize("stride", [1, 2])
def test_tiles_stay_in_their_planes(stride: int) -> None:
    case = conv("layer", 64 if stride == 1 else 3, 64, (112, 112), 3 if stride == 1 else 7, stride=stride)
    steps = lower(network([case]), targets.get("aarch64")).steps
    kernel = next(s.kernel for s in steps if isinstance(s.kernel, WinogradInputKernel))
    (high, wide), (rows, cols) = (
        tuple(m + kernel.taps - 1 for m in kernel.size),
        kernel.computed.block,
    )
    for tile, block, size, before, after in (
        (high, rows, kernel.size[0], kernel.source.top, kernel.source.bottom),
        (wide, cols, kernel.size[1], kernel.source.left, kernel.source.right),
    ):
        assert block % size == 0
        last = stride * (block - size + tile - 1) + stride - 1 - kernel.pads[0]
        assert before >= kernel.pads[0] and last < stride * block + after


def test_gpus_do_not_take_it() -> None:
    assert conv_kernel(conv("dense", 128, 128, (28, 28)), targets.get("opencl")).points == 1


@pytest.mark.parametrize("dtype", ["fp16", "fp16-fp32acc"])
def test_halves_take_small_tiles(dtype: str) -> None:
    target = targets.get("aarch64", dtype=dtype)
    for size in (14, 28, 56, 60):
        assert 1 < conv_kernel(conv("dense", 128, 128, (size, size)), target).points <= (MOST_HALVES + 2) ** 2
    assert conv_kernel(conv("first", 3, 64, (96, 96), 7, stride=2), target).points == 25


def test_weights_become_points_once() -> None:
    """The file holds the layer's own weights; what they become lives through all of a run."""
    case = conv("dense", 128, 128, (28, 28))
    plan = lower(network([case]), CPUS[0])
    (prepared,) = plan.preparation
    assert prepared.once and not any(step.once for step in plan.steps)
    assert 9 * 128 * 128 <= prepared.data["scale"].size < 9 * 128 * 144
    assert prepared.output.space == "prepared" and plan.prepared_bytes >= prepared.output.nbytes
    assert prepared.output in {tensor for step in plan.steps for tensor in step.inputs}


@pytest.mark.parametrize("group", [1, 2])
def test_kernels_stand_side_by_side(group: int) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    weight[:, :, 0] = 0  # one shape of six taps
    weight[:2, 1] = 0  # and for two filters a kernel less
    shapes = pattern_shapes(weight, 1)
    assert shapes is not None and shapes.patterns == (all_taps(3, 3)[3:],)
    order = order_filters(classes(shapes.pointwise), group)
    stored = pack_points(weight, shapes, order, Walk())
    assert stored.weight.shape == (6, 16) and stored.shape.size == 0
    place = 0
    for filters in order.filters.reshape(-1, group):
        for channel in np.flatnonzero(shapes.ids[filters[0]] >= 0):
            for f in filters:
                np.testing.assert_array_equal(stored.weight[:, place], weight[f, channel, 1:].ravel())
                place += 1
    assert place == 10 and not stored.weight[:, place:].any()


SQUARE, TEE = ((0, 0), (0, 1), (1, 0), (1, 1)), ((0, 1), (1, 0), (1, 1), (1, 2))


@pytest.mark.parametrize("size", [(4, 4), (2, 4), (1, 2), (5, 3)])
def test_a_pattern_has_no_weight_at_some_points(size: tuple[int, int]) -> None:
    down, across = (TRANSFORMS[m].weights for m in size)
    for taps, kept in zip((SQUARE, TEE), kept_points(size, (SQUARE, TEE)), strict=True):
        kernel = np.zeros((TAPS, TAPS))
        kernel[tuple(zip(*taps, strict=True))] = np.random.default_rng(0).standard_normal(len(taps))
        np.testing.assert_array_equal((down @ kernel @ across.T).ravel() != 0, kept)
    assert size != (4, 4) or kept_points(size, (SQUARE, TEE)).sum(axis=1).tolist() == [25, 28]


def test_each_point_has_a_list_of_kernels() -> None:
    lists, numbers = point_lists((4, 4), (SQUARE, TEE))
    np.testing.assert_array_equal(lists[list(numbers)].T, kept_points((4, 4), (SQUARE, TEE)))
    assert lists[0].all()
    assert numbers.count(0) == 24 and numbers.count(lists.tolist().index([False, False])) == 7


@pytest.mark.parametrize("mixed", [False, True])
def test_kernels_whose_points_differ_say_their_shapes(mixed: bool) -> None:
    weight = np.zeros((6, 5, 3, 3), np.float32)
    for f, channel in product(range(6), range(5)):
        if channel != f // 2:  # one removed kernel; two filters are alike
            for tap in SQUARE if (f // 2 + channel) % 2 else TEE:
                weight[f, channel, *tap] = 1 + 5 * f + channel
    shapes = pattern_shapes(weight, 1)
    assert shapes is not None
    order = mix_filters(shapes, 4) if mixed else order_filters(classes(shapes), 4)
    stored = pack_points(weight, shapes, order, Walk(mixed=mixed), skips=True)
    assert stored.shape.size == stored.weight.shape[1] and not stored.uniform
    kernels = [(int(n) - 1, shape) for n, shape in zip(stored.weight[0], stored.shape, strict=True) if n]
    assert sorted(n for n, _ in kernels) == np.flatnonzero(shapes.ids >= 0).tolist()
    assert all(shapes.ids.flat[n] == shape for n, shape in kernels)
    # Of like filters there are two, and two fillers go where they go.
    assert (stored.slot is not None) == mixed and stored.index.size == (5 + 4 if mixed else 3 * 4)


@pytest.mark.parametrize("sparsity", [FREE, SHARED[4]], ids=["free", "shared"])
@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "aarch64"])
def test_patterns_skip_points(target: str, sparsity: Sparsity) -> None:
    case = conv("skips", 512, 512, (28, 28), sparsity=sparsity)
    kernel = conv_kernel(case, targets.get(target))
    assert len(kernel.lists) == kernel.points > 1


@pytest.mark.parametrize("image", [56, 112])
def test_strips_of_free_filters_hold_a_few_vectors_and_are_shared_evenly(image: int) -> None:
    case, target = conv("free", 256, 256, (image, image), sparsity=FREE), targets.get("x86-64-v4")
    counts = {}

    def pick(_: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
        for choice in choices:
            if choice.winograd and choice.winograd.strip:
                bare = next(c for c in choices if not c.winograd).schedule.kernel
                counts[choice.winograd.strip] = choice.winograd.strips(bare.computed)
        return choices[0], ""

    lower(network([case]), target, pick=pick)
    assert 2 <= max(counts) <= 4
    assert all(count == 4 or count >= 8 for count in counts.values())


def test_points_do_not_share_cache_sets() -> None:
    assert [spacing(channels) for channels in (1, 2, 63, 64)] == [1, 3, 63, 65]
