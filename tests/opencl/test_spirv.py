"""Every kind of kernel is OpenCL C 1.2 as an independent compiler and validator understand it; the zoo's: e2e."""

from pathlib import Path

import pytest

from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.codegen import generate
from pconv.codegen.opencl import SOURCE
from pconv.lower import lower

from .spirv import validate


@pytest.mark.parametrize("name", targets.devices())
def test_registry(name: str, tmp_path: Path) -> None:
    cases = [case for family in FAMILIES.values() for case in family]
    plan = lower(network(cases, probe=True), targets.get(name))
    validate(generate(plan).sources[SOURCE], tmp_path)
