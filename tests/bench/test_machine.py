"""The record of the machine."""

import json

from pconv.bench import machine


def test_record_says_what_a_number_needs() -> None:
    record = machine.record(("numpy", "no-such-package"), compiler="clang 21", fma_peak_gflops=None)
    assert json.loads(json.dumps(record)) == record
    assert record["cpu"] and record["cores"] >= 1
    assert set(record["versions"]) == {"pconv", "python", "numpy"}
    assert record["compiler"] == "clang 21"
    assert "fma_peak_gflops" not in record


def test_line_is_for_people() -> None:
    line = machine.line(
        {
            "cpu": "A CPU",
            "cores": 2,
            "os": "Linux 6.18.44-a-builds-name",
            "versions": {"pconv": "1"},
            "fma_peak_gflops": 99.6,
        }
    )
    assert line == "A CPU · 2 cores · Linux 6.18 · pconv 1 · FMA peak 100 GFLOP/s, 1 thread"
    assert machine.line({}) == "unknown processor · ? cores"
