"""Training is repeatable, keeps its promises, and published weights give their published accuracy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pconv import Recipe, prune, zoo
from pconv.demo import cifar, data, train

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def images() -> data.Images:
    return data.digits().train.part(slice(0, 160))


def _small(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
        )


def _fitted(images: data.Images, **settings: object) -> dict[str, torch.Tensor]:
    settings = {"epochs": 2, "lr": 0.05, "batch": 32, "shift": 1, "flip": True, "threads": 1} | settings
    return train.fit(_small(), images, **settings).state_dict()


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[key], right[key]) for key in left)


def test_a_seed_is_a_training(images: data.Images) -> None:
    global_state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = _fitted(images, seed=3)
    torch.rand(5)  # whatever else draws numbers has no influence
    assert _equal(first, _fitted(images, seed=3))
    assert not _equal(first, _fitted(images, seed=4))
    torch.set_rng_state(global_state)
    _fitted(images)
    assert torch.equal(torch.get_rng_state(), global_state)
    assert torch.get_num_threads() == threads


def test_learns_and_ends_in_eval_mode(images: data.Images) -> None:
    model = train.fit(_small(), images, epochs=6, lr=0.1, batch=32)
    assert not model.training
    assert train.accuracy(model, images) > 0.9


def test_reports_every_batch(images: data.Images) -> None:
    seen: list[tuple[int, int]] = []
    steps: list[int] = []
    train.fit(
        _small(),
        images,
        epochs=2,
        lr=0.01,
        batch=64,
        on_batch=lambda done, total, loss: seen.append((done, total)),
        after_step=lambda: steps.append(1),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(steps) == 4


def test_a_teacher_changes_the_lesson_and_not_itself(images: data.Images) -> None:
    teacher = _small(seed=9).eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    assert not _equal(_fitted(images), _fitted(images, teacher=teacher))
    assert _equal(before, teacher.state_dict())


def test_pruned_weights_stay_zero(images: data.Images) -> None:
    model = _small()
    pruner = prune(model, Recipe(compression_rate=2.25, exclude=("4",)))
    train.fit(model, images, epochs=2, lr=0.05, after_step=pruner.step)
    sparsity = pruner.finish()
    assert sparsity.layers["0"].compression_rate == 2.25
    sparsity.check({"0": model[0].weight.detach().numpy(), "4": model[4].weight.detach().numpy()})


def test_varied_pictures_are_moved_and_mirrored() -> None:
    x = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).reshape(2, 3, 6, 6)
    torch.manual_seed(0)
    moved = train._vary(x, shift=2, flip=False)
    assert moved.shape == x.shape
    windows = torch.nn.functional.pad(x, (2,) * 4, value=0.0).unfold(2, 6, 1).unfold(3, 6, 1)
    for i in range(2):
        assert any(torch.equal(moved[i], windows[i, :, a, b]) for a in range(5) for b in range(5))
    mirrored = train._vary(x, shift=0, flip=True)
    assert all(torch.equal(m, a) or torch.equal(m, a.flip(-1)) for m, a in zip(mirrored, x, strict=True))


def test_accuracy_takes_modules_and_functions(images: data.Images) -> None:
    model = _small().eval()
    by_hand = np.mean(train.predictor(model)(images.normalised(slice(None))).argmax(1) == images.labels)
    assert train.accuracy(model, images) == by_hand
    assert train.accuracy(train.predictor(model), images, batch=7) == by_hand
    assert train.accuracy(lambda x: np.eye(10)[np.zeros(len(x), int)], images) == np.mean(images.labels == 0)


@pytest.mark.data
@pytest.mark.slow
def test_published_weights_on_published_images(data_folder: Path) -> None:
    """All ten thousand images are scored in tests/e2e, compiled: 91.73 %."""
    model = zoo.create("resnet20_cifar", weights=data_folder / "cifar10_resnets" / "resnet20.pth")
    test = cifar._images(*cifar._read_compact(data_folder / "cifar10" / "test.npz"))
    assert train.accuracy(model, test.part(slice(0, 2000))) == 1825 / 2000
