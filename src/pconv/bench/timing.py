"""Owns the clock: interleaved rounds, and one benchmark at a time on a machine.

Contenders take turns, so that a machine that slows down slows all of them. A turn is: settle, one untimed
call (so that caches and threads are as in a program that runs one inference after another), then timed
calls until TURN_S has passed, at least one. A contender with a method `turn` runs in another process and
times its calls there. Where the distance of the cores is measured, turns count in which they were near.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pconv.bench.distance import limit

try:
    import fcntl
except ImportError:  # Windows: benchmarks are not kept apart there
    fcntl = None  # type: ignore[assignment]

TURN_S = 0.02
"""A turn ends after this long; a slow network makes one call a turn."""

SETTLE_S = 0.25
"""Longer than a peer's idle threads spin for work and take a core from the next one: ONNX Runtime 40 ms, OpenMP 200."""

WARMUP = 3
MIN_ROUNDS = 5


def interleave(
    callables: Mapping[str, Callable[[], object]],
    seconds: float,
    warmup: int = WARMUP,
    min_rounds: int = MIN_ROUNDS,
    *,
    settle_s: float = 0.0,
    distance: Callable[[], float] | None = None,
    on_round: Callable[[float], object] | None = None,
) -> dict[str, list[float]]:
    """Time the callables in turns for about `seconds` in all.

    Units: milliseconds per call.
    Returns: the samples of each callable, in order of time; at least `min_rounds` each, but for what follows.
    `distance` is asked before and after each turn, and a turn counts where both were near; of a callable that never had
    such a turn, all do. `on_round` hears the share of the time that has passed, 0..1.
    """
    samples: dict[str, list[list[float]]] = {name: [] for name in callables}
    apart: dict[str, list[float]] = {name: [] for name in callables}
    for call in callables.values():
        for _ in range(warmup):
            call()
    turns = {name: getattr(call, "turn", partial(turn, call)) for name, call in callables.items()}
    names = list(callables)
    start = time.perf_counter()
    rounds = 0
    while names and (rounds < min_rounds or time.perf_counter() - start < seconds):
        for name in names:
            time.sleep(settle_s)
            before = distance() if distance else 0.0
            samples[name].append(turns[name](TURN_S))
            apart[name].append(max(before, distance()) if distance else 0.0)
        names = names[1:] + names[:1]  # nobody always runs after the same neighbour
        names = names[::-1] if rounds % 2 else names
        rounds += 1
        if on_round:
            on_round(min(1.0, (time.perf_counter() - start) / seconds) if seconds > 0 else 1.0)
    longest = limit([reading for readings in apart.values() for reading in readings])
    return {name: _near(samples[name], apart[name], longest) for name in samples}


def _near(turns: Sequence[list[float]], apart: Sequence[float], longest: float) -> list[float]:
    """Return the samples of the turns in which the cores were near, or of all where they never were."""
    found = [turn for turn, reading in zip(turns, apart, strict=True) if reading <= longest]
    return [sample for turn in found or turns for sample in turn]


def turn(call: Callable[[], object], seconds: float) -> list[float]:
    """Call once, then time calls until `seconds` have passed, at least one. Units: milliseconds."""
    call()
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        samples.append((time.perf_counter() - begin) * 1e3)
    return samples


def lock_path() -> Path:
    """Name the file that the benchmarks of one user share."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"pconv-bench-{user}.lock"


@contextmanager
def alone(on_wait: Callable[[], object] | None = None, path: Path | None = None) -> Iterator[None]:
    """Hold the machine's benchmark lock; another process that times waits until it is free.

    `on_wait` is called once when somebody else holds it. The lock goes with its process, however that ends.
    """
    if fcntl is None:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path or lock_path(), flags, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait:
                on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
