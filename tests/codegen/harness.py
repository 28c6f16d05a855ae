"""Graph in, numbers out: lower, generate, build and run on any target; compare with the numpy reference."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from graph.reference import execute
from pconv import targets, toolchain
from pconv.build import NATIVE, build, build_executable
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.lower.choice import Choice, pick_modelled
from pconv.lower.plan import Plan
from pconv.runtime import Engine
from pconv.targets import Target
from pconv.targets.detect import cpu_flags

# Of the largest value, by type; what users are promised is 1e-4 for fp32.
TOLERANCE = {"fp32": 1e-5, "fp16": 2e-2, "fp16-fp32acc": 5e-3}
QEMU = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
SMALL_L2 = 245_000
OLDEST_CORE = "cortex-a53"
EVERY_CORE = {
    "fp32": (OLDEST_CORE, "cortex-a76", "max"),
    "fp16": ("cortex-a76", "max"),
    "fp16-fp32acc": (OLDEST_CORE, "cortex-a76", "max"),
}

# Reads all inputs, runs them on two threads, and writes all outputs, as floats without any header. Of several samples,
# as many as the argument says, each input holds them one after another.
MAIN_C = """
#include "pconv.h"
#include <stdio.h>
#include <stdlib.h>

static int samples = 1;

static float *buffer(int is_output, int i, size_t *elems) {
    pconv_tensor info;
    if (pconv_info(is_output, i, &info)) exit(2);
    *elems = (size_t)samples;
    for (int d = 0; d < info.rank; d++) *elems *= (size_t)info.dims[d];
    float *made = malloc(*elems * sizeof(float));
    if (!made) exit(3);
    return made;
}

int main(int argc, char **argv) {
    if (argc > 1) samples = atoi(argv[1]);
    int ins = pconv_input_count(), outs = pconv_output_count();
    const float **inputs = malloc((size_t)ins * sizeof *inputs);
    float **outputs = malloc((size_t)outs * sizeof *outputs);
    size_t elems;
    for (int i = 0; i < ins; i++) {
        float *in = buffer(0, i, &elems);
        if (fread(in, sizeof(float), elems, stdin) != elems) return 4;
        inputs[i] = in;
    }
    for (int i = 0; i < outs; i++) outputs[i] = buffer(1, i, &elems);
    char error[256];
    pconv_model *model = pconv_open(2, error, sizeof error);
    if (!model) {
        fputs(error, stderr);
        return 5;
    }
    if (pconv_run(model, inputs, outputs, samples)) return 5;
    for (int i = 0; i < outs; i++) {
        pconv_tensor info;
        pconv_info(1, i, &info);
        elems = (size_t)samples;
        for (int d = 0; d < info.rank; d++) elems *= (size_t)info.dims[d];
        if (fwrite(outputs[i], sizeof(float), elems, stdout) != elems) return 6;
    }
    pconv_close(model);
    return 0;
}
"""

Feeds = dict[str, np.ndarray]
Results = dict[str, np.ndarray]


def host_targets() -> list[Target]:
    """Return the targets that this machine runs itself."""
    arch, flags = platform.machine().replace("arm64", "aarch64"), cpu_flags() or frozenset()
    known = [targets.get(name) for name in targets.names()]
    return [t for t in known if t.arch == arch and flags.issuperset(t.features)]


HOSTS = [
    pytest.param(target, id=target.name, marks=[pytest.mark.slow] if i else [])
    for i, target in enumerate(host_targets())
]


def random_feeds(view: GraphView, seed: int = 0) -> Feeds:
    """Draw the inputs of a graph: what halves hold too, so that types agree on what is above a number."""
    random = np.random.default_rng(seed)
    drawn = {name: random.standard_normal(view.shapes[name], np.float32) for name in view.inputs}
    return {name: values.astype(np.float16).astype(np.float32) for name, values in drawn.items()}


def lowered(view: GraphView, target: Target, images: int = 1) -> Plan:
    """Lower as modelled; the registry's families of that name in Winograd's way, as `_points` picks, or with filters in
    the lanes, on targets too where that was not measured.

    With a small L2 there are strips in small layers, the last one of which has fewer tiles. Free filters go in mixed
    groups there, and alone in the other family.
    """
    if view.outputs[0].startswith("winograd_strips"):
        return lower(view, replace(target, l2_bytes=SMALL_L2), pick=_strips, images=images)
    if view.outputs[0].startswith("lanes"):
        return lower(view, replace(target, filter_lanes=True), pick=_lanes, images=images)
    pick = _points if view.outputs[0].startswith("winograd") else pick_modelled
    return lower(view, target, pick=pick, images=images)


def _lanes(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Pick a way with filters in the lanes, where there is one, and of these the one that multiplies least."""
    found = [choice for choice in choices if choice.schedule.kernel.positions]
    return min(found, key=lambda choice: choice.shapes.kernels, default=choices[0]), ""


