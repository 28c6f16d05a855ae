"""The report: what it makes of a manifest and of times, and how it reads."""

import json
from typing import Any

import pytest

from pconv.runtime.report import Report, make_report

STEP = {
    "name": "conv1", "op": "Conv", "micro_kernel": "f32_conv", "in_shape": [8, 14, 14], "out_shape": [16, 14, 14],
    "macs": 1_000_000, "dense_macs": 4_000_000, "weights_bytes": 6000, "index_bytes": 144,
    "reason": "sparse: 75% zeros",
}  # fmt: skip
MODELLED = {**STEP, "runner_up": "dense g4: modelled 1.30x the time", "bound": "loads from L1"}


def report(*steps: dict[str, Any], ns: list[float] | None = None, peak: float | None = 100.0) -> Report:
    """Report on steps that took 50 microseconds each."""
    manifest = {"layers": list(steps), "model": {"name": "tiny"}, "target": {"name": "x86-64-v4"}}
    return make_report(manifest, ns or [50_000.0] * len(steps), 2, peak)


def test_rates_and_bytes() -> None:
    (layer,) = report(STEP).layers
    assert (layer.gflops, layer.dense_gflops, layer.peak_percent) == (40.0, 160.0, 40.0)
    assert (layer.bytes, layer.weights_bytes, layer.index_bytes) == (6144, 6000, 144)
    assert layer.activation_bytes == 4 * 24 * 14 * 14
    assert layer.gbytes_per_s == pytest.approx((6144 + 18816) / 50_000)


def test_a_manifest_without_the_newer_keys_is_read() -> None:
    (layer,) = report({"name": "y", "op": "Softmax"}, peak=None).layers
    assert (layer.limit, layer.runner_up, layer.reason, layer.bytes, layer.activation_bytes) == (
        "",
        "",
        "",
        0,
        0,
    )
    assert layer.peak_percent is None


def test_why_not_faster() -> None:
    usual = {**MODELLED, "modelled_cycles": 1000, "idle_lanes": 0.03}
    slow = {**usual, "idle_lanes": 0.12}
    first, _, third = report(usual, usual, slow, ns=[1000.0, 1100.0, 2500.0]).layers
    assert first.limit == "bound by loads from L1"
    assert third.limit == (
        "bound by loads from L1, the image leaves 12% of the lanes idle, "
        "2.3x slower than modelled, against the other layers"
    )


def test_layers_in_turns_share_their_time_as_modelled() -> None:
    first = {**MODELLED, "modelled_cycles": 3000}
    behind = {**MODELLED, "name": "dw", "modelled_cycles": 1000, "within": True}
    alone = {**MODELLED, "modelled_cycles": 500}
    layers = report(first, behind, alone, ns=[800.0, 0.0, 100.0]).layers
    assert [layer.ms for layer in layers] == pytest.approx([600e-6, 200e-6, 100e-6])


def test_the_text_has_the_numbers_then_the_words() -> None:
    text = str(report({"name": "x:relayout", "op": "Relayout", "micro_kernel": "f32_gather"}, MODELLED))
    head, columns, _, relayout, conv, *words = text.splitlines()
    assert head == "tiny on x86-64-v4, 2 threads: 0.100 ms; FMA peak 100.0 GFLOP/s"
    assert columns.split("  ")[0] == "layer" and columns.endswith("weights KiB  act. KiB")
    assert relayout.split() == ["x:relayout", "f32_gather", "0.050", "50.0", "0.0", "0.0", "0"]
    assert conv.split() == ["conv1", "f32_conv", "0.050", "50.0", "40.0", "160.0", "40", "0.5", "6.0", "18"]
    assert words == [
        "    sparse: 75% zeros",
        "    why not faster: bound by loads from L1",
        "    runner-up: dense g4: modelled 1.30x the time",
    ]


def test_one_layer_is_a_part_of_the_whole() -> None:
    copy = {**STEP, "name": "conv1:output", "op": "Relayout"}
    names = ("conv1:transform", "conv1", "conv1:inverse", "conv10", "x:relayout")
    one = report(*({**STEP, "name": name} for name in names), copy).only("conv1")
    assert [layer.name for layer in one.layers] == ["conv1:transform", "conv1", "conv1:inverse"]
    head, *rows = str(one).splitlines()
    assert head.startswith("tiny on x86-64-v4, 2 threads: 0.300 ms; ")
    assert [row.split()[3] for row in rows if row.startswith("conv1")] == ["16.7"] * 3
    assert json.loads(one.to_json())["ms"] == 0.3


def test_json_has_it_all() -> None:
    said = json.loads(report(MODELLED).to_json())
    assert (said["ms"], said["peak_gflops"]) == (0.05, 100.0)
    assert said["layers"][0]["runner_up"] == MODELLED["runner_up"]
    assert said["layers"][0]["bound"] == "loads from L1"
