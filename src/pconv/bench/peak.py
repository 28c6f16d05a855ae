"""Owns the measured FMA peak: what this CPU reaches when nothing but multiply-adds runs.

A share of the peak says how good a kernel is on any machine; the clock that a data sheet promises does not.
"""

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from pconv.bench import compiled
from pconv.errors import BuildError
from pconv.targets import Target, native

CALL_S = 0.002
CALLS = 150
"""Calls shorter than a scheduler's slice, and each thread's fastest: other work must not lower the peak."""

# Enough independent accumulators to cover latency times units (4 x 2 on most CPUs, 4 x 4 on Apple's), and few
# enough that they and the two operands stay in registers. Operands come from outside and the sum leaves, so
# nothing folds; with 0.5 for all of them the values settle at 1, far from denormals.
_SOURCE = """
typedef float vec __attribute__((vector_size({vector_bytes}), aligned(4)));

float pconv_peak(long rounds, const float *seed) {{
    const vec a = *(const vec *)seed, b = *(const vec *)(seed + {lanes});
    vec acc[{count}];
    for (int i = 0; i < {count}; i++) acc[i] = a + (float)i;
    for (long r = 0; r < rounds; r++) {{
        {body}
    }}
    vec sum = acc[0];
    for (int i = 1; i < {count}; i++) sum += acc[i];
    return sum[0];
}}
"""


def source(target: Target) -> tuple[str, int]:
    """Write the C text for a target. Returns: the text, and the floating point operations of one round."""
    count = 24 if target.vector_registers >= 32 else 12
    body = "\n        ".join(f"acc[{i}] = acc[{i}] * a + b;" for i in range(count))
    text = _SOURCE.format(vector_bytes=target.vector_bytes, lanes=target.lanes_f32, count=count, body=body)
    return text, 2 * count * target.lanes_f32


def measure(target: Target | None = None, threads: int = 1, cc: str | None = None) -> float:
    """Measure the FMA peak of this machine.

    Units: 1e9 floating point operations per second (a multiply-add is two), of all threads together.
    Raises: BuildError when there is no working compiler.
    """
    chosen = target or native()
    text, flops_per_round = source(chosen)
    with TemporaryDirectory(prefix="pconv-peak-") as folder:
        run = _compile(text, chosen, cc, Path(folder))
        seed = (ctypes.c_float * (2 * chosen.lanes_f32))(*[0.5] * (2 * chosen.lanes_f32))
        rounds = 1000
        while (elapsed := _timed(run, rounds, seed)) < CALL_S:
            rounds = int(rounds * min(100.0, 1.2 * CALL_S / max(elapsed, 1e-9))) + 1
        with ThreadPoolExecutor(threads) as pool:
            fastest = list(pool.map(lambda _: _fastest(run, rounds, seed), range(threads)))
    return sum(rounds * flops_per_round / each for each in fastest) * 1e-9


def measure_if_possible(threads: int = 1) -> float | None:
    """Measure the FMA peak, or return None where there is no working compiler to measure it with."""
    try:
        return measure(threads=threads)
    except BuildError:
        return None


def _compile(text: str, target: Target, cc: str | None, folder: Path) -> Callable[..., float]:
    run = compiled.library(text, "peak", target, cc, folder).pconv_peak
    run.restype, run.argtypes = ctypes.c_float, (ctypes.c_long, ctypes.POINTER(ctypes.c_float))
    return run


def _timed(run: Callable[..., float], rounds: int, seed: "ctypes.Array[ctypes.c_float]") -> float:
    begin = time.perf_counter()
    run(rounds, seed)
    return time.perf_counter() - begin


def _fastest(run: Callable[..., float], rounds: int, seed: "ctypes.Array[ctypes.c_float]") -> float:
    return min(_timed(run, rounds, seed) for _ in range(CALLS))
