"""docs/accuracy.md says what the results say."""

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pconv
from pconv.sparsity import SparsityMap
from pconv.zoo.table import CIFAR, NETWORKS, Network

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).parents[2] / "benchmarks" / "accuracy"
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("post_training")


@pytest.mark.parametrize(
    "name", ["post_training", "finetune", "from_scratch", "denoising", "ablation", "methods"]
)
def test_the_tables_are_those_of_the_results(name: str) -> None:
    measured, shared = importlib.import_module(name), importlib.import_module("accuracy_page")
    text = shared.PAGE.read_text("utf-8")
    document = shared.read(measured.RESULTS)
    assert measured.page(text, document) == text


def test_a_row_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    shared, path = importlib.import_module("accuracy_page"), tmp_path / "new" / "results.json"
    assert shared.read(path) == {"results": []}
    for case, score in (("b", 1), ("a", 2), ("b", 3)):
        shared.add(path, {"case": case, "score": score}, ("a", "b", "c"), network="net")
    rows = [{"case": "a", "score": 2}, {"case": "b", "score": 3}]
    assert json.loads(path.read_text()) == {"network": "net", "results": rows}


def test_a_row_says_what_was_measured(script: ModuleType) -> None:
    row = {
        "network": "resnet20", "rate": 2.25, "patterns": "scp8", "group": 4, "seconds": 59.6, "shortened": True,
        "dense": 91.73, "pruned": 90.126, "change": -1.604, "standard_error": 0.234, "unit": "% top-1",
    }  # fmt: skip
    said = script.table({"results": [row]}).splitlines()[-1]
    assert said == "| resnet20 | 2.25x | scp8 | 4 | 60 (shortened) | 91.73% | 90.13% | -1.60 +- 0.23 |"


def test_a_shortened_run_is_marked() -> None:
    row = {
        "network": "resnet20", "rate_3x3": 4.0, "rates": "-spread", "rate_weights": 4.0, "rate_macs": 3.58,
        "patterns": "centre3", "teacher": "resnet56", "settings": {"teacher": "resnet56"},
        "epochs": 2, "train_images": 10000, "method": "gradual",
        "accuracy_dense": 0.9173, "accuracy": 0.89, "change": {"points": -2.73, "standard_error": 0.3},
    }  # fmt: skip
    table = importlib.import_module("finetune").table
    whole, short = (table({"results": [row | {"shortened": one}]}).splitlines()[-1] for one in (False, True))
    assert whole.startswith(
        "| resnet20 | 4x | by sensitivity | 4.00x | 3.58x | centre3 | gradual | resnet56, outputs |"
    )
    assert "| 2 | 91.73% | 89.00% | -2.73 +- 0.30 | 90.8% |" in whole
    assert "| 2 of 10,000 images (shortened) | 91.73% |" in short
    itself = row | {"shortened": False, "teacher": "resnet20", "settings": {"teacher": None}}
    assert "| itself, blocks too | 2 |" in table({"results": [itself]})


def test_a_row_from_scratch_says_its_goal() -> None:
    dense = {
        "case": "vgg16_cifar-dense", "network": "vgg16_cifar", "rate_3x3": 1.0, "patterns": None, "epochs": 200,
        "train_images": 45000, "shortened": False, "accuracy": 0.9412, "accuracy_dense": None, "change": None,
        "accuracy_compiled": 0.9411,
    }  # fmt: skip
    pruned = dense | {
        "rate_3x3": 12.0, "rate_weights": 12.03, "rate_macs": 11.9, "patterns": "centre3", "epochs": 3,
        "train_images": 5120, "shortened": True, "accuracy": 0.9382, "accuracy_dense": 0.9412,
        "accuracy_compiled": 0.9382, "change": {"points": -0.3, "standard_error": 0.2},
    }  # fmt: skip
    script = importlib.import_module("from_scratch")
    assert script.table({"results": [dense, pruned, pruned | {"rate_3x3": 8.0}]}).splitlines()[2:] == [
        "| vgg16_cifar | - | - | - | - | 200 | 94.12% | - | 94.11% | - | 93.5% |",
        "| vgg16_cifar | 12x | 12.03x | 11.90x | centre3 | 3 of 5,120 images (shortened) | 94.12% | 93.82% | 93.82% "
        "| -0.30 +- 0.20 | dense - 0.5 |",
        "| vgg16_cifar | 8x | 12.03x | 11.90x | centre3 | 3 of 5,120 images (shortened) | 94.12% | 93.82% | 93.82% "
        "| -0.30 +- 0.20 | dense |",
    ]
    few = [dense | {"epochs": 10}, pruned | {"epochs": 2, "shortened": False}]
    assert [row.split(" | ")[5] for row in script.table({"results": few}).splitlines()[2:]] == [
        "10 (shortened)",
        "2 (shortened)",
    ]
    assert len(script.all_cases()) == len(set(script.all_cases())) == 2 * (1 + 3 * 5)