def _strips(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Pick a way in strips, where there is one, and of these one with mixed groups of filters."""
    found = [choice for choice in choices if choice.winograd and choice.winograd.strip] or choices
    return _points(key, [choice for choice in found if choice.schedule.kernel.mixed] or found)


def _points(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
    """Pick the way with the fewest weights, and in blocks of channels where there are enough of these."""

    def rank(choice: Choice) -> tuple[int, bool, bool]:
        assert choice.winograd
        kernel = choice.schedule.kernel
        return choice.winograd.weights(choice.shapes), kernel.mixed, not kernel.block

    return min((choice for choice in choices if choice.winograd), key=rank, default=choices[0]), ""


def run_here(view: GraphView, target: Target, cache: Cache, feeds: Feeds, cc: str | None = None) -> Results:
    """Compile for this machine, and run at one and at two threads, which must agree to the bit.

    A run on NaN goes before, so that whatever an earlier run left in memory shows if it is read.
    """
    path = build(generate(lowered(view, target)), cc=cc, cache=cache)
    runs = []
    for threads in (1, 2):
        with Engine(path, threads=threads) as engine:
            engine(*(np.full_like(feeds[name], np.nan) for name in view.inputs))
            result = engine(*(feeds[name] for name in view.inputs))
            runs.append(result if isinstance(result, tuple) else (result,))
    for name, one, two in zip(view.outputs, *runs, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=f"{name}: one thread and two differ")
    return dict(zip(view.outputs, runs[0], strict=True))


def run_under_qemu(
    view: GraphView,
    cache: Cache,
    feeds: Feeds,
    work: Path,
    target: Target | None = None,
    cores: Sequence[str] = (OLDEST_CORE,),
) -> Results:
    """Compile for AArch64, and run the program in the emulators of some cores, which must agree to the bit."""
    main = build_for_qemu(view, cache, work, target or targets.get("aarch64"))
    results, *others = [run_main(main, view, feeds, core) for core in cores]
    for core, other in zip(cores[1:], others, strict=True):
        for name in view.outputs:
            np.testing.assert_array_equal(other[name], results[name], err_msg=f"{name}: {core} differs")
    return results


def build_for_qemu(view: GraphView, cache: Cache, work: Path, target: Target, images: int = 1) -> Path:
    """Compile for AArch64; return the program."""
    return build_executable(generate(lowered(view, target, images)), MAIN_C, work / "main", cache=cache)


def run_main(main: Path, view: GraphView, feeds: Feeds, core: str) -> Results:
    """Run a program in the emulator of a core."""
    data = b"".join(feeds[name].tobytes() for name in view.inputs)
    samples = len(feeds[view.inputs[0]])
    done = subprocess.run([*QEMU, "-cpu", core, str(main), str(samples)], input=data, capture_output=True)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr.decode()}"
    shapes = [(samples, *view.shapes[name][1:]) for name in view.outputs]
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = np.frombuffer(done.stdout, np.float32)
    assert flat.size == sum(sizes)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return {n: part.reshape(shape) for n, part, shape in zip(view.outputs, parts, shapes, strict=True)}


def run_library_under_qemu(
    library: Path, x: np.ndarray, work: Path, core: str
) -> subprocess.CompletedProcess[bytes]:
    """Link a program with a shared library for linux-aarch64, and run it on `x` in the emulator of a core."""
    target = targets.get("linux-aarch64")
    compiler = toolchain.choose(None, target)
    (work / "main.c").write_text(MAIN_C)
    zig = Cache().root / "zig"
    subprocess.run(
        [
            *(
                *compiler.command,
                *compiler.base_flags(target),
                f"-I{NATIVE}",
                str(work / "main.c"),
                str(library),
            ),
            *("-o", str(work / "main"), *compiler.executable_flags(target)),
        ],
        check=True,
        env=toolchain.environment(zig, zig),
    )
    return subprocess.run([*QEMU, "-cpu", core, str(work / "main")], input=x.tobytes(), capture_output=True)


def by_onnxruntime(model: onnx.ModelProto, feeds: Feeds) -> Results:
    """Run a model in ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_right(view: GraphView, feeds: Feeds, results: Results, dtype: str = "fp32") -> None:
    """Compare with the reference; the message names every output that is wrong."""
    wanted = execute(view, feeds)
    wrong = []
    for name in view.outputs:
        got, want = results[name], wanted[name]
        error = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-6))
        if not error <= TOLERANCE[dtype]:
            wrong.append(f"{name} {list(want.shape)}: {error:.1e}")
    assert not wrong, f"{len(wrong)} of {len(view.outputs)} outputs are wrong: {'; '.join(wrong)}"
