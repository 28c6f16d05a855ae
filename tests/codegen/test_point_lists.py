"""Each of Winograd's points multiplies the kernels that have a weight there, in every order of them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pconv.bench.case import Sparsity, network
from pconv.bench.registry import conv
from pconv.cache import Cache
from pconv.lower import choice, lower
from pconv.lower.kernels import ConvKernel, WinogradListsKernel
from pconv.lower.schedule import Schedule
from pconv.targets import Target

from .harness import assert_right, host_targets, random_feeds, run_here

FREE, SHARED, ALIKE = (Sparsity(2.0, "scp8", group) for group in (1, 2, 16))
SOME_REMOVED = replace(FREE, removed=3)


def at_points(**how: int | bool) -> Callable[..., tuple[Schedule, ...]]:
    """Return what makes Winograd's way, with lists, the cheapest, and runs its points so."""

    def rank(
        bare: ConvKernel, target: Target, channels: int, kernels: int, classes: tuple[int, ...]
    ) -> tuple[Schedule, ...]:
        kernel = replace(bare, tile=(1, 1), **(how if bare.points > 1 else {}))
        return (Schedule(kernel, 0.0 if bare.lists else 1e9),)

    return rank


@pytest.mark.parametrize(
    ("sparsity", "how"),
    [
        (FREE, {}),
        (FREE, {"block": 3, "span": 2}),
        (FREE, {"group": 2, "mixed": True}),
        (FREE, {"group": 3, "mixed": True, "block": 4, "span": 3}),
        (FREE, {"group": 4, "mixed": True, "copies": 2, "parts": 2}),
        (SOME_REMOVED, {"group": 4, "mixed": True}),
        (SHARED, {"group": 2}),
        (SHARED, {"group": 2, "block": 3, "span": 2}),
        (SHARED, {"group": 3, "mixed": True}),
        (ALIKE, {"group": 4}),
        (ALIKE, {"group": 3, "block": 3, "span": 2}),
    ],
)
def test_lists_of_kernels(
    sparsity: Sparsity, how: dict[str, int], session_cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "rank_schedules", at_points(**how))
    filters = 16 if sparsity is ALIKE else 11
    view = network([conv("layer", 13, filters, (9, 10), sparsity=sparsity, act="relu")], probe=True)
    target, feeds = host_targets()[0], random_feeds(view)
    kinds = {type(step.kernel) for step in lower(view, target).preparation}
    assert WinogradListsKernel in kinds
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))
