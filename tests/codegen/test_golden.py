"""The C text itself, for a person to read: small kernels of 4 lanes, also compiled and run here."""

from dataclasses import replace

import pytest

from pconv import targets
from pconv.bench.case import Case, Sparsity, network
from pconv.bench.registry import conv
from pconv.cache import Cache
from pconv.codegen import generate
from pconv.lower import choice, lower
from pconv.lower.kernels import ConvKernel
from pconv.lower.schedule import Schedule

from .conftest import Compare
from .harness import assert_right, host_targets, random_feeds, run_here

pytestmark = pytest.mark.cc


def text_of(case: Case, cache: Cache, probe: bool, name: str = "") -> str:
    """Return a C file of a case for AArch64, after the same text for this machine gave the right numbers.

    It is that of the step `name`, by default of the case's own.
    """
    view = network([case], probe)
    here = replace(host_targets()[0], lanes_f32=4, fma_by_lane=True)
    files = []
    for target in (targets.get("aarch64"), here):
        plan = lower(view, target)
        step = next(s for s in plan.steps if s.name == (name or case.name))
        files.append(generate(plan).sources[f"{step.kernel.name}.c"])
    assert files[0] == files[1]
    feeds = random_feeds(view)
    assert_right(view, feeds, run_here(view, here, cache, feeds))
    return files[0]


def test_sparse_conv(golden: Compare, session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two filters share each kernel, three vectors go at a time, three rows do not fill the blocks."""

    def fixed(bare: ConvKernel, *_: object) -> tuple[Schedule, ...]:
        return (Schedule(replace(bare, group=2, tile=(1, 3)), float(len(bare.patterns[0]))),)

    monkeypatch.setattr(choice, "rank_schedules", fixed)
    case = conv("sparse", 4, 4, (3, 6), sparsity=Sparsity(2.0, "elog4", 2), residual=True, act="relu")
    golden(text_of(case, session_cache, probe=False))


def test_conv_halo(golden: Compare, session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles at a border hand their vectors on to the halo, those of the left blocks' right edge too."""

    def fixed(bare: ConvKernel, *_: object) -> tuple[Schedule, ...]:
        return (Schedule(replace(bare, tile=(1, 2)), 1.0),)

    monkeypatch.setattr(choice, "rank_schedules", fixed)
    case = conv("conv", 1, 1, (4, 12), 1, act="relu")
    golden(text_of(case, session_cache, probe=True))


def test_filter_lanes(golden: Compare, session_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A register of filters, the last of which is none, for five outputs, three and two at a time."""

    def fixed(bare: ConvKernel, *_: object) -> tuple[Schedule, ...]:
        return (Schedule(replace(bare, group=4, positions=3, tile=(1, 2)), 1.0),)

    monkeypatch.setattr(choice, "rank_schedules", fixed)
    case = conv("lanes", 3, 3, (1, 5), 1, act="relu")
    golden(text_of(case, session_cache, probe=False))


def test_interleave(golden: Compare, session_cache: Cache) -> None:
    """Six columns are two groups of four, which overlap; the halo is filled plane by plane."""
    case = conv("conv", 1, 1, (4, 12))
    golden(text_of(case, session_cache, probe=False, name="conv.x0:relayout"))


def test_halves(golden: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of eight halves, whose sums are long enough to go into floats; run by the cases on AArch64 alone."""

    def fixed(bare: ConvKernel, *_: object) -> tuple[Schedule, ...]:
        return (Schedule(replace(bare, tile=(1, 2)), 1.0),)

    monkeypatch.setattr(choice, "rank_schedules", fixed)
    case = conv("halves", 40, 1, (2, 8), act="clip")
    plan = lower(network([case]), targets.get("aarch64", dtype="fp16"))
    step = next(s for s in plan.steps if s.name == case.name)
    golden(generate(plan).sources[f"{step.kernel.name}.c"])


def test_gather(golden: Compare, session_cache: Cache) -> None:
    case = Case("pad", "Pad", 2, (3, 5), attrs={"pads": (1, 0, 0, 2)})
    golden(text_of(case, session_cache, probe=False))


def test_max_pool(golden: Compare, session_cache: Cache) -> None:
    window = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
    case = Case("pool", "MaxPool", 2, (8, 8), attrs=window, before="relu")
    golden(text_of(case, session_cache, probe=True))
