"""What a model's symbols are called, and that they hide nothing of the system's."""

import re
from collections.abc import Callable

import pytest

from pconv import targets
from pconv.build import NATIVE
from pconv.codegen import Program
from pconv.deploy.names import class_name, identifier, interface, renames
from pconv.errors import BuildError

Maker = Callable[..., Program]
HERE = "linux-x86_64" if targets.native().arch == "x86_64" else "linux-aarch64"


def test_names() -> None:
    assert identifier("ResNet-18 (v1.5)") == "resnet_18_v1_5"
    assert identifier("3d") == "model_3d"
    assert identifier("test") == "model_test"  # a target of CMake's own
    assert identifier("Int32") == "model_int32"  # a type of Swift's
    assert identifier("Suppress") == "model_suppress"  # one of Kotlin's
    assert identifier("m") == "model_m"  # which -lm is to find elsewhere
    assert class_name("resnet_18_v1_5") == "Resnet18V15"
    for bad in ("", "--", "pconv", "Pool"):
        with pytest.raises(
            BuildError, match=r"no name for a C library; allowed letters and digits\. Use --name\."
        ):
            identifier(bad)


def test_no_header_is_hidden_that_the_sources_include() -> None:
    texts = [path.read_text() for path in NATIVE.rglob("*.[ch]")]
    headers = {name for text in texts for name in re.findall(r"^ *# *include <(\w+)\.h>", text, re.MULTILINE)}
    assert {"string", "stdint", "pthread"} < headers
    assert {identifier(name) for name in headers} == {f"model_{name}" for name in headers}


def test_renames_reach_every_kernel(make_program: Maker) -> None:
    program = make_program(HERE)
    program = Program({"model.c": "", "f32_k.c": ""}, b"", program.manifest, program.target)
    found = {**renames(program, "net"), **interface("net")}
    assert found["f32_k"] == "net_OWN_f32_k" and found["pconv_open"] == "net_open"
    assert found["pool_run"] == "net_OWN_pool_run" and len(set(found.values())) == len(found)
