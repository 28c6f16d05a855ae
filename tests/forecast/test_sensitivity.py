"""What a rate harms, by each of the three ways."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pconv.bench.peers import get
from pconv.errors import PconvError
from pconv.forecast import Budget, Table, search_rates
from pconv.forecast.rates import recipe_of
from pconv.forecast.sensitivity import (
    by_pruning,
    check_fits,
    energy_lost,
    from_curves,
    output_error,
    read_curves,
)
from pconv.graph import load
from pconv.graph.prune import find_layers, layer_weights
from pconv.masks import magnitude_masks
from pconv.recipe import plan_layers

from .tables import make_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """conv1 3x3 of 16 to 8 with a bias, relu, mean, fc to 4 as a MatMul."""
    draw = np.random.default_rng(0)
    weights = {
        "conv1.weight": draw.standard_normal((8, 16, 3, 3)),
        "conv1.bias": draw.standard_normal(8),
        "fc.weight": draw.standard_normal((8, 4)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], "pool"),
        helper.make_node("Flatten", ["c"], ["d"], "flatten"),
        helper.make_node("MatMul", ["d", "fc.weight"], ["y"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 16, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def measured(model: Path) -> Table:
    """A table of the model, with the rates that its layers really get at 9x and 18x."""
    infos = [layer.info for layer in find_layers(load(model))]
    table = make_table({"conv1": {1.0: 4.0, 9.0: 2.0, 18.0: 1.0}, "fc": {1.0: 2.0, 9.0: 1.0, 18.0: 0.5}})
    document = table.as_json()
    for variant, entry in zip(table.variants, document["variants"], strict=True):
        if not variant.dense:
            rules = plan_layers(table.recipe(variant), infos)
            for layer in entry["layers"]:
                layer["rate"] = rules[layer["name"]].compression_rate
    return Table.from_json(document)


def test_energy_lost() -> None:
    weights = {"a": np.array([[3.0, 1.0], [0.0, 2.0]])}
    masks = {"a": np.array([[True, False], [True, True]])}
    assert energy_lost(weights, masks) == {"a": pytest.approx(1 / 14)}
    assert energy_lost({"a": np.zeros((1, 1))}, {"a": np.array([[False]])}) == {"a": 0.0}


def test_by_weights_grows_with_the_rate(model: Path, measured: Table) -> None:
    harm = by_pruning(measured, model, [1], energy_lost)[1]
    low, high = (harm["conv1"][rate] for rate in (9.0, 18.0))
    assert 0.5 < low < high < 1


def test_output_error_is_that_of_pruning_one_layer(model: Path, measured: Table) -> None:
    draw = np.random.default_rng(1)
    inputs = [{"x": draw.standard_normal((1, 16, 6, 6), dtype=np.float32)} for _ in range(3)]
    found = by_pruning(measured, model, [1], output_error(model, inputs, get("onnxruntime")))[1]
    loaded = load(model)
    weights, infos = layer_weights(loaded), [layer.info for layer in find_layers(loaded)]
    masks = magnitude_masks(weights, plan_layers(measured.recipe(measured.variants[1]), infos))
    for layer, tensor in (("conv1", "a"), ("fc", "y")):
        dense, pruned = (_tensors(model, inputs, tensor, mask) for mask in (None, (layer, masks[layer])))
        expected = np.square(dense - pruned).sum() / np.square(dense).sum()
        rates = list(found[layer])
        assert found[layer][rates[0]] == pytest.approx(expected, rel=1e-4)


def _tensors(model: Path, inputs, tensor: str, pruned) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load(model)
    if pruned is not None:
        name, mask = pruned
        for initializer in proto.graph.initializer:
            if initializer.name == f"{name}.weight":
                array = numpy_helper.to_array(initializer) * (mask.T if name == "fc" else mask)
                initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    proto.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    run = ReferenceEvaluator(proto).run
    return np.stack([run([tensor], one)[0] for one in inputs])


def test_curves_are_interpolated_and_end_where_they_end(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"layers": {"conv1": {"4.5": 3.0}, "conv2": {"2.25": 0.1, "16": 1.1}}}))
    harm = from_curves(read_curves(path), table, [1])[1]
    assert harm["conv1"][1.0] == 0 and harm["conv1"][8.0] == np.inf
    assert harm["conv1"][2.25] == pytest.approx(3 * np.log(2.25) / np.log(4.5))
    assert harm["conv2"][2.25] == pytest.approx(0.1) and 0.1 < harm["conv2"][8.0] < 1.1
    assert search_rates(table, harm, Budget("ms", 5.2), 1).rates == {"conv1": 2.25, "conv2": 8.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no curves ("),
        ('{"layers": 3}', "no curves ("),
        (
            '{"layers": {"conv1": {"0.5": 1}}}',
            "no curves (rates are larger than 1, and harm is a finite number)",
        ),
        (
            '{"layers": {"conf1": {"4": 1}}}',
            "its layer conf1 is none of the model; allowed are conv1",
        ),
        (
            '{"layers": {"conv1": {"4": 1}, "conf2": {"4": 1}}}',
            "its layer conf2 is none of the model; allowed are conv1",
        ),
        ('{"layers": {}}', "there is no curve in it; allowed are conv1"),
        ("[" * 100_000, "no curves ("),
        (None, "cannot read the curves (No such file or directory)"),
    ],
)
def test_broken_curves(table: Table, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PconvError, match=re.escape(f"{path}: {message}")):
        from_curves(read_curves(path), table, [1])


def test_a_table_of_another_network(model: Path, table: Table) -> None:
    infos = [layer.info for layer in find_layers(load(model))]
    with pytest.raises(PconvError, match=r"measured on another network \(tiny\): it lacks layer fc"):
        check_fits(table, infos)


def test_a_table_of_a_part_of_the_network(model: Path, measured: Table) -> None:
    infos = [layer.info for layer in find_layers(load(model))]
    more = [*infos, replace(infos[0], name="conv9")]
    with pytest.raises(PconvError, match=r"measured on another network \(.*\): it lacks layer conv9"):
        check_fits(measured, more)
    check_fits(replace(measured, left_out=("conv9",)), more)


def test_harm_that_is_no_number(model: Path, measured: Table) -> None:
    with pytest.raises(PconvError, match=r"to layer conv1 is no finite number; look for NaN"):
        by_pruning(measured, model, [1], lambda weights, masks: dict.fromkeys(masks, float("nan")))


def test_harm_is_of_the_tables_own_rates(model: Path, measured: Table) -> None:
    """They may differ from today's in the last digit."""
    off = [
        replace(one, layers=tuple(replace(layer, rate=layer.rate * (1 + 1e-12)) for layer in one.layers))
        for one in measured.variants[1:]
    ]
    table = replace(measured, variants=(measured.variants[0], *off))
    harm = by_pruning(table, model, [1], energy_lost)[1]
    assert search_rates(table, harm, Budget("ms", 1e9), 1).harm == 0
    assert all(rate in harm[layer.name] for one in off for layer in one.layers for rate in [layer.rate])


def test_a_recipe_gives_exactly_the_rates_that_were_found(model: Path, measured: Table) -> None:
    infos = [layer.info for layer in find_layers(load(model))]
    harm = by_pruning(measured, model, [1], energy_lost)[1]
    found = search_rates(measured, harm, Budget("ms", 5.0), 1)
    recipe = recipe_of(found, measured, infos)
    assert recipe.layers["conv1"] in ("dense", 9.0, 18.0) and set(recipe.layers) == {"conv1", "fc"}
    rules = plan_layers(recipe, infos)
    assert {name: rule.compression_rate for name, rule in rules.items()} == found.rates
    assert any(rate > 1 for rate in found.rates.values())
