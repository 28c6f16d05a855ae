"""Dense planes become blocks and dense again by transposes, of floats and of halves."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from graph.reference import execute
from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import conv
from pconv.build import build_executable
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.lower import lower
from pconv.lower.kernels import InterleaveKernel
from pconv.lower.layout import natural, planar
from pconv.targets.dtype import FP16

from .harness import MAIN_C, QEMU, random_feeds


@pytest.mark.qemu
@pytest.mark.parametrize("image", [(16, 16), (8, 20)])
@pytest.mark.parametrize(("dtype", "allowed"), [("fp32", 1e-5), ("fp16", 2e-2), ("fp16-fp32acc", 2e-2)])
def test_there_and_back(
    dtype: str, allowed: float, image: tuple[int, int], session_cache: Cache, tmp_path: Path
) -> None:
    view = network([conv("conv", 3, 5, image)])
    plan = lower(view, targets.get("linux-aarch64", "cortex-a76", dtype))
    assert [type(step.kernel) for step in plan.steps].count(InterleaveKernel) == 2
    main = build_executable(generate(plan), MAIN_C, tmp_path / "main", cache=session_cache)
    feeds = random_feeds(view)
    data = b"".join(feeds[name].tobytes() for name in view.inputs)
    command = [QEMU[0], "-cpu", "cortex-a76", *QEMU[1:], str(main)]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    wanted = execute(view, feeds)[view.outputs[0]]
    got = np.frombuffer(done.stdout, np.float32).reshape(wanted.shape)
    assert np.abs(got - wanted).max() <= allowed * np.abs(wanted).max()


def test_only_blocks_that_cover_the_image_exactly() -> None:
    dense = planar(16, 16)
    assert InterleaveKernel.fits(dense, natural(16, 16, 4)) and InterleaveKernel.fits(
        natural(16, 16, 4), dense
    )
    assert InterleaveKernel.fits(dense, natural(16, 16, 8, FP16))
    assert not InterleaveKernel.fits(dense, natural(16, 16, 8)), "floats of AVX2 go through a table"
    assert not InterleaveKernel.fits(planar(15, 15), natural(15, 15, 4))
    assert not InterleaveKernel.fits(planar(6, 6), natural(6, 6, 4)), "three neighbours are too few"
    assert not InterleaveKernel.fits(natural(16, 16, 4), dense.with_halo(0, 0, 1, 1)), (
        "the border stays unwritten"
    )
