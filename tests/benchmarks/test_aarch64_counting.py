"""The program whose instructions are counted: it builds, its whole run and its steps give the same answer."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.harness import QEMU, assert_right, random_feeds
from codegen.test_pairs import SMALL_L2, chain, within
from pconv import targets
from pconv.build import build_executable
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.lower import lower

OURS_C = Path(__file__).parents[2] / "benchmarks" / "aarch64" / "ours.c"


@pytest.mark.cc
@pytest.mark.qemu
def test_what_is_counted_is_a_right_answer(session_cache: Cache, tmp_path: Path) -> None:
    view = chain((45, 37), group=4)
    plan = lower(view, replace(targets.get("linux-aarch64"), l2_bytes=SMALL_L2))
    assert within(plan), "its steps need scratch"
    feeds = random_feeds(view)
    source, result = tmp_path / "x.raw", tmp_path / "y.raw"
    source.write_bytes(feeds["x"].tobytes())
    main = build_executable(
        generate(plan), OURS_C.read_text("utf-8"), tmp_path / "main", cache=session_cache, bare=True
    )
    subprocess.run([*QEMU, str(main), str(source), str(result)], check=True)
    answer = np.fromfile(result, np.float32).reshape(view.shapes["y"])
    assert_right(view, feeds, {"y": answer})
