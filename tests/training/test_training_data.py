"""Pictures arrive as their files say, whatever kind of files, and every refusal names the file."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pconv.demo.cifar import BATCHES
from pconv.errors import ModelError, PconvError
from pconv.training import data as room
from pconv.training.augment import PAD, centre_crop, crop_and_flip, random_resized_crop
from pconv.training.data import Draw, Parts, find, hub, in_order, open_data, plan_epoch
from pconv.training.data.parts import hold_out
from pconv.training.data.pictures import MEAN, STD, PictureSplit
from pconv.training.distributed import ALONE, Ranks
from pconv.training.evaluate import BATCH, right_answers

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
COLOURS = {"black": 0, "grey": 128, "white": 255}


def batch(seed: int, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, 3072), np.uint8), np.arange(count) % 10


def first(split: room.Split, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return next(split.batches([Draw(np.arange(count))], CPU, ALONE))


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    home = tmp_path / "cifar-10-batches-py"
    home.mkdir()
    for seed, name in enumerate(BATCHES):
        pixels, labels = batch(seed)
        (home / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels.tolist()}))
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """train/ has 10 pictures of each of three colours, val/ one of each."""
    for part, count in (("train", 10), ("val", 1)):
        for name, grey in COLOURS.items():
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (20 + i, 12), (grey,) * 3).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def test_pickles_and_binary_files_hold_the_same(pickles: Path, tmp_path: Path) -> None:
    home = tmp_path / "binary" / "cifar-10-batches-bin"
    home.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        pixels, labels = batch(seed)
        (home / f"{name}.bin").write_bytes(np.c_[labels.astype(np.uint8), pixels].tobytes())
    one, other = open_data(pickles, 32), open_data(home, 32)
    for parts in (one, other):
        assert [len(split) for split in (parts.train, parts.held_out, parts.test)] == [90, 10, 20]
        assert parts.classes[3] == "cat" and parts.shape == (1, 3, 32, 32)
    (x, y), (other_x, other_y) = first(one.train), first(other.train)
    assert torch.equal(x, other_x) and torch.equal(y, other_y)
    pixel = batch(0)[0][1].reshape(3, 32, 32)[:, 5, 7] / 255
    assert np.allclose(x[1, :, 5, 7], (pixel - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5)


class _Evil:
    def __reduce__(self) -> object:
        return os.system, ("true",)


def test_a_pickle_that_would_run_code_is_refused(pickles: Path) -> None:
    path = pickles / "cifar-10-batches-py" / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": _Evil()}))
    with pytest.raises(ModelError, match=r"data_batch_1 is no batch of CIFAR-10 \(it names posix\.system"):
        open_data(pickles, 32)


def test_broken_cifar_files_are_named(pickles: Path) -> None:
    home = pickles / "cifar-10-batches-bin"
    home.mkdir()
    (pickles / "cifar-10-batches-py").rename(pickles / "away")
    for name in BATCHES:
        (home / f"{name}.bin").write_bytes(b"12345")
    with pytest.raises(ModelError, match=r"data_batch_1\.bin has 5 bytes, allowed is a multiple of 3073"):
        open_data(pickles, 32)


@pytest.mark.parametrize("missing", [("data_batch_1",), ("data_batch_3", "data_batch_4"), ("test_batch",)])
def test_missing_cifar_files_are_named(pickles: Path, missing: tuple[str, ...]) -> None:
    for name in missing:
        (pickles / "cifar-10-batches-py" / name).unlink()
    with pytest.raises(
        ModelError,
        match=rf"cifar-10-batches-py has no {', '.join(missing)}; .* Copy the missing files there\.",
    ):
        open_data(pickles, 32)


def test_folders_of_pictures(folders: Path) -> None:
    parts = open_data(folders, 8)
    assert parts.classes == ("black", "grey", "white")
    assert [len(split) for split in (parts.train, parts.held_out, parts.test)] == [29, 1, 3]
    x, y = next(parts.test.batches(in_order(3, 3), CPU, ALONE))
    assert x.shape == (3, 3, 8, 8) and y.tolist() == [0, 1, 2]
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(
        x[2, :, 0, 0], (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], atol=1e-5
    )
    (folders / "val").rename(folders / "test")
    (folders / "train" / "white").rename(folders / "elsewhere")
    with pytest.raises(ModelError, match=r"has train/ and no val/"):
        open_data(folders, 8)


def test_a_test_folder_leaves_val_to_choose_by(folders: Path) -> None:
    (folders / "test" / "grey").mkdir(parents=True)
    Image.new("L", (9, 9)).save(folders / "test" / "grey" / "one.png")
    parts = open_data(folders, 8)
    assert [len(split) for split in (parts.train, parts.held_out, parts.test)] == [30, 3, 1]
    assert parts.test.labels.tolist() == [1]


def test_worker_processes_give_the_same_pictures(folders: Path) -> None:
    train = open_data(folders, 8).train
    draws = plan_epoch(len(train), 8, seed=1, epoch=0)[:2]
    alone, helped = (list(train.batches(draws, CPU, ALONE, workers)) for workers in (0, 1))
    assert all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(alone, helped, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named(folders: Path, workers: int) -> None:
    path = folders / "val" / "black" / "0.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        ModelError, match=rf"^{path}: cannot be read as a picture \(.*\)\. Remove or replace it\.$"
    ):
        list(open_data(folders, 8).test.batches(in_order(3, 3), CPU, ALONE, workers))


def test_a_picture_too_large_to_open_is_named(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(
        ModelError, match=r"0\.png: cannot be read as a picture \(Image size .* exceeds limit"
    ):
        list(open_data(folders, 8).test.batches(in_order(3, 3), CPU, ALONE))


def test_classes_and_folders_that_do_not_fit(folders: Path, tmp_path: Path) -> None:
    (folders / "val" / "red").mkdir()
    with pytest.raises(ModelError, match=r"val/red: train/ has no class of this name"):
        open_data(folders, 8)
    (folders / "val" / "red").rmdir()
    for file in (folders / "val").rglob("*.png"):
        file.unlink()
    with pytest.raises(ModelError, match=r"val: holds no pictures"):
        open_data(folders, 8)


@pytest.mark.parametrize(("classes", "images"), [(1, 10), (1, 1)])
def test_nothing_to_tell_apart(tmp_path: Path, classes: int, images: int) -> None:
    for part in ("train", "val"):
        for name in range(classes):
            (tmp_path / part / f"{name}").mkdir(parents=True)
            for i in range(images):
                Image.new("L", (9, 9)).save(tmp_path / part / f"{name}" / f"{i}.png")
    with pytest.raises(ModelError, match=r"images to fit; allowed are two classes or more"):
        open_data(tmp_path, 8)


def test_what_tools_hide_is_no_class_and_no_picture(folders: Path) -> None:
    (folders / "train" / ".ipynb_checkpoints").mkdir()
    (folders / "val" / ".cache").mkdir()
    (folders / "train" / "black" / "._0.png").write_bytes(b"of another system")
    (folders / "train" / "black" / ".thumbnails").mkdir()
    Image.new("L", (2, 2)).save(folders / "train" / "black" / ".thumbnails" / "0.png")
    found = open_data(folders, 8)
    assert found.classes == tuple(COLOURS)
    assert (len(found.train) + len(found.held_out), len(found.test)) == (30, 3)


def test_links_to_folders_are_followed_and_each_counts_once(folders: Path, tmp_path: Path) -> None:
    black, elsewhere = folders / "train" / "black", tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("L", (9, 9)).save(elsewhere / "more.png")
    Image.new("L", (9, 9)).save(elsewhere / ".no.png")
    (black / "linked").symlink_to(elsewhere)
    (black / "again").symlink_to(elsewhere)
    (black / "loop").symlink_to(black)
    (black / "deep").mkdir()
    (black / "deep" / "up").symlink_to(folders)
    (black / "folder.png").mkdir()
    found = open_data(folders, 8)
    everything = (
        30 + 1 + 30 - 10 + 3
    )  # train, what is linked; by the link upwards train and val, black counts once
    assert len(found.train) + len(found.held_out) == everything
    (black / "deep" / "up").unlink()
    assert len(open_data(folders, 8).train) + len(open_data(folders, 8).held_out) == 31


def test_a_link_to_a_picture_that_is_gone_is_named(folders: Path) -> None:
    (folders / "val" / "black" / "gone.png").symlink_to(folders / "nowhere")
    with pytest.raises(ModelError, match=r"gone\.png: cannot be read as a picture \(.*No such file"):
        list(open_data(folders, 8).test.batches(in_order(4, 4), CPU, ALONE))


def test_a_class_to_fit_without_pictures_is_refused(folders: Path) -> None:
    (folders / "train" / "red").mkdir()
    Image.new("RGB", (9, 9)).save(folders / "train" / "red.png")
    with pytest.raises(ModelError, match=r"train/red: holds no pictures; allowed are some of every class"):
        open_data(folders, 8)


def picture(folders: Path, kept: Image.Image, name: str = "0.png", **options: object) -> np.ndarray:
    """Give the grey levels, 0..1, that a network reads of a picture in a file, in all three channels."""
    for file in (folders / "val" / "black").iterdir():
        file.unlink()
    kept.save(folders / "val" / "black" / name, **options)
    x, _ = first(open_data(folders, 8).test, 1)
    grey = x[0].numpy() * STD[:, None, None] + MEAN[:, None, None]
    assert np.allclose(grey, grey[:1], atol=1e-6)
    return grey[0]


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_16_bits_are_scaled_and_not_cut_off(folders: Path, name: str) -> None:
    ramp = np.tile(np.arange(8, dtype=np.uint16) * 8192, (8, 1))
    shallow = picture(folders, Image.fromarray((ramp >> 8).astype(np.uint8)))
    assert np.array_equal(picture(folders, Image.fromarray(ramp), name), shallow)
    assert shallow.max() < 0.9


def test_pictures_are_turned_as_their_files_say(folders: Path) -> None:
    ramp = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1)))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    turned = picture(folders, ramp, exif=exif)
    assert np.array_equal(turned, picture(folders, ramp.rotate(-90)))
    assert not np.allclose(turned, picture(folders, ramp))


def test_pixels_without_a_range_are_refused(folders: Path) -> None:
    with pytest.raises(ModelError, match=r"0\.tif: .* \(pixels of 32 bits, mode F; allowed are 8 or 16\)"):
        picture(folders, Image.new("F", (9, 9), 0.5), "0.tif")


def test_other_folders(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(ModelError, match=r"empty: no such folder; give one with CIFAR-10's files"):
        open_data(empty, 8)
    empty.mkdir()
    with pytest.raises(ModelError, match=r"empty: holds no data that is known; allowed are CIFAR-10's files"):
        open_data(empty, 8)


def saved(path: Path, **splits: list[int]) -> Path:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])}
    )
    made = {}
    for name, labels in splits.items():
        pictures = [Image.new("RGB", (10, 10), (250 * max(label, 0),) * 3) for label in labels]
        made[name] = datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=features)
    datasets.DatasetDict(made).save_to_disk(path)
    return path


def test_saved_hugging_face_datasets(tmp_path: Path) -> None:
    both = open_data(saved(tmp_path / "a", train=[0, 1] * 4, validation=[0, 1], test=[1]), 8)
    assert [len(split) for split in (both.train, both.held_out, both.test)] == [8, 2, 1]
    assert both.classes == ("dark", "light")
    x, y = first(both.train, 2)
    assert y.tolist() == [0, 1] and x[0].max() < x[1].min()
    unlabelled = open_data(saved(tmp_path / "b", train=[0, 1] * 20, validation=[0, 1], test=[-1]), 8)
    assert [len(split) for split in (unlabelled.train, unlabelled.held_out, unlabelled.test)] == [38, 2, 2]


def test_saved_splits_without_labels_do_not_count(tmp_path: Path) -> None:
    import datasets

    made = datasets.load_from_disk(
        str(saved(tmp_path / "a", train=[0, 1] * 20, validation=[0, 1], test=[0, 1]))
    )
    nothing = made["test"].map(lambda row: {"label": None}, features=made["test"].features)
    for i, test in enumerate((nothing, made["test"].remove_columns("label"))):
        datasets.DatasetDict(dict(made) | {"test": test}).save_to_disk(tmp_path / f"{i}")
        found = open_data(tmp_path / f"{i}", 8)
        assert [len(split) for split in (found.train, found.held_out, found.test)] == [38, 2, 2]


def test_saved_splits_whose_classes_differ_are_refused(tmp_path: Path) -> None:
    import datasets

    made = datasets.load_from_disk(str(saved(tmp_path / "a", train=[0, 1] * 4, test=[0, 1])))
    swapped, none = datasets.ClassLabel(names=["light", "dark"]), datasets.Value("int64")
    for i, (kind, said) in enumerate([(swapped, "light, dark"), (none, r"\(none\)")]):
        other = made["test"].cast_column("label", kind)
        datasets.DatasetDict(dict(made) | {"test": other}).save_to_disk(tmp_path / f"{i}")
        with pytest.raises(
            ModelError, match=rf"split test has the classes {said}, train has dark, light; allowed"
        ):
            open_data(tmp_path / f"{i}", 8)


def test_a_saved_split_without_pictures_is_refused(tmp_path: Path) -> None:
    import datasets

    made = datasets.load_from_disk(str(saved(tmp_path / "a", train=[0, 1] * 4, test=[0, 1])))
    made["test"] = made["test"].remove_columns("image")
    made.save_to_disk(tmp_path / "b")
    with pytest.raises(
        ModelError,
        match=r"b: its split test has no column image of Image, which train has; it has label \(ClassLabel\)\.",
    ):
        open_data(tmp_path / "b", 8)


@pytest.mark.parametrize("format", ["torch", "numpy", "bytes"])
def test_saved_formats_are_those_of_others(tmp_path: Path, format: str) -> None:
    import datasets

    made = datasets.load_from_disk(
        str(saved(tmp_path / "a", train=[0, 1] * 4, validation=[0, 1], test=[1, 0]))
    )
    plain = open_data(tmp_path / "a", 8)
    if format == "bytes":
        made = made.cast_column("image", datasets.Image(decode=False))
    else:
        made = made.with_format(format)
    made.save_to_disk(tmp_path / "b")
    (x, y), (expected, labels) = (first(parts.test, 2) for parts in (open_data(tmp_path / "b", 8), plain))
    assert torch.equal(x, expected) and torch.equal(y, labels)


def test_a_saved_row_without_a_picture_is_named(tmp_path: Path) -> None:
    import datasets

    made = datasets.load_from_disk(str(saved(tmp_path / "a", train=[0, 1] * 4, test=[0])))
    rows = {"image": [None], "label": [0]}
    made["test"] = datasets.Dataset.from_dict(rows, features=made["test"].features)
    made.save_to_disk(tmp_path / "b")
    with pytest.raises(ModelError, match=r"b: test\[0\]: cannot be read as a picture \(the row has none\)"):
        first(open_data(tmp_path / "b", 8).test, 1)


def test_saved_datasets_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    alone = saved(tmp_path / "a", train=[0, 1])
    with pytest.raises(ModelError, match=r"has no labelled split validation or test; it has train\."):
        open_data(alone, 8)
    unlabelled = saved(tmp_path / "c", train=[-1, -1], validation=[0, 1], test=[1])
    with pytest.raises(
        ModelError, match=r"c: its split train is empty, or has images without labels \(none, or -1\)"
    ):
        open_data(unlabelled, 8)
    with pytest.raises(ModelError, match=r"train: one split alone; allowed is a saved DatasetDict"):
        open_data(alone / "train", 8)
    datasets.DatasetDict({"train": datasets.Dataset.from_dict({"n": [1]})}).save_to_disk(tmp_path / "b")
    with pytest.raises(
        ModelError, match=r"needs a column of Image and one of ClassLabel; it has n \(Value\)"
    ):
        open_data(tmp_path / "b", 8)
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(PconvError, match=r"datasets package is not installed; pip install datasets\.$"):
        open_data(alone, 8)


def test_shortened_data_keep_the_rest(pickles: Path) -> None:
    whole = open_data(pickles, 32)
    short = open_data(pickles, 32, images=5)
    assert (len(short.train), len(short.held_out), len(short.test)) == (5, 10, 20)
    assert short.shortened and not whole.shortened
    assert len(find.shorten(whole, 1000).train) == len(whole.train)
    assert not find.shorten(whole, 1000).shortened


@given(count=st.integers(1, 200), batch=st.integers(1, 64), epoch=st.integers(0, 5))
def test_an_epoch_sees_every_image_at_most_once(count: int, batch: int, epoch: int) -> None:
    draws = plan_epoch(count, batch, seed=3, epoch=epoch)
    rows = np.concatenate([draw.rows for draw in draws])
    assert len(np.unique(rows)) == len(rows) > count - batch
    assert len({draw.seed for draw in draws}) == len(draws)
    again = plan_epoch(count, batch, seed=3, epoch=epoch)
    assert all(np.array_equal(a.rows, b.rows) and a.seed == b.seed for a, b in zip(draws, again, strict=True))


@given(world=st.integers(1, 4))
def test_ranks_share_a_batch(world: int) -> None:
    draw = Draw(np.arange(12), 7)
    parts = [np.arange(12)[draw.share(Ranks(rank, world))] for rank in range(world)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(12))


def brightness() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))


def test_parts_of_a_network_keep_their_modes(folders: Path) -> None:
    network, split = brightness().train(), open_data(folders, 8).test
    network[0].eval()
    modes = [part.training for part in network.modules()]
    right_answers(network, split, CPU)
    assert [part.training for part in network.modules()] == modes
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        right_answers(network.append(torch.nn.Linear(4, 4)), split, CPU)
    assert [part.training for part in network.modules()] == [*modes, True]


@pytest.mark.parametrize("count", [1, BATCH + 1])
def test_a_rank_may_have_no_image_of_the_last_batch(folders: Path, count: int) -> None:
    test = open_data(folders, 8).test
    network = brightness()
    split = test.take(np.arange(count) % len(test))
    alone = right_answers(network, split, CPU)
    shares = [right_answers(network, split, CPU, Ranks(rank, 2)) for rank in (0, 1)]
    assert np.array_equal(shares[0], alone[::2]) and np.array_equal(shares[1], alone[1::2])


@given(seed=st.integers(0, 1000))
def test_cropping_shifts_and_mirrors(seed: int) -> None:
    x = torch.arange(1, 1 + 2 * 6 * 6).reshape(1, 2, 6, 6)
    y = crop_and_flip(x, torch.Generator().manual_seed(seed))
    padded, places = torch.nn.functional.pad(x, (PAD,) * 4), range(2 * PAD + 1)
    windows = [padded[:, :, t : t + 6, left : left + 6] for t in places for left in places]
    assert any(torch.equal(y, window) or torch.equal(y, window.flip(-1)) for window in windows)
    assert torch.equal(y, crop_and_flip(x, torch.Generator().manual_seed(seed)))


def test_random_crops_vary_by_seed_and_fit_any_picture() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    one, same, other = (np.asarray(random_resized_crop(picture, 16, seed)) for seed in (1, 1, 2))
    assert one.shape == (16, 16, 3)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert random_resized_crop(Image.new("RGB", (500, 1)), 8, 0).size == (8, 8)
    assert centre_crop(Image.new("RGB", (500, 3)), 8).size == (8, 8)


def test_held_out_images_are_not_trained_on(folders: Path) -> None:
    parts: Parts = open_data(folders, 8)
    train, held_out = hold_out(parts.train)
    assert not set(train.numbers) & set(held_out.numbers)
    assert len(train) + len(held_out) == len(parts.train)


@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=80))
def test_holding_out_leaves_an_image_of_every_class(labels: list[int]) -> None:
    whole = PictureSplit(None, np.arange(len(labels)), np.array(labels), 8)
    train, held_out = hold_out(whole)
    assert set(train.labels) == set(labels)
    assert sorted([*train.numbers, *held_out.numbers]) == list(range(len(labels)))
    assert len(held_out) == min(max(1, len(labels) // 20), len(labels) - len(set(labels)))


def test_what_is_held_out_stays_the_same_choice() -> None:
    whole = PictureSplit(None, np.arange(2000), np.arange(2000) % 7, 8)
    order = np.random.Generator(np.random.PCG64(0)).permutation(2000)
    assert hold_out(whole)[1].numbers.tolist() == sorted(order[-100:])


def test_nothing_to_hold_out(tmp_path: Path) -> None:
    for part, name in (("train", "a"), ("train", "b"), ("val", "a")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("L", (9, 9)).save(tmp_path / part / name / "0.png")
    with pytest.raises(
        ModelError,
        match=r"none of its 2 training images can be held out .*: each is the only one of its class",
    ):
        open_data(tmp_path, 8)
