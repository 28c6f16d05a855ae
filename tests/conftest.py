"""Fixtures that several rooms' tests share."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from pconv import targets
from pconv.cache import Cache
from pconv.codegen.program import Program, manifest_lines

# The machine may be busy: an example is never too slow.
settings.register_profile("pconv", deadline=None)
settings.load_profile("pconv")

DATA = Path(os.environ.get("PCONV_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
if DATA.is_dir():
    os.environ["PCONV_DATA"] = str(DATA)

ROWS, COLUMNS = 64, 32

_C_TEXT = """
#include "model.h"

enum { ROWS = 64, COLUMNS = 32 };

static void twice(const pconv_frame *f, int32_t begin, int32_t end) {
    for (int i = begin * COLUMNS; i < end * COLUMNS; i++) f->arena[i] = 2 * f->inputs[0][i];
}

static void add_weights(const pconv_frame *f, int32_t begin, int32_t end) {
    const float *w = (const float *)f->weights;
    for (int i = begin; i < end; i++) f->outputs[0][i] = f->arena[i] + w[i];
}

static void add_up(const pconv_frame *f, int32_t begin, int32_t end) {
    for (int row = begin; row < end; row++) {
        float sum = 0;
        for (int i = 0; i < COLUMNS; i++) sum += f->outputs[0][row * COLUMNS + i];
        f->outputs[1][row] = sum;
    }
}

static const pconv_step steps[] = {
    {"twice", twice, ROWS, 3},
    {"add_weights", add_weights, ROWS * COLUMNS, 1},
    {"add_up", add_up, ROWS, ROWS},
};
static const pconv_plan plan = {PCONV_NEEDS(""), MANIFEST, steps, 3, 1, 3, 0, sizeof(float) * ROWS * COLUMNS};
const pconv_plan *const pconv_plans[] = {&plan, 0};
const pconv_tensor pconv_inputs[] = {{"x", 3, {1, ROWS, COLUMNS}}};
const pconv_tensor pconv_outputs[] = {{"y", 3, {1, ROWS, COLUMNS}}, {"sums", 2, {1, ROWS}}};
const int32_t pconv_inputs_count = 1, pconv_outputs_count = 2;
"""

ProgramMaker = Callable[..., Program]


def affine_program(target: str = "native", text: str = _C_TEXT, **said: object) -> Program:
    """Return a hand-written program: y = 2 x + w and the sums of y's rows, in three steps."""
    weights = np.arange(ROWS * COLUMNS, dtype=np.float32)
    chosen = targets.get(target)
    macs = ROWS * COLUMNS
    layer = {"op": "Affine", "micro_kernel": "f32_test", "macs": macs, "dense_macs": 4 * macs, "reason": ""}
    manifest = {
        "format": 2,
        "abi": 1,
        "target": {"name": chosen.name, "features": list(chosen.features), "dtype": chosen.dtype.name},
        "model": {"name": "affine"},
        "inputs": [{"name": "x", "shape": [1, ROWS, COLUMNS], "dtype": "float32"}],
        "outputs": [
            {"name": "y", "shape": [1, ROWS, COLUMNS], "dtype": "float32"},
            {"name": "sums", "shape": [1, ROWS], "dtype": "float32"},
        ],
        "layers": [
            {"name": name, **layer, "weights_bytes": 8192} for name in ("twice", "add_weights", "add_up")
        ],
        **said,
    }
    said = json.dumps("".join(manifest_lines(manifest)))
    return Program({"model.c": f"#define MANIFEST {said}\n{text}"}, weights.tobytes(), manifest, chosen)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that writes the golden texts anew, for a person to review."""
    parser.addoption("--update-golden", action="store_true", help="write the golden texts anew")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real data; the only thing that a test may be skipped for, as it cannot come along."""
    if not DATA.is_dir():
        pytest.skip(f"no real data in {DATA}; set PCONV_DATA to a folder that has it")
    return DATA


@pytest.fixture(scope="session")
def make_program() -> ProgramMaker:
    """Return `affine_program`."""
    return affine_program


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    """Return a cache of this process, empty at first, and the default one: no test touches the user's.

    What the compiler itself caches is shared between processes, so that it warms up once.
    """
    base = tmp_path_factory.getbasetemp()
    warm = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "zig"
    cache = Cache(base / "pconv-cache")
    cache.root.mkdir()
    warm.mkdir(exist_ok=True)
    (cache.root / "zig").symlink_to(warm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCONV_CACHE", str(cache.root))
        yield cache


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With PCONV_CHECK_SKIPS=1, as .ci/run says, a run fails where a test was skipped.

    Real data may be missing, all of it: whoever has some is to have what every test reads.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("PCONV_CHECK_SKIPS") != "1"
        or reporter is None
        or hasattr(session.config, "workerinput")
    ):
        return
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    gaps = [why for why in skipped if DATA.is_dir() or "set PCONV_DATA" not in why]
    reporter.write_line(f"\n{len(skipped)} skipped, {len(gaps)} of them not allowed here")
    for why in gaps:
        reporter.write_line(f"  {why}")
    if gaps:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
