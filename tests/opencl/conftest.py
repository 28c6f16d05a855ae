"""An OpenCL device for tests: whatever is there, PoCL on the CPU if nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.runtime.opencl import OpenclEngine
from pconv.runtime.opencl_device import devices
from pconv.targets import Target

Open = Callable[[GraphView, Target], OpenclEngine]


@pytest.fixture(scope="session", autouse=True)
def device() -> Iterator[None]:
    """Ask for a device, and compile without optimisations, which takes PoCL a third of the time."""
    assert devices(), "these tests need an OpenCL device (Debian: pocl-opencl-icd)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYOPENCL_BUILD_OPTIONS", "-cl-opt-disable")
        yield


@pytest.fixture
def open_graph(session_cache: Cache) -> Iterator[Open]:
    """Return a function that compiles a graph for a target and opens it; all are closed in the end."""
    opened: list[tuple[OpenclEngine, Path]] = []

    def run(view: GraphView, target: Target) -> OpenclEngine:
        path = build(generate(lower(view, target)), cache=session_cache)
        opened.append((OpenclEngine(path), path))
        return opened[-1][0]

    yield run
    for engine, path in opened:
        engine.close()
        path.unlink(missing_ok=True)
