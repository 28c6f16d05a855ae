"""State dicts load by name, strictly; the published ones give their published results."""

from pathlib import Path

import pytest
import torch

from pconv import ModelError, zoo

pytestmark = pytest.mark.torch
NAME = "resnet20_cifar"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return zoo.create(NAME, seed=5).state_dict()


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return list(left) == list(right) and all(torch.equal(left[key], right[key]) for key in left)


def test_takes_a_state_dict_and_copies_it(state: dict[str, torch.Tensor]) -> None:
    network = zoo.create(NAME, weights=state)
    assert _equal(network.state_dict(), state)
    assert network.conv1.weight.data_ptr() != state["conv1.weight"].data_ptr()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}], ids=["plain", "nested"]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_takes_files_as_people_publish_them(state, wrap, prefix, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap({prefix + key: value for key, value in state.items()}), path)
    assert _equal(zoo.create(NAME, weights=path).state_dict(), state)


def test_takes_state_dicts_without_batch_counters(state: dict[str, torch.Tensor]) -> None:
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert _equal(zoo.create(NAME, weights=old).state_dict(), state)


def test_refuses_weights_of_another_network(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(
        ModelError,
        match=r"^resnet56_cifar: the weights do not fit: Missing key.*\w\", \.\.\.; check .* num_classes\.$",
    ):
        zoo.create("resnet56_cifar", weights=state)
    with pytest.raises(
        ModelError, match=r"^resnet20_cifar: the weights do not fit: size mismatch for linear.weight"
    ):
        zoo.create(NAME, weights=state, num_classes=100)


def test_refuses_what_is_not_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(ModelError, match=r"^resnet20_cifar: cannot read weights .*weights.pth: No such file"):
        zoo.create(NAME, weights=path)
    path.write_bytes(b"neither zip nor pickle")
    with pytest.raises(
        ModelError, match=r"weights.pth is not a readable state dict; save one with torch.save"
    ):
        zoo.create(NAME, weights=path)
    for content in ([1, 2], {"epoch": 3}):
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"not a state dict of tensors; pass what module\.state_dict"):
            zoo.create(NAME, weights=path)


@pytest.mark.data
def test_real_weights_fit(data_folder: Path) -> None:
    for name, file in {
        "resnet20_cifar": "cifar10_resnets/resnet20.pth",
        "resnet56_cifar": "cifar10_resnets/resnet56.pth",
        "dncnn": "dncnn_sigma25/dncnn_25.pth",
    }.items():
        published = torch.load(data_folder / file, weights_only=True)
        loaded = zoo.create(name, weights=data_folder / file).state_dict()
        assert all(
            torch.equal(loaded[key.removeprefix("module.")], value) for key, value in published.items()
        )
