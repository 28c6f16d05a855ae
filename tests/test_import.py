"""What `import pconv` brings in, and what it offers."""

import subprocess
import sys

import pytest

import pconv

HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "numpy", "typer", "rich", "matplotlib", "ziglang")


def test_import_is_light() -> None:
    code = f"import sys, pconv; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_needs_no_onnx_and_no_torch() -> None:
    code = (
        "import sys, pconv; pconv.load, pconv.Engine; print({'torch', 'onnx', 'onnx_ir'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.torch
@pytest.mark.parametrize("name", ["pruning.post_train", "pruning.Distillation", "forecast.Table"])
def test_rooms_need_no_import_of_their_own(name: str) -> None:
    code = f"import pconv; print(pconv.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name.split(".")[1]


@pytest.mark.parametrize("name", pconv.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(pconv, name)
    assert value is not None
    if name != "__version__":
        assert value.__name__ == name
        assert value.__doc__


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'pconv' has no attribute 'nope'"):
        pconv.nope  # noqa: B018


def test_dir_lists_the_public_names_only() -> None:
    assert dir(pconv) == sorted(pconv.__all__)
