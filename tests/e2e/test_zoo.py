"""Every network of the zoo, dense and pruned 8x, gives ONNX Runtime's answers; pruned, on AArch64 too.

Dense on AArch64: test_aarch64.py. The kernels for GPUs are validated; test_zoo.py of the OpenCL tests runs some.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import pconv
from codegen.harness import EVERY_CORE, run_under_qemu
from opencl.spirv import validate
from pconv import targets, zoo
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.codegen.opencl import SOURCE
from pconv.graph import GraphView, load, normalise, view
from pconv.graph.prune import prune_model, save
from pconv.lower import lower

from .conftest import Judge, draw, rel_err

pytestmark = [pytest.mark.slow, pytest.mark.torch, pytest.mark.cc]

# Too slow as a whole in an emulator, and vgg16's weights outweigh its code.
LARGE = ("vgg16", "vgg16_bn")
# Its classifier is that of vgg16 (tests/zoo), half a gigabyte that is compiled and weighed there.
WITHOUT_CLASSIFIER = "vgg16_bn"


@dataclass(frozen=True)
class Files:
    """A network as it is and pruned, and how much smaller that is."""

    name: str
    dense: Path
    pruned: Path
    compression_rate: float


@dataclass(frozen=True)
class Small:
    """A network for small images: pruned as a file and as what is compiled, dense as what is compiled."""

    path: Path
    graph: GraphView
    dense: GraphView


@pytest.fixture(scope="module", params=zoo.names())
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Export a network once, and prune it; half a gigabyte each for the largest, so they go at once."""
    folder = tmp_path_factory.mktemp(request.param)
    yield write_files(request.param, folder)
    for path in folder.iterdir():
        path.unlink()


def write_files(name: str, folder: Path) -> Files:
    """Write both files of a network."""
    dense, pruned = folder / "dense.onnx", folder / "pruned.onnx"
    if name == WITHOUT_CLASSIFIER:
        save(load(zoo.create(name).features, inputs=zoo.input_shape(name)), dense)
    else:
        zoo.to_onnx(name, dense)
    model, sparsity = prune_model(load(dense), pconv.Recipe(compression_rate=8.0))
    save(model, pruned)
    return Files(name, dense, pruned, sparsity.statistics()["compression_rate"])


@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_outputs(files: Files, kind: str, judge: Judge) -> None:
    path = files.dense if kind == "dense" else files.pruned
    x = draw(zoo.input_shape(files.name))
    with pconv.compile(path, threads=1, cache=False) as engine:
        info = engine.inputs[0]
        assert info.shape == x.shape
        (expected,) = judge(path, {info.name: x})
        one = engine(x)
        assert rel_err(one, expected) <= 1e-4
        engine.threads = 2
        np.testing.assert_array_equal(engine(x), one)
        two = engine(np.concatenate([-x, x]))
        np.testing.assert_array_equal(two[1:], one)
        size_bytes = engine.path.stat().st_size
        engine.path.unlink()  # the cache would grow by gigabytes
    if kind == "pruned" and files.name == "vgg16":
        assert size_bytes <= 1.15 * files.dense.stat().st_size / files.compression_rate


@pytest.fixture(scope="module")
def small(files: Files) -> Iterator[Small]:
    """Make the network for small images, since emulators are slow; if it takes none, its convolutions."""
    shape = (1, zoo.input_shape(files.name)[1], 32, 32)
    if files.name in LARGE:
        dense = load(zoo.create(files.name).features, inputs=shape)
        model, _ = prune_model(dense, pconv.Recipe(compression_rate=8.0))
    else:
        dense, model = (load(path, inputs=shape) for path in (files.dense, files.pruned))
    path = files.pruned.with_name("small.onnx")
    save(model, path)
    yield Small(path, *(view(normalise(made)) for made in (model, dense)))


@pytest.mark.qemu
def test_on_aarch64(small: Small, judge: Judge, session_cache: Cache, tmp_path: Path) -> None:
    graph = small.graph
    feeds = {name: draw(graph.shapes[name]) for name in graph.inputs}
    (expected,) = judge(small.path, feeds)
    for dtype, allowed in (("fp32", 1e-4), ("fp16", 2e-2)):
        target = targets.get("aarch64", dtype=dtype)
        results = run_under_qemu(graph, session_cache, feeds, tmp_path, target, EVERY_CORE[dtype])
        assert rel_err(results[graph.outputs[0]], expected) <= allowed, dtype


@pytest.mark.parametrize("name", targets.devices())
@pytest.mark.parametrize("kind", ["dense", "pruned"])
def test_kernels_of_devices(name: str, kind: str, small: Small, tmp_path: Path) -> None:
    graph = small.dense if kind == "dense" else small.graph
    validate(generate(lower(graph, targets.get(name))).sources[SOURCE], tmp_path)
