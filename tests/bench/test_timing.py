"""Turns, and one benchmark at a time."""

import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pconv.bench import timing


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "TURN_S", 0.0)


def test_every_callable_gets_warmup_then_one_untimed_call_a_turn() -> None:
    calls = {"a": 0, "b": 0}

    def count(name: str) -> None:
        calls[name] += 1

    samples = timing.interleave(
        {"a": lambda: count("a"), "b": lambda: count("b")}, seconds=0, warmup=2, min_rounds=5
    )
    assert {name: len(taken) for name, taken in samples.items()} == {"a": 5, "b": 5}
    assert calls == {"a": 2 + 2 * 5, "b": 2 + 2 * 5}
    assert all(sample >= 0 for taken in samples.values() for sample in taken)


def test_contenders_take_turns_and_change_neighbours() -> None:
    order: list[str] = []
    names = ("a", "b", "c")
    timing.interleave({n: lambda n=n: order.append(n) for n in names}, seconds=0, warmup=0, min_rounds=6)
    turns = [order[i] for i in range(0, len(order), 2)]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]
    assert all(sorted(one) == list(names) for one in rounds)
    followers = {pair for one in rounds for pair in pairwise(one)}
    assert len(followers) > 2


def test_rounds_go_on_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += 0.25

    shares: list[float] = []
    samples = timing.interleave({"a": work}, seconds=5, warmup=0, min_rounds=1, on_round=shares.append)
    assert samples["a"] == [250.0] * 10
    assert shares[-1] == 1.0 and shares == sorted(shares)


class Noted:
    """A contender whose samples are the numbers of its turns."""

    def __init__(self, number: Iterator[int]) -> None:
        self.number = number
        self.turns: list[float] = []

    def __call__(self) -> None: ...

    def turn(self, seconds: float) -> list[float]:
        self.turns.append(float(next(self.number)))
        return self.turns[-1:]


def test_turns_count_in_which_the_cores_were_near() -> None:
    number = itertools.count()
    a, b = Noted(number), Noted(number)
    around = {0: (50, 55), 1: (50, 200), 2: (60, 62), 3: (90, 50), 4: (50, 50), 5: (300, 300)}
    readings = itertools.chain(*around.values())
    samples = timing.interleave(
        {"a": a, "b": b}, 0, warmup=0, min_rounds=3, distance=lambda: float(next(readings))
    )
    assert sorted(a.turns + b.turns) == [0, 1, 2, 3, 4, 5]
    near = {turn for turn, both in around.items() if max(both) <= 62.5}
    assert samples == {name: [t for t in one.turns if t in near] for name, one in (("a", a), ("b", b))}
    assert {len(taken) for taken in samples.values()} == {1, 2}


def test_where_the_cores_never_were_near_all_turns_count() -> None:
    readings = iter([50, 50, 200, 200] * 5)
    samples = timing.interleave({"a": int, "b": int}, 0, 0, 1, distance=lambda: float(next(readings)))
    assert {name: len(turns) for name, turns in samples.items()} == {"a": 1, "b": 1}


def test_nothing_to_time() -> None:
    assert timing.interleave({}, seconds=1) == {}


def test_lock_keeps_a_second_process_waiting(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
        from pathlib import Path
        from pconv.bench.timing import alone
        with alone(lambda: print("waiting", flush=True), Path({str(path)!r})):
            print("timing", flush=True)
    """
    with timing.alone(path=path):
        other = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "waiting\n"
    assert other.stdout.readline() == "timing\n"
    assert other.wait(20) == 0
    other.stdout.close()


def test_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), timing.alone(path=tmp_path / "lock"):
        raise ZeroDivisionError
    waited = threading.Event()
    with timing.alone(waited.set, tmp_path / "lock"):
        assert not waited.is_set()


def test_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), timing.alone(path=tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()
