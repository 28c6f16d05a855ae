"""Buffers that live at the same time never overlap, and the arena is no larger than it must."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pconv import targets
from pconv.bench.case import network
from pconv.bench.registry import FAMILIES
from pconv.lower import lower
from pconv.lower.arena import ALIGN, homes, lifetimes, place

Buffers = dict[str, tuple[int, tuple[int, int]]]


@st.composite
def buffers(draw: st.DrawFn) -> Buffers:
    """Draw sizes and the steps (first, last) in which they live."""
    made = {}
    for i in range(draw(st.integers(0, 25))):
        first = draw(st.integers(0, 20))
        size = draw(st.integers(1, 40)) * draw(st.sampled_from([1, 4, 64, 1000]))
        made[f"t{i}"] = (size, (first, first + draw(st.integers(0, 6))))
    return made


def assert_apart(
    sizes: Mapping[str, int], spans: Mapping[str, tuple[int, int]], offsets: Mapping[str, int], total: int
) -> None:
    for a in sizes:
        assert offsets[a] >= 0 and offsets[a] % ALIGN == 0 and offsets[a] + sizes[a] <= total
        for b in sizes:
            together = spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]
            if a < b and together:
                assert offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a], (a, b)


@given(buffers())
def test_live_buffers_never_overlap(drawn: Buffers) -> None:
    sizes = {name: size for name, (size, _) in drawn.items()}
    spans = {name: span for name, (_, span) in drawn.items()}
    offsets, total = place(sizes, spans)
    assert_apart(sizes, spans, offsets, total)
    alive = [sum(sizes[n] for n in sizes if spans[n][0] <= i <= spans[n][1]) for i in range(30)]
    assert max(alive) <= total <= sum(size + ALIGN for size in sizes.values())


def test_a_dead_buffer_gives_its_place() -> None:
    """The example of the module's drawing."""
    offsets, total = place({"a": 128, "b": 128, "c": 128}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)})
    assert offsets == {"a": 0, "b": 128, "c": 0} and total == 256


def test_plans_keep_live_tensors_apart() -> None:
    plan = lower(network(FAMILIES["planes"], probe=True), targets.get("x86-64-v3"))
    tensors = {t.name: t for s in plan.steps for t in (*s.inputs, s.output) if t.space == "arena"}
    home = homes(plan.steps)
    assert all(tensors[name].offset == tensors[first].offset for name, first in home.items())
    sizes = {name: t.nbytes for name, t in tensors.items() if name not in home}
    offsets = {name: t.offset for name, t in tensors.items() if name not in home}
    assert_apart(sizes, lifetimes(plan.steps), offsets, plan.arena_bytes)
    assert plan.arena_bytes < sum(sizes.values())
