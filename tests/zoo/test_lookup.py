"""Names and shapes need no torch; what is not there is said in one line."""

import subprocess
import sys

import pytest

from pconv import ModelError, PconvError, extras, zoo


def test_lookups_do_not_import_torch() -> None:
    code = """
import sys
from pconv import zoo
assert zoo.input_shape("vgg16") == (1, 3, 224, 224)
assert "resnet18" in zoo.names()
assert not {"torch", "onnx"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names() -> None:
    with pytest.raises(ModelError, match=r"^resnet_18: no such network in the zoo; did you mean resnet18\?$"):
        zoo.create("resnet_18")
    with pytest.raises(ModelError, match=r"the zoo has vgg16, .*, dncnn\.$"):
        zoo.input_shape("transformer")


def test_no_classes_where_nothing_is_classified() -> None:
    with pytest.raises(
        ModelError, match=r"^dncnn: num_classes=10, but this network does not classify; leave it out"
    ):
        zoo.create("dncnn", num_classes=10)


@pytest.mark.parametrize("count", [0, -1])
def test_impossible_numbers_of_classes(count: int) -> None:
    with pytest.raises(ModelError, match=rf"^resnet20_cifar: num_classes={count} is not possible; allowed 1"):
        zoo.create("resnet20_cifar", num_classes=count)


def test_missing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(
        PconvError,
        match=r"^zoo network vgg16: torch is not installed.*pip install torch onnxscript safetensors\.$",
    ):
        zoo.create("vgg16")
