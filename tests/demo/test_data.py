"""Pictures are what their sources say, in a split that never changes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.demo import data
from pconv.errors import ModelError, PconvError


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


@given(st.integers(0, 2**32 - 1))
def test_decoding_undoes_encoding(seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, 32, 32), np.uint8)
    assert np.array_equal(data.decode_cifar(_encode(images)), images)


def _encode(images: np.ndarray) -> np.ndarray:
    planes = images.swapaxes(0, 1).copy()
    planes[0] -= planes[1]
    planes[2] -= planes[1]
    rows = np.diff(planes, axis=-2, prepend=np.zeros_like(planes[..., :1, :]))
    return np.diff(rows, axis=-1, prepend=np.zeros_like(rows[..., :1]))


@pytest.fixture
def small_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cifar10").mkdir()
    draw = np.random.default_rng(0)
    for name in (*(f"train_{i}" for i in range(1, 6)), "test"):
        images = draw.integers(0, 256, (4, 3, 32, 32), np.uint8)
        np.savez(tmp_path / "cifar10" / f"{name}.npz", delta=_encode(images), labels=np.arange(4))
    monkeypatch.setattr(data, "CIFAR_HELD_OUT", 2)
    return tmp_path


def test_cifar_holds_the_last_training_pictures_out(small_cifar: Path) -> None:
    cifar = data.cifar10(small_cifar)
    assert [len(part) for part in (cifar.train, cifar.held_out, cifar.test)] == [18, 2, 4]
    assert cifar.held_out.labels.tolist() == [2, 3]
    pixel = cifar.test.pixels[1, :, 5, 7] / 255
    expected = (pixel - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(cifar.test.normalised(slice(1, 2))[0, :, 5, 7], expected, atol=1e-6)


def test_cifar_is_found_by_the_environment(small_cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_DATA", str(small_cifar))
    assert data.find_folder("cifar10") == small_cifar
    monkeypatch.setenv("PCONV_DATA", str(small_cifar / "absent"))
    with pytest.raises(
        ModelError, match=r"^cifar10: no such folder in .*absent; set PCONV_DATA .* or use the digits"
    ):
        data.cifar10()


def test_cifar_is_found_beside_the_working_directory(
    small_cifar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = small_cifar / "shared"
    shared.mkdir()
    (small_cifar / "cifar10").rename(small_cifar / "data")
    (small_cifar / "data").rename(shared / "data")
    (shared / "data" / "cifar10").mkdir()
    (small_cifar / "work").mkdir()
    monkeypatch.chdir(small_cifar / "work")
    monkeypatch.delenv("PCONV_DATA", raising=False)
    assert data.find_folder("cifar10") == shared / "data"


def test_broken_cifar_files(small_cifar: Path) -> None:
    path = small_cifar / "cifar10" / "train_3.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"train_3.npz is not one of the data's .npz files; copy it again"):
        data.cifar10(small_cifar)
    path.unlink()
    with pytest.raises(ModelError, match=r"^cifar10: cannot read .*train_3.npz: No such file"):
        data.cifar10(small_cifar)


@pytest.mark.data
@pytest.mark.slow
def test_real_cifar_is_what_its_checksums_say(data_folder: Path) -> None:
    expected = json.loads((data_folder / "cifar10" / "meta.json").read_text())["test"]
    images, labels = data._cifar_part(data_folder / "cifar10" / "test.npz")
    nhwc = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    assert hashlib.sha256(nhwc).hexdigest() == expected["images_sha256"]
    assert np.bincount(labels).tolist() == expected["per_class"]
