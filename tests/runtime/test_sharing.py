"""Whether threads share a sample's steps: the way that is faster is found, kept, and left when it no longer is."""

import ctypes
import subprocess
from collections.abc import Callable
from itertools import pairwise

import pytest

from pconv import targets, toolchain
from pconv.build import NATIVE
from pconv.cache import Cache

Time = Callable[[int], int]
"""What the n-th run would take, in nanoseconds."""

SHIM = """
#include "sharing.c"
static sharing state;
void start(void) { state = (sharing){0}; }
int alone(void) { return state.alone; }
void took(int64_t ns) { sharing_took(&state, ns); }
"""
RUNS, TRIAL, PATIENCE = 15, 3, 24


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, session_cache: Cache) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("sharing")
    target = targets.native()
    compiler = toolchain.choose(None, target)
    (folder / "shim.c").write_text(SHIM)
    flags = [
        *compiler.base_flags(target),
        f"-I{NATIVE}",
        "-fvisibility=default",
        "-shared",
        "-Wextra",
        "-Werror",
    ]
    environment = toolchain.environment(session_cache.root / "zig", session_cache.root / "zig")
    command = [*compiler.command, "shim.c", "-o", "shim.so", *flags]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    library = ctypes.CDLL(str(folder / "shim.so"))
    library.took.argtypes = [ctypes.c_int64]
    return library


def ways(library: ctypes.CDLL, runs: int, shared: Time, alone: Time) -> str:
    """Say of each run whether it was shared, "s", or alone, "a"."""
    library.start()
    went = ""
    for run in range(runs):
        is_alone = bool(library.alone())
        library.took((alone if is_alone else shared)(run))
        went += "a" if is_alone else "s"
    return went


def test_where_sharing_pays_it_goes_on_after_one_look_at_the_other_way(sharing: ctypes.CDLL) -> None:
    went = ways(sharing, 5000, lambda run: 10, lambda run: 19)
    assert went == "s" * RUNS + "a" * TRIAL + "s" * (5000 - RUNS - TRIAL)


def test_where_sharing_costs_it_is_tried_ever_more_seldom(sharing: ctypes.CDLL) -> None:
    went = ways(sharing, 50_000, lambda run: 20, lambda run: 10)
    assert went.startswith("s" * RUNS + "a")
    trials = [n for n in range(1, len(went)) if went[n - 1 : n + 1] == "as"]
    assert all(went[n : n + TRIAL + 1] == "s" * TRIAL + "a" for n in trials)
    gaps = [(later - earlier - TRIAL) // RUNS for earlier, later in pairwise(trials)]
    assert gaps[:8] == [2, 4, 8, 16, *[PATIENCE] * 4]
    assert set(gaps[4:]) == {PATIENCE}


def test_single_slow_runs_decide_nothing(sharing: ctypes.CDLL) -> None:
    went = ways(sharing, 2000, lambda run: 900 if run % 3 == 0 else 10, lambda run: 19)
    assert went.count("a") == TRIAL


def test_another_programs_threads_come_and_go(sharing: ctypes.CDLL) -> None:
    def shared(run: int) -> int:
        return 50 if 300 <= run < 3000 else 10

    went = ways(sharing, 5000, shared, lambda run: 19)
    assert set(went[300 + 2 * RUNS : 3000]) >= {"a"} and went[300:3000].count("s") < 2 * RUNS + 8 * TRIAL
    assert set(went[3000 + PATIENCE * RUNS + 2 * TRIAL :]) == {"s"}


def test_a_core_that_slows_down_is_looked_at_once_more(sharing: ctypes.CDLL) -> None:
    """Both ways take three times as long from run 100 on: the old time alone is no reason to stay alone."""

    def slowed(ns: int) -> Time:
        return lambda run: 3 * ns if run >= 100 else ns

    went = ways(sharing, 5000, slowed(10), slowed(19))
    assert went[100:].count("a") == RUNS and set(went[100 + 3 * RUNS :]) == {"s"}
