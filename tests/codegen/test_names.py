"""Names go through the C text and back unharmed, whatever is in them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pconv.bench.case import Case, network
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.lower import lower
from pconv.lower.kernels import GatherKernel
from pconv.lower.layout import natural, planar
from pconv.runtime import Engine

from .harness import host_targets

NAMES = ['"quoted\\"', "*/ end /*", "wow??/", "Größe", "%s%n", "net:output", "net:output0", "/layer.0/conv"]


@pytest.mark.cc
def test_any_name(session_cache: Cache) -> None:
    kinds = {name: ("Gemm", 2) if ":" in name else ("Activation", 0) for name in NAMES}
    cases = [Case(name, op, 3, (), filters) for name, (op, filters) in kinds.items()]
    view = replace(network(cases), name='the "model" */ ??/')
    program = generate(lower(view, host_targets()[0]))
    assert program.sources["model.c"].isascii()
    with Engine(build(program, cache=session_cache), threads=1) as engine:
        assert [info.name for info in engine.outputs] == NAMES
        assert [info.name for info in engine.inputs] == [f"{name}.x0" for name in NAMES]
        assert [layer["name"] for layer in engine.manifest["layers"]] == NAMES
        assert engine.manifest["model"]["name"] == view.name
        results = engine(*(np.ones((1, 3), np.float32) for _ in NAMES))
    assert len(results) == len(NAMES)


def test_equal_constants_are_stored_once() -> None:
    """Two convolutions of one shape share their tables' bytes but not their weights."""
    one, two = (Case(name, "Pad", 2, (9, 9), attrs={"pads": (1, 2, 3, 4)}) for name in ("a", "b"))
    target = host_targets()[0]
    alone, both = (generate(lower(network(cases), target)) for cases in ([one], [one, two]))
    assert len(both.weights) < 1.5 * len(alone.weights)
    assert len(both.sources) == len(alone.sources), "equal micro-kernels are one function"


def test_micro_kernels_that_begin_alike_have_names_of_their_own() -> None:
    """Six digits of their hashes are the same."""
    one, two = (GatherKernel(natural(*image, 16), planar(*image)).name for image in ((31, 32), (57, 7)))
    assert one[: len("f32_gather_v1_123456")] == two[: len("f32_gather_v1_123456")]
    assert one != two


def test_manifest_is_what_the_contract_says() -> None:
    case = Case("fc", "Gemm", 20, (), 4)
    target = host_targets()[0]
    program = generate(lower(network([case]), target))
    manifest = json.loads(json.dumps(program.manifest))
    said = "format abi pconv target model fold inputs outputs arena_bytes prepared_bytes weights_bytes layers variants"
    assert set(said.split()) == manifest.keys()
    assert manifest["inputs"] == [{"name": "fc.x0", "shape": [1, 20], "dtype": "float32"}]
    assert manifest["outputs"] == [{"name": "fc", "shape": [1, 4], "dtype": "float32", "values": "float32"}]
    assert manifest["target"]["name"] == target.name
    assert manifest["weights_bytes"] == len(program.weights) and len(program.weights) % 64 == 0
    (layer,) = manifest["layers"]
    assert (layer["op"], layer["macs"], layer["dense_macs"], layer["reason"]) == (
        "Gemm",
        80,
        80,
        "dense: no zeros",
    )
