"""CIFAR-10 is what its files say, in a split that never changes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pconv.demo import cifar
from pconv.errors import ModelError


@given(st.integers(0, 2**32 - 1))
def test_decoding_undoes_encoding(seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, 32, 32), np.uint8)
    assert np.array_equal(cifar.decode_cifar(_encode(images)), images)


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
    monkeypatch.setattr(cifar, "HELD_OUT", 2)
    return tmp_path


def test_cifar_holds_the_last_training_pictures_out(small_cifar: Path) -> None:
    read = cifar.cifar10(small_cifar)
    assert [len(part) for part in (read.train, read.held_out, read.test)] == [18, 2, 4]
    assert read.held_out.labels.tolist() == [2, 3]
    pixel = read.test.pixels[1, :, 5, 7] / 255
    expected = (pixel - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(read.test.normalised(slice(1, 2))[0, :, 5, 7], expected, atol=1e-6)


def test_cifar_is_found_by_the_environment(small_cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCONV_DATA", str(small_cifar))
    assert cifar.cifar_folder() == small_cifar
    assert len(cifar.cifar10().test) == 4
    monkeypatch.setenv("PCONV_DATA", str(small_cifar / "absent"))
    with pytest.raises(
        ModelError, match=r"^cifar10: no such folder in .*absent; set it to .* or use the digits"
    ):
        cifar.cifar10()
    monkeypatch.delenv("PCONV_DATA")
    with pytest.raises(
        ModelError, match=r"^cifar10: PCONV_DATA is not set; set it to a folder that holds cifar10/ or"
    ):
        cifar.cifar10()


def test_a_folder_without_cifar(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"holds no files of CIFAR-10; name the folder that cifar-10-batches-py/ is in"
    ):
        cifar.cifar10(tmp_path)


def test_broken_cifar_files(small_cifar: Path) -> None:
    path = small_cifar / "cifar10" / "train_3.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"train_3.npz is not one of the data's .npz files; copy it again"):
        cifar.cifar10(small_cifar)
    path.unlink()
    with pytest.raises(
        ModelError,
        match=r"^cifar10: .*cifar10 has no train_3\.npz; all of train_1\.npz to train_5\.npz and test\.npz",
    ):
        cifar.cifar10(small_cifar)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 99], r"train_2\.npz has the label 99, allowed are 0 to 9; copy it again\."),
        ([0, 1, 2, -1], r"train_2\.npz has the label -1, allowed are 0 to 9"),
        ([0, 1, 2], r"train_2\.npz has 4 images and 3 labels; copy it again\."),
    ],
)
def test_labels_that_do_not_fit(small_cifar: Path, labels: list[int], message: str) -> None:
    path = small_cifar / "cifar10" / "train_2.npz"
    np.savez(path, delta=np.zeros((3, 4, 32, 32), np.uint8), labels=np.array(labels))
    with pytest.raises(ModelError, match=message):
        cifar.cifar10(small_cifar)


@pytest.mark.parametrize(("train", "test"), [(1, 1), (2, 0)])
def test_too_few_pictures(small_cifar: Path, train: int, test: int) -> None:
    for path in (small_cifar / "cifar10").iterdir():
        count = test if path.name == "test.npz" else train
        np.savez(path, delta=np.zeros((3, count, 32, 32), np.uint8), labels=np.zeros(count, np.int64))
    with pytest.raises(
        ModelError,
        match=rf"cifar10 holds {5 * train} training images and {test} to test; allowed are 10 and 1",
    ):
        cifar.cifar10(small_cifar)


@pytest.mark.data
@pytest.mark.slow
def test_real_cifar_is_what_its_checksums_say(data_folder: Path) -> None:
    expected = json.loads((data_folder / "cifar10" / "meta.json").read_text())["test"]
    images, labels = cifar._read_compact(data_folder / "cifar10" / "test.npz")
    nhwc = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    assert hashlib.sha256(nhwc).hexdigest() == expected["images_sha256"]
    assert np.bincount(labels).tolist() == expected["per_class"]
