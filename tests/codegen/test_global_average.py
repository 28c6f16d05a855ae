"""A mean over the whole image in front of layers whose windows see it from several places, in every lane."""

from pathlib import Path

import numpy as np
import pytest

from graph.models import make, node, normalise, rand
from pconv.cache import Cache
from pconv.graph import GraphView
from pconv.targets import Target

from .harness import HOSTS, assert_right, random_feeds, run_here, run_under_qemu

READERS = {
    "up": ("ConvTranspose", (8, 4, 4, 4), {}),
    "twice": ("ConvTranspose", (8, 4, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "wide": ("Conv", (4, 8, 3, 3), {"pads": [2, 2, 2, 2]}),
    "single": ("Conv", (4, 8, 1, 1), {"pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (8, 1, 2, 1), {"pads": [1, 0, 1, 0], "group": 8}),
}


def means() -> GraphView:
    """Return a mean for each reader, alone and of what a layer makes."""
    nodes, weights = [node("LeakyRelu", "x", "a")], {}
    for name, (op, shape, attrs) in READERS.items():
        weights[name] = rand(*shape)
        nodes += [
            node("GlobalAveragePool", "a", f"{name}.mean"),
            node(op, f"{name}.mean {name}", f"{name}.y", **attrs),
        ]
    return normalise(make(nodes, {"x": (1, 8, 12, 9)}, [f"{name}.y" for name in READERS], weights))


@pytest.mark.cc
@pytest.mark.parametrize("target", HOSTS)
def test_on_this_machine(target: Target, session_cache: Cache) -> None:
    view = means()
    feeds = random_feeds(view)
    assert all(np.abs(value).min() > 0 for value in feeds.values())
    assert_right(view, feeds, run_here(view, target, session_cache, feeds))


@pytest.mark.qemu
def test_on_aarch64(session_cache: Cache, tmp_path: Path) -> None:
    view = means()
    feeds = random_feeds(view)
    assert_right(view, feeds, run_under_qemu(view, session_cache, feeds, tmp_path))
