"""Records of tuning: kept per CPU and generator, used where they fit, and a reason where they are not."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import pconv
from graph.models import make as make_model
from graph.models import node, normalise, rand
from pconv import targets, tuning
from pconv.codegen.program import Program
from pconv.compiler import inspect, read_model
from pconv.errors import BuildError
from pconv.lower import lower
from pconv.lower.choice import Choice
from pconv.lower.plan import Plan
from pconv.tune import _compare, tune
from pconv.tuning import Record, Tuning
from test_compiler import model, two_layers

__all__ = ["model"]  # the fixture

NATIVE = targets.native()


def offered(path: Path, images: int = 1) -> dict[str, list[str]]:
    """List the names of the choices of every layer, best modelled first."""
    seen: dict[str, list[str]] = {}

    def note(key: str, choices: Sequence[Choice]) -> tuple[Choice, str]:
        seen[key] = [choice.name for choice in choices]
        return choices[0], ""

    lower(read_model(path), NATIVE, pick=note, images=images)
    return seen


def records_of_last_choices(path: Path, threads: int = 1, images: int = 1) -> dict[str, Record]:
    names = offered(path, images)
    return {key: Record(names[key][-1], 0.5, 1.0, threads, len(names[key])) for key in names}


def test_names_tell_the_choices_of_a_layer_apart(model: Path) -> None:
    for names in offered(model).values():
        assert len(set(names)) == len(names) > 2


def test_records_survive_a_file(tmp_path: Path) -> None:
    records = {"conv": Record("dense g1 2x2 passes 1", 0.9, 1.5, 2, 8)}
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "deep" / "t.json")
    assert tuning.load(path, NATIVE).records == records
    assert tuning.load(tmp_path / "none.json", NATIVE) == Tuning(tuning.cpu_name(NATIVE))


def test_a_recorded_choice_runs_and_is_named(model: Path, tmp_path: Path) -> None:
    records = records_of_last_choices(model)
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "t.json")
    plain, tuned = pconv.compile(model), pconv.compile(model, tuned=path)
    x = np.random.default_rng(0).standard_normal(plain.inputs[0].shape, np.float32)
    np.testing.assert_allclose(tuned(x), plain(x), rtol=1e-4, atol=1e-4)
    reasons = [layer["reason"] for layer in tuned.manifest["layers"] if layer["op"] == "Conv"]
    assert len(reasons) == 2
    assert all(
        reason.endswith("tuned: 0.50 of the modelled schedule's time on 1 thread") for reason in reasons
    )
    kernels = [[layer["micro_kernel"] for layer in e.manifest["layers"]] for e in (plain, tuned)]
    assert kernels[0] != kernels[1]


def test_this_machines_records_are_found(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCONV_CACHE", str(tmp_path / "cache"))
    path = tuning.default_path(NATIVE)
    assert path.parent == tmp_path / "cache" / "tuning"
    assert "tuned" not in inspect(model, "plan")
    Tuning(tuning.cpu_name(NATIVE)).merged(records_of_last_choices(model)).save(path)
    assert inspect(model, "plan").count("tuned: 0.50") == 2
    assert "tuned: 0.50" not in inspect(model, "plan", target="linux-aarch64")


def test_the_report_says_with_how_many_threads_it_was_tuned(model: Path, tmp_path: Path) -> None:
    records = records_of_last_choices(model, threads=2)
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "t.json")
    assert inspect(model, "plan", tuned=path).count("of the modelled schedule's time on 2 threads") == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cpu": "Pentium"}, "not tuned: the records are for CPU Pentium, here it is "),
        ({"generator": 0}, f"not tuned: the records are for generator 0, here it is {tuning.GENERATOR}"),
        (
            {"records": {"another": asdict(Record("x", 1.0, 1.0, 1, 1))}},
            "this layer was not tuned on this CPU",
        ),
    ],
)
def test_a_miss_says_why(model: Path, tmp_path: Path, change: dict[str, object], why: str) -> None:
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records_of_last_choices(model)).save(tmp_path / "t.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert why in inspect(model, "plan", tuned=path)


def test_a_library_from_the_cache_says_why_as_well(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Tuning(tuning.cpu_name(NATIVE)).save(tmp_path / "t.json")
    pconv.compile(model, tuned=path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"generator": 0}))
    for _ in range(2):  # the second is found in the cache
        caplog.clear()
        reasons = [layer["reason"] for layer in pconv.compile(model, tuned=path).manifest["layers"]]
        assert sum("the records are for generator 0" in reason for reason in reasons) == 2
        (said,) = caplog.messages
        assert said.startswith(f"{path}: not tuned: the records are for generator 0, here it is ")


def test_a_schedule_that_is_gone(model: Path, tmp_path: Path) -> None:
    records = {key: Record("once upon a time", 0.5, 1.0, 1, 2) for key in offered(model)}
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "t.json")
    said = inspect(model, "plan", tuned=path)
    assert "tuned to 'once upon a time', which is no longer offered; tune again" in said


RECORD = {"schedule": "s", "ratio": 0.5, "ms": 1.0, "threads": 1, "tried": 2}


def document(record: object, **said: object) -> str:
    known = {"format": tuning.FORMAT, "generator": tuning.GENERATOR, "cpu": tuning.cpu_name(NATIVE)}
    return json.dumps(known | said | {"records": {"a": record}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        *map(document, ({}, RECORD | {"ratio": "half"}, RECORD | {"ms": None}, RECORD | {"schedule": 1})),
        document(RECORD | {"ratio": 10**400}),
    ],
)
def test_no_tuning_file(model: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(
        BuildError, match=r"t\.json: this is no tuning file of pconv .* If it was one, delete it"
    ):
        pconv.compile(model, tuned=tmp_path / "t.json")


def test_records_of_another_version_may_look_otherwise(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(document({"of": "tomorrow"}, format=tuning.FORMAT + 1))
    found = tuning.load(tmp_path / "t.json", NATIVE)
    assert not found.records and found.missing == "not tuned: the records are for format 2, here it is 1"


def test_a_tuning_file_that_is_not_there(model: Path, tmp_path: Path) -> None:
    for make in (pconv.compile, lambda path, tuned: inspect(path, "plan", tuned=tuned)):
        with pytest.raises(BuildError, match=r"gone\.json: no such tuning file; make one with `pconv tune"):
            make(model, tuned=tmp_path / "gone.json")


@pytest.mark.cc
def test_tuning_measures_and_keeps_what_gains(model: Path, tmp_path: Path) -> None:
    events: list[str] = []
    found = tune(
        model, seconds=1.5, path=tmp_path / "t.json", on_event=lambda text, share: events.append(text)
    )
    assert found.rounds >= 1 and found.layers == 2
    assert events[0] == "compiling as modelled" and events[-1] == "checking what was found"
    assert (tmp_path / "t.json").exists() == (found.tuned_ms < found.modelled_ms)
    for key, record in found.improved.items():
        assert record.ratio < 1 and record.schedule in offered(model)[key] and record.tried >= 2


@pytest.mark.cc
def test_a_search_without_time_makes_one_round_and_one_without_convolutions_none(
    model: Path, tmp_path: Path
) -> None:
    assert tune(model, seconds=0, path=tmp_path / "t.json").rounds == 1
    bare = make_model([node("Relu", "x", "y")], {"x": [1, 1, 4, 4]}, ["y"])
    with pytest.raises(BuildError, match=r"there is nothing to tune: the model has no convolution"):
        tune(bare, seconds=0, path=tmp_path / "none.json")
    assert not (tmp_path / "none.json").exists()


def test_images_side_by_side_have_records_of_their_own(tmp_path: Path) -> None:
    onnx.save(two_layers("folded", side=7), tmp_path / "small.onnx")
    model = tmp_path / "small.onnx"
    records = records_of_last_choices(model, images=2)
    assert len(records) == 2 and all(" @2 of 7x7 (" in key for key in records)
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "t.json")
    for fold in (1, 2):
        reasons = inspect(model, "plan", tuned=path, fold=fold)
        assert reasons.count("; tuned: 0.50 of the modelled schedule's time") == (2 if fold == 2 else 0)
    found = tune(model, fold=2, seconds=0.1, path=tmp_path / "new.json")
    assert found.layers == 2 and found.improved.keys() <= records.keys() and found.tuned_ms > 0


class Even:
    """A trial whose every layer takes as long, whatever its schedule; a transform takes no time."""

    def __init__(self, program: Program, threads: int, cc: str | None) -> None:
        self.ms = np.array([float(step["dense_macs"] > 0) for step in program.manifest["layers"]])

    def profile(self) -> np.ndarray:
        return self.ms

    def close(self) -> None:
        pass


@pytest.fixture
def even(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that finds nothing, in a network that is faster as a whole."""
    monkeypatch.setattr("pconv.tune.Here", Even)
    monkeypatch.setattr("pconv.tune._milliseconds", lambda *_: [2.0, 1.0])


