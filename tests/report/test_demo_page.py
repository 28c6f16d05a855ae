"""The page of a demo says what was measured, and nothing else."""

from dataclasses import replace

import pytest

from pconv.demo.result import DemoResult
from pconv.report import render
from pconv.report.demo import TIMES, demo_page

MACHINE = {"cpu": "A CPU", "cores": 2}


def test_rows_have_accuracy_size_and_speed(result: DemoResult) -> None:
    page = demo_page(result, MACHINE)
    rows = [row.cells for row in page.rows]
    assert rows == [
        ("ONNX Runtime, dense", "same weights", "100.0%", "-", "1.00 ms", "0.900 ms", f"1.00{TIMES}"),
        ("pconv, dense", "99.11%", "100.0%", "1,234 kB", "1.00 ms", "0.800 ms", f"1.00{TIMES}"),
        ("pconv, pruned", "98.67%", "25.0%", "321 kB", "0.250 ms", "0.200 ms", f"4.00{TIMES}"),
    ]
    assert [row.strong for row in page.rows] == [False, False, True]
    assert all(len(row) == len(page.columns) for row in rows)
    assert [(bar.kind, bar.value) for bar in page.bars] == [("peer", 1.0), ("dense", 1.0), ("pruned", 0.25)]


def test_gallery_counts_kernels_overall_and_per_layer(result: DemoResult) -> None:
    page = demo_page(result, MACHINE)
    assert [(use.name, use.share) for use in page.patterns] == [
        ("010/110/010", pytest.approx(5 / 8)),
        ("010/111/000", pytest.approx(3 / 8)),
    ]
    first, second = page.layers
    assert (first.name, first.shares) == ("conv1", (0.25, 0.75))
    assert (second.name, second.shape, second.shares) == ("conv2", f"4 {TIMES} 4", (1.0, 0.0))
    assert second.density == pytest.approx(1 / 9)


def test_page_says_how_and_where(result: DemoResult) -> None:
    html = render(demo_page(result, MACHINE))
    for text in (
        "Handwritten digits",
        "1,200 training and 450 test images",
        "scp8",
        "something is missing",
        "A CPU",
        "3e-07",
    ):
        assert text in html


def test_without_the_peer_ours_dense_is_the_base(result: DemoResult) -> None:
    samples = {name: taken for name, taken in result.samples_ms.items() if name.startswith("pconv")}
    page = demo_page(replace(result, samples_ms=samples), MACHINE)
    assert [row.cells[0] for row in page.rows] == ["pconv, dense", "pconv, pruned"]
    assert page.stats[0].label == "as fast as its dense self"
