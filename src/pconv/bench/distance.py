"""How far apart the first and the last core are that we may use: how long a cache line takes from one to the other.

The host of a virtual machine may move its cores, from turn to turn, to where they share no cache. What threads give
each other then takes several times as long, and a benchmark of two threads measures the host.
"""

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from pconv.bench import compiled
from pconv.targets import Target, native

PASSES = 2000
FARTHER = 1.25
APART_NS = 100.0
"""Cores are near where a line takes at most so many times the least that was measured, and less than it takes between
caches. A host moved two between 24 ns, 32, where two threads gained nothing, and 160.
"""

# Two threads pass the line on in turns. One that waits long lets others run: both may be on one core.
_SOURCE = """
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

static _Alignas(128) _Atomic long line;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void pconv_lay(void) { atomic_store(&line, 0); }

double pconv_pass(long passes, long who) {
    const long settled = passes / 4;
    double begin = 0;
    for (long i = who; i < passes; i += 2) {
        for (long spins = 0; atomic_load_explicit(&line, memory_order_acquire) != i;)
            if (++spins % 100000 == 0) sched_yield();
        if (i - who == settled) begin = now();
        atomic_store_explicit(&line, i + 1, memory_order_release);
    }
    return (now() - begin) / (double)(passes - settled);
}
"""


class Distance:
    """Measures, and remembers all that it measured.

    Raises: BuildError when there is no working compiler.
    """

    def __init__(self, target: Target | None = None, cc: str | None = None) -> None:
        self.readings: list[float] = []
        with TemporaryDirectory(prefix="pconv-distance-") as folder:
            library = compiled.library(_SOURCE, "distance", target or native(), cc, Path(folder))
        self._lay, self._pass = library.pconv_lay, library.pconv_pass
        self._pass.restype, self._pass.argtypes = ctypes.c_double, (ctypes.c_long, ctypes.c_long)
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
        self._threads = [_on(core) for core in (cores[0], cores[-1])]

    def __call__(self) -> float:
        """Return the nanoseconds in which a line gets to the other core; takes a millisecond or less."""
        self._lay()
        passing = [self._threads[who].submit(self._pass, PASSES, who) for who in (0, 1)]
        reading = max(float(one.result()) for one in passing)
        self.readings.append(round(reading, 1))
        return reading


def _on(core: int) -> ThreadPoolExecutor:
    """Return a thread that stays on a core, where the system lets us say so."""
    pin = getattr(os, "sched_setaffinity", lambda thread, cores: None)
    return ThreadPoolExecutor(1, initializer=pin, initargs=(0, {core}))


def limit(readings: Sequence[float]) -> float:
    """Return the longest reading of near cores among these."""
    return min(FARTHER * min(readings, default=0.0), APART_NS)


def near_share(readings: Sequence[float]) -> float:
    """Return the share of readings in which the cores were near, 0..1; 1 where there are none."""
    longest = limit(readings)
    return sum(reading <= longest for reading in readings) / len(readings) if readings else 1.0
