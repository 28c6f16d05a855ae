"""The page of a pruned model says what its weights say, and its numbers are those of the result files."""

import json
from pathlib import Path

import numpy as np
import pytest

from pconv.errors import ModelError, PconvError
from pconv.patterns import LIBRARIES
from pconv.report.accuracy import Point, Series, read_series
from pconv.report.pruned import kept_layers, render_pruned, write_pruned
from pconv.sparsity import SparsityMap

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def sparsity() -> SparsityMap:
    """conv1 keeps 1 or 2 kernels a filter; conv2 keeps every kernel in one of two shapes; fc is dense."""
    one, two = (pattern.mask() for pattern in LIBRARIES["elog4"][:2])
    conv1 = np.zeros((3, 4, 3, 3), bool)
    conv1[:, 0], conv1[1, 2] = one, two
    conv2 = np.broadcast_to(one, (2, 3, 3, 3)).copy()
    conv2[0, 0] = two
    return SparsityMap.detect({"conv1": conv1, "conv2": conv2, "fc": np.ones((2, 2), bool)})


@pytest.fixture
def dense(sparsity: SparsityMap) -> dict[str, np.ndarray]:
    return {name: np.ones(layer.shape, np.float32) for name, layer in sparsity.layers.items()}


def test_layers_tell_norm_and_balance(sparsity: SparsityMap, dense: dict[str, np.ndarray]) -> None:
    conv1, conv2 = kept_layers(sparsity, dense)
    assert (conv1.few, conv1.most, conv1.kernels, conv1.histogram) == (1, 2, 4, (2, 1))
    assert (conv2.few, conv2.most, conv2.histogram) == (3, 3, (2,))
    assert conv2.density == pytest.approx(4 / 9) and conv2.norm == pytest.approx(np.sqrt(4 / 9))
    assert all(layer.norm is None for layer in kept_layers(sparsity))


def test_page_and_picture(tmp_path: Path, sparsity: SparsityMap, dense: dict[str, np.ndarray]) -> None:
    series = [Series("net, post", (Point(2.25, 0.91), Point(4.0, 0.885, shortened=True)), dense=0.92)]
    page = write_pruned(tmp_path / "new", "net", sparsity, dense, series)
    html = page.read_text()
    assert (tmp_path / "new" / "report.png").read_bytes().startswith(PNG)
    assert "1 to 2 of 4" in html and "3 of 3" in html and "66.7%" in html
    assert "1 of 2</b><span>layers keep the same number" in html
    assert "net, post (shortened run)" in html and "-3.50" in html and "91.00%" in html
    assert "Accuracy" not in render_pruned("net", sparsity) and "Norm kept" not in render_pruned(
        "net", sparsity
    )
    assert html.count("<figure>") == 2 and "http-equiv" not in html and "<script" not in html


def test_names_are_escaped(sparsity: SparsityMap) -> None:
    assert "<b>&amp;" not in render_pruned("a<b>&", sparsity)
    assert "a&lt;b&gt;&amp;, pruned" in render_pruned("a<b>&", sparsity)


def test_names_with_dollars_are_no_formulas(tmp_path: Path, sparsity: SparsityMap) -> None:
    named = SparsityMap({f"$x_${name}": layer for name, layer in sparsity.layers.items()})
    assert "$x_$" in write_pruned(tmp_path, "a$^$", named).read_text("utf-8")


def test_another_network_is_no_dense_one(sparsity: SparsityMap, dense: dict[str, np.ndarray]) -> None:
    with pytest.raises(
        ModelError, match=r"conv2: the dense model has no such layer; allowed is the network before"
    ):
        render_pruned("net", sparsity, {"conv1": dense["conv1"]})
    with pytest.raises(ModelError, match=r"conv1: the dense model has it as \[1, 1, 3, 3\]"):
        render_pruned("net", sparsity, {"conv1": np.ones((1, 1, 3, 3))})


def test_a_dense_model_has_nothing_to_show() -> None:
    with pytest.raises(
        ModelError, match=r"net: its weights hold no zeros, so there is nothing to show\. Prune it"
    ):
        render_pruned("net", SparsityMap.detect({"conv": np.ones((2, 2, 3, 3))}))


def test_a_curve_without_a_name_has_its_files(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"accuracy": 0.5, "compression_rate": 2}')
    assert read_series([tmp_path / "mine.json"]) == [Series("mine", (Point(2.0, 0.5),))]


def test_results_become_curves(tmp_path: Path) -> None:
    base = {"model": "net", "method": "post", "patterns": "scp8"}
    many = [
        {**base, "accuracy": 0.8, "compression_rate": 8.0, "accuracy_dense": 0.93, "shortened": True},
        {**base, "accuracy": 0.9, "compression_rate": 4, "accuracy_dense": 0.93},
        {"note": "no result"},
        {"model": "net", "accuracy": 0.7, "compression_rate": None},
        {"model": "net", "accuracy": 0.5, "compression_rate": 2, "accuracy_dense": None},
    ]
    (tmp_path / "many.json").write_text(json.dumps({"machine": {}, "results": many}))
    (tmp_path / "one.json").write_text(
        json.dumps({"model": "net", "accuracy": 0.93, "compression_rate": 1.0})
    )
    assert read_series([tmp_path / "many.json", tmp_path / "one.json"]) == [
        Series("net, post, scp8", (Point(4.0, 0.9), Point(8.0, 0.8, True)), 0.93),
        Series("net", (Point(1.0, 0.93), Point(2.0, 0.5))),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, r"not JSON \(maximum recursion depth"),
        (
            '{"accuracy": 91.7, "compression_rate": 4}',
            r"result 1: accuracy is 91\.7; allowed is a number from 0 to 1\.",
        ),
        ('{"accuracy": NaN, "compression_rate": 4}', "result 1: accuracy is nan"),
        ('{"results": [{}, {"accuracy": "0.9", "compression_rate": 4}]}', "result 2: accuracy is '0.9'"),
        (
            '{"accuracy": 0.5, "compression_rate": Infinity}',
            "result 1: compression_rate is inf; allowed is a finite number above 0",
        ),
        (f'{{"accuracy": 0.5, "compression_rate": 1{"0" * 400}}}', "result 1: compression_rate is 1000"),
        ('{"accuracy": 0.5, "compression_rate": true}', "result 1: compression_rate is True"),
        (
            '{"accuracy": 0.5, "compression_rate": 4, "accuracy_dense": NaN}',
            "result 1: accuracy_dense is nan; allowed is a number from 0 to 1, or null",
        ),
        ('{"accuracy": null, "compression_rate": 4}', "holds no results"),
        ('{"accuracy": 0.9}', "holds no results; allowed are objects with accuracy"),
        (None, "cannot read"),
    ],
)
def test_files_that_hold_no_results(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PconvError, match=rf"r\.json: {message}"):
        read_series([path])
