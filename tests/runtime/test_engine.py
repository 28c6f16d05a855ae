"""An engine computes what the C text says, on any number of threads, and says clearly what it refuses."""

import copy
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pconv
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen.program import Program
from pconv.errors import BuildError, InputError
from pconv.runtime import Engine, TensorInfo, load

pytestmark = pytest.mark.cc

SHAPE = (1, 64, 32)
W = np.arange(64 * 32, dtype=np.float32).reshape(SHAPE)


def sample(batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-99, 99, (batch, *SHAPE[1:])).astype(np.float32)


def assert_right(engine: Engine, x: np.ndarray) -> None:
    y, sums = engine(x)
    np.testing.assert_array_equal(y, 2 * x + W)
    np.testing.assert_allclose(sums, (2 * x + W).sum(2), rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 4, 64])
def test_results_do_not_depend_on_threads(affine: Path, threads: int) -> None:
    with Engine(affine, threads=threads) as engine:
        assert engine.threads == threads
        for seed in range(30):
            assert_right(engine, sample(seed=seed))


@given(counts=st.lists(st.integers(1, 8), min_size=1, max_size=6), batch=st.integers(1, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_threads_may_change_between_runs(engine: Engine, counts: list[int], batch: int) -> None:
    for threads in counts:
        engine.threads = threads
        assert engine.threads == threads
        assert_right(engine, sample(batch, seed=threads))


@contextmanager
def little_memory(spare_bytes: int) -> Iterator[None]:
    """Let the process map no more than it has mapped, and so much."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + spare_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def test_a_batch_needs_no_more_memory_than_there_is(engine: Engine) -> None:
    engine.threads = 3
    assert_right(engine, sample())
    with little_memory(1 << 20):  # less than an arena's mapping
        outputs = engine(sample(4))
    np.testing.assert_array_equal(outputs[0], 2 * sample(4) + W)


def test_a_batch_that_no_int_counts_is_refused(engine: Engine) -> None:
    (x,) = engine.inputs
    many = np.broadcast_to(np.float32(0), (2**32 + 1, *x.shape[1:]))
    with pytest.raises(InputError, match=r"4294967297 samples are too many; allowed up to 2147483647\. Run"):
        engine(many)


def test_threads_without_memory_for_their_scratch(
    make_program: Callable[..., Program], session_cache: Cache
) -> None:
    program = make_program()
    text = program.sources["model.c"].replace("ROWS * COLUMNS};", "ROWS * COLUMNS, 1 << 22};")
    with Engine(build(replace(program, sources={"model.c": text}), cache=session_cache), threads=2) as engine:
        with little_memory(8 << 20), pytest.raises(MemoryError, match="no memory for 3; they are still 2"):
            engine.threads = 3
        assert engine.threads == 2
        assert_right(engine, sample())
        engine.threads = 3
        assert engine.threads == 3


def test_threads_keep_to_their_cores(engine: Engine) -> None:
    mine, last = os.sched_getaffinity(0), max(os.sched_getaffinity(0))

    def kept() -> int:
        return sum(os.sched_getaffinity(int(task)) == {last} for task in os.listdir("/proc/self/task"))

    before = kept()
    engine.threads = 3
    engine.affinity = [last]
    patience = time.monotonic() + 10
    while kept() < before + 2 and time.monotonic() < patience:
        time.sleep(0.01)  # each worker places itself when it first runs
    assert len(mine) == 1 or kept() == before + 2
    assert_right(engine, sample())
    assert engine.affinity == (last,) and os.sched_getaffinity(0) == mine
    engine.affinity = ()
    assert_right(engine, sample())


def test_impossible_affinity(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"affinity: cores 0, 5000 cannot all be had"):
        engine.affinity = (0, 5000)
    for cores in ([2**32], [0.5], ["0"], None, 0):
        with pytest.raises(InputError, match=r"affinity: cores .* cannot all be had; allowed up to 64"):
            engine.affinity = cores  # type: ignore[assignment]
    assert engine.affinity == ()


def test_sleeping_workers_wake_up(engine: Engine) -> None:
    for pause in (0, 0.001, 0.01):
        threading.Event().wait(pause)
        assert_right(engine, sample())


def test_two_engines_run_at_once(affine: Path) -> None:
    failures: list[BaseException] = []

    def use(engine: Engine, seed: int) -> None:
        try:
            for i in range(100):
                assert_right(engine, sample(seed=seed + i))
        except BaseException as error:
            failures.append(error)

    with Engine(affine, threads=2) as one, Engine(affine, threads=2) as two:
        users = [threading.Thread(target=use, args=(e, s)) for s, e in enumerate((one, two, one, two))]
        for user in users:
            user.start()
        for user in users:
            user.join()
    assert not failures


def test_infos_and_repr(engine: Engine) -> None:
    assert engine.inputs == (TensorInfo("x", SHAPE, "float32"),)
    assert [info.name for info in engine.outputs] == ["y", "sums"]
    assert repr(engine).startswith("<Engine affine: x float32[1, 64, 32] -> y float32[1, 64, 32], sums")
    assert "2 threads" in repr(engine)
    engine.threads = np.int64(1)  # type: ignore[assignment]
    assert "1 thread>" in repr(engine) and engine.threads == 1


def test_threads_default_to_physical_cores(affine: Path) -> None:
    with load(affine) as engine:
        assert 1 <= engine.threads <= (os.cpu_count() or 1)


def test_input_by_name_and_from_other_libraries(engine: Engine) -> None:
    class Lazy:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return sample()

    class Exporter:
        def __dlpack__(self, **options: object) -> object:
            return sample().__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    expected = engine(sample())[0]
    np.testing.assert_array_equal(engine(x=sample())[0], expected)
    np.testing.assert_array_equal(engine(Lazy())[0], expected)
    np.testing.assert_array_equal(engine(Exporter())[0], expected)


def test_an_input_may_be_named_self(make_program: Callable[..., Program], session_cache: Cache) -> None:
    inputs = [{"name": "self", "shape": list(SHAPE), "dtype": "float32"}]
    with Engine(build(make_program(inputs=inputs), cache=session_cache), threads=1) as engine:
        np.testing.assert_array_equal(engine(self=sample())[0], 2 * sample() + W)


def test_strided_and_unaligned_inputs(engine: Engine) -> None:
    wide = np.repeat(sample(3), 2, axis=2)
    np.testing.assert_array_equal(engine(wide[:, :, ::2])[0], 2 * sample(3) + W)
    raw = b"\0" + sample().tobytes()
    odd = np.frombuffer(raw, np.float32, offset=1).reshape(SHAPE)
    assert not odd.flags.aligned
    assert_right(engine, odd)


@pytest.mark.parametrize(
    ("args", "named", "message"),
    [
        ((), {}, "input 'x' is missing; allowed x float32[1, 64, 32]."),
        ((W, W), {}, "2 inputs were given, the model has 1; allowed x float32[1, 64, 32]."),
        ((W,), {"x": W}, "input 'x' was given twice, by position and by name; give it once."),
        ((), {"image": W}, "input 'image' is unknown; allowed x float32[1, 64, 32]."),
        ((W.astype(np.float64),), {}, "dtype float64, allowed float32. Pass x.astype(np.float32)."),
        ((W.astype(">f4"),), {}, "dtype >f4, allowed float32. Pass x.astype(np.float32)."),
        ((W[:, :9],), {}, "input 'x': shape (1, 9, 32), allowed (N, 64, 32) with N >= 1."),
        ((W[0],), {}, "shape (64, 32), allowed (N, 64, 32) with N >= 1. Add the batch dimension: x[None]."),
        ((W[:0],), {}, "shape (0, 64, 32), allowed (N, 64, 32) with N >= 1."),
        ((W.tolist(),), {}, "a list is not an array; allowed numpy arrays and CPU tensors."),
    ],
)
def test_input_errors(engine: Engine, args: tuple, named: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        engine(*args, **named)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_that_gives_no_array(engine: Engine) -> None:
    class Refuses:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise RuntimeError("it requires grad")

    with pytest.raises(InputError, match=r"this Refuses gives no array \(it requires grad\).*x\.detach\(\)"):
        engine(Refuses())


@pytest.mark.parametrize("threads", [0, 65, -1, 1.5, "2", 2**40])
def test_impossible_threads(engine: Engine, affine: Path, threads: Any) -> None:
    with pytest.raises(InputError, match=rf"threads: {threads!r} is not possible; allowed 1 to 64\."):
        engine.threads = threads
    with pytest.raises(InputError, match="allowed 1 to 64"):
        load(affine, threads=threads)


@pytest.mark.parametrize("use", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_engine_is_neither_copied_nor_pickled(engine: Engine, use: Callable[[Engine], object]) -> None:
    with pytest.raises(InputError, match="an engine cannot be copied or pickled; load the file once more"):
        use(engine)


def test_report(engine: Engine) -> None:
    report = engine.report(runs=2, peak_gflops=100.0)
    assert [layer.name for layer in report.layers] == ["twice", "add_weights", "add_up"]
    layer = report.layers[0]
    assert layer.ms > 0 and layer.bytes == 8192
    assert layer.dense_gflops == pytest.approx(4 * layer.gflops)
    assert layer.gflops == pytest.approx(2 * 64 * 32 / layer.ms / 1e6)
    assert layer.peak_percent == pytest.approx(layer.gflops)
    assert report.ms == pytest.approx(sum(layer.ms for layer in report.layers))
    text = str(report)
    assert "affine on" in text and "add_weights" in text and "f32_test" in text
    assert '"micro_kernel": "f32_test"' in report.to_json()
    assert engine.report(sample(3), runs=1).layers[0].peak_percent is None


def test_an_interrupted_report_leaves_no_profile(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run, calls = engine._run, []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        run(*arguments)

    switched = []
    monkeypatch.setattr(engine, "_run", interrupted)
    monkeypatch.setattr(engine, "_c", Watched(engine._c, switched))
    with pytest.raises(KeyboardInterrupt):
        engine.report()
    assert switched == [1, 0]


class Watched:
    """The C interface, which notes how profiling is switched."""

    def __init__(self, c: Any, switched: list[int]) -> None:
        self._c, self._switched = c, switched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._c, name)

    def pconv_profile(self, handle: Any, on: int) -> None:
        self._switched.append(on)
        self._c.pconv_profile(handle, on)


def test_closed_engine(affine: Path, tmp_path: Path) -> None:
    engine = load(affine, threads=2)
    engine.close()
    engine.close()
    assert "closed" in repr(engine)
    uses = (lambda: engine(W), engine.report, lambda: engine.save(tmp_path / "x"))
    for use in uses:
        with pytest.raises(InputError, match=r"this engine is closed; load the file again\."):
            use()


def test_save_survives_the_cache_and_replaces_whole(
    make_program: Callable[..., Program], session_cache: Cache, tmp_path: Path
) -> None:
    model = tmp_path / "model.pconv"
    build(make_program(model={"name": "first"}), cache=session_cache, out=model)
    first = load(model, threads=1)
    build(make_program(model={"name": "second"}), cache=session_cache, out=model)
    second = load(model, threads=1)
    assert (first.manifest["model"]["name"], second.manifest["model"]["name"]) == ("first", "second")
    assert first.save(model) == model
    assert load(model, threads=1).manifest["model"]["name"] == "first"
    assert_right(second, sample())
    assert [p.name for p in tmp_path.iterdir()] == ["model.pconv"]


def test_save_where_nothing_can_be_written(engine: Engine) -> None:
    with pytest.raises(BuildError, match=r"cannot be written \(.*\)\. Name another place to save to\."):
        engine.save("/dev/null/model.pconv")


def test_loading_needs_numpy_only(engine: Engine, tmp_path: Path) -> None:
    saved = engine.save(tmp_path / "model.pconv")
    source = Path(pconv.__file__).parents[1]
    script = f"""
import sys
sys.path.insert(0, {str(source)!r})
for blocked in ("torch", "onnx", "onnx_ir", "ziglang"):
    sys.modules[blocked] = None
import numpy as np, pconv
with pconv.load({str(saved)!r}, threads=2) as engine:
    print(float(engine(np.ones((1, 64, 32), np.float32))[0].sum()))
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 2 * W.size + W.sum()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_go_on(affine: Path) -> None:
    with load(affine, threads=3) as engine:
        assert_right(engine, sample())
        child = os.fork()
        if child == 0:
            try:
                assert_right(engine, sample(seed=1))
                engine.threads = 2
                assert_right(engine, sample(seed=2))
                engine.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert_right(engine, sample(seed=3))