@pytest.mark.cc
@pytest.mark.slow
def test_a_killed_run_from_scratch_goes_on_where_it_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, trained = importlib.import_module("from_scratch"), importlib.import_module("trained")
    draw = np.random.default_rng(0)
    for name in (*(f"train_{i}" for i in range(1, 6)), "test"):
        delta = draw.integers(0, 256, (3, 20, 32, 32), np.uint8)
        (tmp_path / "cifar10").mkdir(exist_ok=True)
        np.savez(tmp_path / "cifar10" / f"{name}.npz", delta=delta, labels=draw.integers(0, 10, 20))
    monkeypatch.setenv("PCONV_DATA", str(tmp_path))
    tiny = Network("resnet_cifar", CIFAR, 10, {"blocks": 1})
    monkeypatch.setitem(NETWORKS, "resnet8_cifar", tiny)
    monkeypatch.setattr(script, "DENSE_GOALS", {"resnet8_cifar": 88.0})
    monkeypatch.setattr(script, "LINEAR", {"resnet8_cifar": "linear"})
    output = tmp_path / "results.json"
    arguments = (
        f"--rates 4 --dense-epochs 1 --epochs 2 --images 40 --eager --threads 1 --device cpu -o {output}"
    )
    monkeypatch.setattr(sys, "argv", ["", *arguments.split(), "--work", str(tmp_path / "work")])

    def kill(done: Any, data: Path) -> Any:
        raise KeyboardInterrupt

    measure = trained.compiled
    monkeypatch.setattr(
        trained, "compiled", lambda done, data: (kill if done.method else measure)(done, data)
    )
    with pytest.raises(KeyboardInterrupt):
        script.main()
    (dense,) = json.loads(output.read_text())["results"]
    first = json.loads((tmp_path / "work" / "resnet8_cifar-centre3-4" / "result.json").read_text())
    monkeypatch.setattr(trained, "compiled", measure)
    script.main()
    again, pruned = json.loads(output.read_text())["results"]
    assert again["accuracy"] == dense["accuracy"] == pruned["accuracy_dense"]
    assert pruned["accuracy"] == first["accuracy"] and pruned["epoch"] == first["epoch"]
    assert (pruned["rate_weights"], pruned["rate_macs"]) == (4.0, pytest.approx(4.0, abs=0.1))
    assert pruned["shortened"] and pruned["settings"]["teacher"] == dense["case"] == "resnet8_cifar-dense"


def test_a_compiled_network_may_differ_in_two_images() -> None:
    require_alike = importlib.import_module("trained").require_alike
    require_alike(9000, 9002)
    with pytest.raises(
        SystemExit, match=r"9003 images are right, 9000 were by torch: 3 differ; allowed are 2"
    ):
        require_alike(9003, 9000)


def test_a_denoising_row_says_its_steps_and_goal() -> None:
    row = {
        "rate_3x3": 8.0, "rates": "uniform", "patterns": "any4", "history": [[0, 2000]],
        "method": "gradual",
        "dense": 30.4255, "pruned": 30.1, "change": -0.3255, "standard_error": 0.05,
    }  # fmt: skip
    denoising = importlib.import_module("denoising")
    said = denoising.table({"results": [row]}).splitlines()[-1]
    assert (
        said
        == "| 8x | uniform | any4 | gradual | 2,000 | 1 | 30.43 dB | 30.10 dB | -0.33 +- 0.05 | 30.20 dB |"
    )
    assert denoising.steps([[0, 2000], [750, 2000]]) == "2,000"
    assert denoising.steps([[0, 2000], [750, 1000]]) == "1,000, up to 750 at the rates of 2,000"


def test_of_two_views_the_teacher_gives_the_mean() -> None:
    """The second view is turned, and so is its answer: where a network treats all directions alike, both are one."""
    denoising = importlib.import_module("denoising")
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 5, 5, generator=draw)
    torch.testing.assert_close(denoising.turned(denoising.turned(x)), x)
    assert not torch.equal(denoising.turned(x), x)
    kernel = torch.randn(1, 1, 3, 3, generator=draw)
    network = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    for weight, alike in ((kernel, False), (kernel + denoising.turned(kernel), True)):
        network.weight.data = weight
        one, two = (denoising.taught(network, x, views).detach() for views in (1, 2))
        assert torch.allclose(one, two, atol=1e-6) == alike
        other = torch.nn.functional.conv2d(x, denoising.turned(weight), padding=1)
        torch.testing.assert_close(two, (one + other) / 2)


