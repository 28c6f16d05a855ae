"""Owns the FMA peak of this machine as it is remembered: measured once, then read from the cache."""

import json
from contextlib import suppress

from pconv._version import __version__
from pconv.bench import peak
from pconv.cache import Cache
from pconv.errors import BuildError
from pconv.files import write_atomically
from pconv.targets import native
from pconv.targets.detect import cpu_model

FILE = "fma-peaks.json"


def known_peak_gflops(threads: int = 1, *, again: bool = False) -> float | None:
    """Return the FMA peak of this many threads, or None where there is no working compiler to measure it with.

    It is measured on the first call on a CPU; with `again` it is measured anew, and the larger value is kept: other
    work on the machine can only lower it.
    """
    key = f"{cpu_model()}, {native().name}, {threads} threads, pconv {__version__}"
    known = _read()
    value = known.get(key)
    if value is None or again:
        measured = peak.measure_if_possible(threads)
        if measured is None:
            return value
        value = max(measured, value or 0.0)
        _write({**known, key: value})
    return value


def _read() -> dict[str, float]:
    try:
        known = json.loads((Cache().root / FILE).read_text("utf-8"))
        return {str(key): float(value) for key, value in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # not there, or damaged: it is measured again


def _write(known: dict[str, float]) -> None:
    text = json.dumps(known, indent=1).encode("utf-8")
    cache = Cache()
    # A cache that cannot be written costs a second the next time.
    with suppress(BuildError, OSError), cache.scratch():  # which makes the cache where there is none
        write_atomically(cache.root / FILE, text, "")