@pytest.mark.usefixtures("even")
def test_a_search_keeps_the_record_that_it_did_not_beat(model: Path, tmp_path: Path) -> None:
    records = records_of_last_choices(model)
    path = Tuning(tuning.cpu_name(NATIVE)).merged(records).save(tmp_path / "t.json")
    found = tune(model, seconds=0.1, path=path)
    assert tuning.load(path, NATIVE).records == found.improved == records


@pytest.mark.usefixtures("even")
def test_a_search_keeps_what_another_one_wrote_meanwhile(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, others = tmp_path / "t.json", {"another": Record("x", 0.5, 1.0, 1, 2)}

    def meanwhile(*_: object) -> list[float]:
        Tuning(tuning.cpu_name(NATIVE), others).save(path)
        return [2.0, 1.0]

    monkeypatch.setattr("pconv.tune._milliseconds", meanwhile)
    tune(model, seconds=0.1, path=path)
    assert tuning.load(path, NATIVE).records.keys() == {"another", *offered(model)}


@pytest.mark.usefixtures("even")
@pytest.mark.parametrize("cpu", ["Pentium", f"{tuning.cpu_name(NATIVE)}-fp16"])
def test_a_search_leaves_the_file_of_another_cpu_or_type_alone(model: Path, tmp_path: Path, cpu: str) -> None:
    path = Tuning(cpu, records_of_last_choices(model)).save(tmp_path / "t.json")
    before = path.read_text()
    with pytest.raises(BuildError) as caught:
        tune(model, seconds=0.1, path=path)
    assert str(caught.value) == (
        f"{path}: its records are for {cpu}; allowed here are those for {tuning.cpu_name(NATIVE)}. "
        "Name another file with --tuning."
    )
    assert path.read_text() == before


def test_every_type_has_a_file_of_its_own() -> None:
    types = ("fp32", "fp16", "fp16-fp32acc")
    chosen = [targets.get("android-arm64", "cortex-a76", dtype) for dtype in types]
    assert len({tuning.default_path(target) for target in chosen}) == len(types)


class Timed:
    """A trial that took these milliseconds a step."""

    def __init__(self, plan: Plan, **ms: float) -> None:
        self.ms = np.array([ms.get(step.name, 1.0) for step in plan.steps])

    def profile(self) -> np.ndarray:
        return self.ms


def test_layers_that_run_in_turns_are_compared_together() -> None:
    weights = {"e.weight": rand(48, 8, 1, 1), "d.weight": rand(48, 1, 3, 3)}
    nodes = [
        node("Conv", "x e.weight", "u", "e"),
        node("Conv", "u d.weight", "y", "d", group=48, pads=[1] * 4),
    ]
    view = normalise(make_model(nodes, {"x": [1, 8, 45, 37]}, ["y"], weights))
    small = replace(targets.get("x86-64-v4"), l2_bytes=256 << 10)
    together, apart = lower(view, small), lower(view, replace(small, pairs=False))
    assert [step.name for step in together.steps if step.within] == ["d"]
    trials = Timed(together, e=3.0, d=1.0), Timed(apart, e=2.0, d=3.0)
    keys = {step.name: step.work.key for step in together.steps}
    ratios = {key: (ratio, ms) for key, ratio, ms in _compare((together, apart), trials, 2)}
    assert ratios == {keys["e"]: (5 / 4, 5.0), keys["d"]: (5 / 4, 5.0)}, "alone, e would look faster"
