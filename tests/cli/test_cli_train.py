"""`pconv train` says what it did and what to do next."""

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cifar")
    draw = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = draw.integers(0, 256, (4, 3073), np.uint8)
        records[:, 0] %= 10
        (home / f"{name}.bin").write_bytes(records.tobytes())
    return home


def test_train_then_resume(cli, cifar: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["train", cifar, "--model", "resnet20_cifar", "--epochs", "1", "--batch", "8", "--threads", "1"]
    pruning = ["--compression", "4", "--exclude", "linear", "--method", "magnitude", "--device", "cpu"]
    ran = cli(*command, *pruning, "-o", out)
    assert ran.code == 0, ran.err
    assert f"next:  pconv compile {out}/model.onnx -o {out}/model.so" in ran.out
    assert "3.9" in ran.out and "epoch 1/1: loss" in ran.err
    again = cli(*command, *pruning, "-o", out)
    assert again.code == 2 and "holds an earlier run; go on with --resume" in again.err
    resumed = cli(*command, *pruning, "-o", out, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    said = json.loads(resumed.out)
    assert said["model"] == "resnet20_cifar" and said["method"] == "magnitude" and said["train_images"] == 18
    assert said == json.loads((out / "result.json").read_text())
    changed = cli(*command, "--compression", "8", "--method", "magnitude", "-o", out, "--resume")
    assert changed.code == 2 and "other settings (recipe was" in changed.err


def test_what_does_not_go_together(cli, cifar: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("compression_rate = 4.0\n")
    base = ["train", cifar, "--model", "resnet20_cifar", "-o", tmp_path / "out"]
    ran = cli(*base, "--recipe", recipe, "--compression", "8")
    assert ran.code == 2 and "leave the other pruning options out" in ran.err
    ran = cli(*base, "--method", "admm")
    assert ran.code == 2 and "--method admm: nothing says how much to prune; add --compression" in ran.err
    ran = cli(*base, "--method", "keep", "--compression", "8")
    assert ran.code == 2 and "--method keep: the zeros of --weights are the recipe" in ran.err
    ran = cli(*base, "--patterns", "any4")
    assert ran.code == 2 and "pruning options without a rate" in ran.err
    ran = cli(*base, "--teacher-model", "resnet56_cifar")
    assert ran.code == 2 and "--teacher-model: it is of no use without --teacher" in ran.err
    ran = cli(*base, "--lr", "-1")
    assert (ran.code, ran.err.strip()) == (2, "pconv: error: lr: -1.0 is not possible; allowed: above 0.")
    assert not (tmp_path / "out").exists()
    ran = cli("train", tmp_path / "absent", "--model", "resnet20_cifar", "-o", tmp_path / "out")
    assert ran.code == 2 and "absent: no such folder" in ran.err
    assert not (tmp_path / "out").exists()
