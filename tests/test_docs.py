"""What README.md shows works."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pconv
from pconv.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHAPE = (2, 3, 32, 32)

pytestmark = [pytest.mark.cc, pytest.mark.torch]


def blocks(language: str) -> list[str]:
    """Return README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names that README's snippets use, and stand in a directory with its model.onnx."""
    import torch
    from torch import nn

    from pconv.graph import load
    from pconv.graph.prune import save

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    save(load(module, inputs=(1, *SHAPE[1:])), tmp_path / "model.onnx")
    images = torch.randn(SHAPE)
    return {
        "pconv": pconv,
        "module": module,
        "optimizer": torch.optim.SGD(module.parameters(), lr=0.01),
        "loss": nn.functional.cross_entropy,
        "batches": [(images, torch.tensor([3, 7]))] * 2,
        "x": images.numpy(),
    }


def test_use(world: dict[str, Any]) -> None:
    use, _ = blocks("python")
    exec(use, world)
    assert world["y"].shape == (2, 10)
    np.testing.assert_array_equal(world["loaded"](world["x"]), world["y"])


def test_prune(world: dict[str, Any]) -> None:
    _, prune = blocks("python")
    exec(prune, world)
    weight = world["module"][2].weight
    assert (weight != 0).sum() == 5 * 4 * weight.shape[0], "5 kernels of 16, 4 weights of 9"
    expected = world["module"](world["batches"][0][0]).detach().numpy()
    np.testing.assert_allclose(world["engine"](world["x"]), expected, atol=1e-5)


def test_commands(world: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = blocks("sh")
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "pconv"
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert not stopped.value.code, capsys.readouterr().err
    assert Path("pruned.so").stat().st_size < 200_000


def test_every_command_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    for command in re.findall(r"^\| `pconv (\w+)", README, re.MULTILINE):
        assert command in said


def test_links() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_zoo_names() -> None:
    from pconv import zoo

    assert all(f"`{name}`" in README for name in zoo.names())