def test_a_crop_lies_in_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    denoising = importlib.import_module("denoising")
    monkeypatch.setattr(denoising, "SIGMA", 0.0)
    monkeypatch.setattr(denoising, "SIDE", 3)
    pictures = [torch.full((1, 1, height, 4), float(height)) for height in (3, 9)]
    found = denoising.crops(pictures, 40, torch.Generator().manual_seed(0))
    assert found.shape == (40, 1, 3, 3)
    assert (found == found[:, :, :1, :1]).all()
    assert set(found.unique().tolist()) == {3.0, 9.0}


@pytest.mark.parametrize("method", ["keep", "gradual"])
def test_a_killed_fine_tuning_goes_on_where_it_stood(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoising = importlib.import_module("denoising")
    monkeypatch.setattr(denoising, "SAVE_EVERY", 3)
    torch.manual_seed(0)
    dense = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.Conv2d(8, 1, 3, padding=1))
    dense.requires_grad_(False)
    pictures, options = [torch.rand(1, 1, 70, 80)], SimpleNamespace(steps=6, lr=1e-2, views=2)

    def tune(name: str, track: Any) -> tuple[Any, Any]:
        module = copy.deepcopy(dense).requires_grad_(True)
        with torch.no_grad():
            module[1].weight[..., 0] = 0
        how = {"sparsity": SparsityMap.detect({"1": module[1].weight.detach().numpy()})}
        if method == "gradual":
            how = {"recipe": pconv.Recipe(compression_rate=4.5)}
        pruner = pconv.prune(module, method=method, steps=6, **how)
        draw = torch.Generator().manual_seed(1)
        history = denoising.fine_tune(module, dense, pruner, pictures, draw, options, tmp_path / name, track)
        sparsity = pruner.finish()
        assert sparsity.layers["1"].density <= 2 / 3
        return history, module[1].weight

    def kill(what: str, share: float) -> None:
        if share > 0.7:
            raise KeyboardInterrupt

    history, whole = tune("whole", lambda what, share: None)
    with pytest.raises(KeyboardInterrupt):
        tune("killed", kill)
    resumed_history, resumed = tune("killed", lambda what, share: None)
    assert history == [[0, 6]] and resumed_history == [[0, 6], [3, 6]]
    assert torch.equal(whole, resumed) and not torch.equal(whole, dense[1].weight)
    assert method == "gradual" or not whole[..., 0].any()


def test_a_rate_is_chosen_on_held_out_images(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = importlib.import_module("methods")
    scores = {0.02: (0.9, 0.8), 0.05: (0.8, 0.99)}

    def run(method: str, rate: float, lr: float, options: Any) -> dict[str, Any]:
        held_out, test = scores[lr]
        return {"method": method, "lr": lr, "held_out_accuracy": held_out, "accuracy": test, "seconds": 1.0}

    monkeypatch.setattr(methods, "run", run)
    found = methods.measure("admm", 4.0, SimpleNamespace(lrs=[0.02, 0.05]))
    assert found["lr"] == 0.02 and [one["lr"] for one in found["candidates"]] == [0.02, 0.05]
    assert not any("accuracy" in one for one in found["candidates"])


def test_cases_are_unlike(script: ModuleType) -> None:
    assert len(script.CASES) == len(script._cases())
    assert {"resnet20-scp8-2.25", "resnet56-centre3-4", "dncnn-scp8-4", "resnet20-scp8-4-g4-refit"} <= set(
        script.CASES
    )


def test_the_ablation_has_a_row_for_each_rate_and_group() -> None:
    ablation = importlib.import_module("ablation")
    cells = ablation.grid()
    assert len(cells) == len({ablation.name(*cell) for cell in cells}) == 7 * 4 * 3 + 4 + 5
    rows = [
        {"patterns": "centre3", "rate": 4.0, "group": 8, "tuned": False, "accuracy": 0.70126},
        {"patterns": "scp8", "rate": 4.0, "group": 8, "tuned": False, "accuracy": 0.6},
        {"patterns": "scp8", "rate": 2.25, "group": 1, "tuned": False, "accuracy": 0.89},
    ]
    assert ablation.table(rows).splitlines() == [
        "| 3x3 layers | g | scp8 | centre3 |",
        "|---|---|---|---|",
        "| 2.25x | 1 | 89.00 | - |",
        "| 4x | 8 | 60.00 | 70.13 |",
    ]


def test_rates_per_layer_say_what_they_leave() -> None:
    row = {"patterns": "any4", "rate": 4.0, "rates": "", "accuracy": 0.88}
    spread = row | {"rates": "-spread-macs", "rate_weights": 3.288, "rate_macs": 4.004, "accuracy": 0.9}
    assert importlib.import_module("ablation").spread_table([row, spread]).splitlines()[2:] == [
        "| any4 | uniform | 4.00x | 4.00x | 88.00 |",
        "| any4 | by sensitivity | 3.29x | 4.00x | 90.00 |",
    ]
