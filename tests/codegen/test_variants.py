"""One file for several kinds of CPU: the first plan that this one can run is taken, and says so."""

from dataclasses import replace

import pytest

from graph.models import normalise
from pconv.build import build
from pconv.cache import Cache
from pconv.codegen import Program, generate
from pconv.errors import ArtefactError
from pconv.graph import GraphView
from pconv.lower import lower
from pconv.runtime import Engine
from pconv.targets import Target

from .harness import assert_right, host_targets, random_feeds
from .networks import residual_network

pytestmark = pytest.mark.cc
HERE = host_targets()[-1]  # the plainest instruction set that this machine runs


@pytest.fixture(scope="module")
def view() -> GraphView:
    return normalise(residual_network())


def named(name: str, *features: str) -> Target:
    """Return this machine's target with another name, and as needing other features."""
    return replace(HERE, name=name, features=features)


def program(view: GraphView, *targets: Target) -> Program:
    return generate(*(lower(view, target) for target in targets))


def test_the_first_that_the_cpu_can_run(view: GraphView, session_cache: Cache) -> None:
    future, here, old = named("future", "flux_capacitor"), named("here", HERE.features[0]), named("old")
    for targets, chosen in (((future, here, old), "here"), ((here, old), "here"), ((future, old), "old")):
        made = program(view, *targets)
        with Engine(build(made, cache=session_cache), threads=2) as engine:
            assert engine.manifest["target"]["name"] == chosen
            assert engine.manifest["variants"] == [target.name for target in targets]
            feeds = random_feeds(view)
            assert_right(view, feeds, {view.outputs[0]: engine(*feeds.values())})
            report = engine.report(runs=1)
            assert report.target == chosen and len(report.layers) == len(engine.manifest["layers"])


def test_a_plan_with_other_steps(view: GraphView, session_cache: Cache) -> None:
    """The layers that are timed and described are those of the plan that runs."""
    few = replace(named("few", "flux_capacitor"), lanes_f32=4)
    made = program(view, few, named("many"))
    counts = [len(variant.manifest["layers"]) for variant in made.variants]
    with Engine(build(made, cache=session_cache), threads=1) as engine:
        assert len(engine.report(runs=1).layers) == counts[1]
        kernels = [layer["micro_kernel"] for layer in engine.manifest["layers"]]
    assert kernels != [layer["micro_kernel"] for layer in made.manifest["layers"]]
    assert {f"{kernel}.c" for kernel in kernels} < made.fallbacks[0].sources.keys()


def test_none_that_the_cpu_can_run(view: GraphView, session_cache: Cache) -> None:
    path = build(program(view, named("b", "fp", "warp"), named("a", "flux_capacitor")), cache=session_cache)
    with pytest.raises(ArtefactError, match=r"this CPU lacks .* \(it needs flux_capacitor\)"):
        Engine(path)


def test_what_is_equal_is_stored_once(view: GraphView) -> None:
    alone, both = program(view, named("a")), program(view, named("b", "more"), named("a"))
    assert bytes(both.weights) == bytes(alone.weights)
    assert both.sources.keys() == {"model.c"}, "micro-kernels that both have are compiled for both"
    assert both.fallbacks[0].sources.keys() - alone.sources.keys() == {"pconv_plan_1.c"}
