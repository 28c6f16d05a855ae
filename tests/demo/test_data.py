"""Pictures are what their sources say, in a split that never changes."""

import numpy as np
import pytest

from pconv.demo import data
from pconv.errors import PconvError


def test_digits_split_and_scale() -> None:
    digits = data.digits()
    parts = (digits.train, digits.held_out, digits.test)
    assert [len(part) for part in parts] == [1197, 150, 450]
    assert digits.train.shape == (1, 1, 16, 16)
    assert all(set(part.labels) == set(range(10)) for part in parts)
    x = digits.train.normalised(slice(None))
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert abs(x.mean()) < 0.1 and 0.8 < x.std() < 1.1


def test_digits_are_the_same_every_time() -> None:
    first, second = data.digits(), data.digits()
    assert np.array_equal(first.test.pixels, second.test.pixels)
    assert np.array_equal(first.train.labels, second.train.labels)


def test_enlarging_keeps_constants_and_means() -> None:
    flat = np.full((2, 1, 8, 8), 7.0)
    assert np.array_equal(data.enlarge(flat), np.full((2, 1, 16, 16), 7.0))
    ramp = np.broadcast_to(np.arange(8.0), (1, 1, 8, 8))
    enlarged = data.enlarge(ramp)
    assert enlarged.shape == (1, 1, 16, 16)
    assert np.isclose(enlarged.mean(), ramp.mean())
    assert np.allclose(enlarged[0, 0, 3, 1:5], [0.25, 0.75, 1.25, 1.75])


def test_batches_go_through_all_pictures_in_order() -> None:
    images = data.digits().held_out
    pieces = list(images.batches(64))
    assert [len(labels) for _, labels in pieces] == [64, 64, 22]
    assert np.array_equal(np.concatenate([labels for _, labels in pieces]), images.labels)
    assert np.array_equal(np.concatenate([x for x, _ in pieces]), images.normalised(slice(None)))


def test_missing_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(
        PconvError, match=r"^digits: scikit-learn is not installed.*pip install scikit-learn\.$"
    ):
        data.digits()
