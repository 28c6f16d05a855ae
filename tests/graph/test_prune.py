"""Pruning of ONNX models: the same zeros as in torch, in every way a model can store its weights."""

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pconv.errors import BuildError, ModelError, RecipeError
from pconv.graph import normalise
from pconv.graph.prune import (
    broken_promises,
    find_layers,
    layer_weights,
    prune_model,
    read_sparsity,
    save,
    write_sparsity,
)
from pconv.patterns import library
from pconv.recipe import Recipe
from pconv.sparsity import METADATA_KEY, SparsityMap

RECIPE = Recipe(compression_rate=4.5, fc_group=2)
GENERATOR = np.random.default_rng(0)


def random(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def make(nodes: list, weights: dict[str, np.ndarray], out: str = "y", ir_version: int = 8) -> ir.Model:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", inputs, outputs, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)
    return ir.from_proto(proto)


def network() -> ir.Model:
    return make(
        [
            helper.make_node("Conv", ["x", "stem.weight"], ["a"], "Conv_0", pads=[1] * 4),
            helper.make_node("Conv", ["a", "w1", "b1"], ["b"], "second", pads=[1] * 4),
            helper.make_node("Conv", ["b", "depth.weight"], ["c"], "Conv_2", group=16, pads=[1] * 4),
            helper.make_node("Conv", ["c", "point.weight"], ["d"], "Conv_3"),
            helper.make_node("GlobalAveragePool", ["d"], ["e"]),
            helper.make_node("Flatten", ["e"], ["f"]),
            helper.make_node("Gemm", ["f", "fc1.weight"], ["g"], "Gemm_4", transB=1),
            helper.make_node("Gemm", ["g", "fc2.weight"], ["h"], "Gemm_5"),
            helper.make_node("MatMul", ["h", "m"], ["y"], "mat"),
        ],
        {
            "stem.weight": random(16, 3, 3, 3),
            "w1": random(16, 16, 3, 3),
            "b1": random(16),
            "depth.weight": random(16, 1, 3, 3),
            "point.weight": random(36, 16, 1, 1),
            "fc1.weight": random(18, 36),
            "fc2.weight": random(18, 9),
            "m": random(9, 4),
        },
    )


def test_layers_are_found_under_their_weights_names() -> None:
    infos = {layer.name: layer.info for layer in find_layers(network())}
    assert {name: (info.kind, info.shape) for name, info in infos.items()} == {
        "stem": ("conv", (16, 3, 3, 3)),
        "second": ("conv", (16, 16, 3, 3)),
        "depth": ("depthwise", (16, 1, 3, 3)),
        "point": ("conv", (36, 16, 1, 1)),
        "fc1": ("fc", (18, 36)),
        "fc2": ("fc", (9, 18)),
        "mat": ("fc", (4, 9)),
    }
    assert [name for name, info in infos.items() if info.is_first] == ["stem"]
    assert infos["stem"].aliases == ("Conv_0",)


def test_pruning_leaves_zeros_and_a_map(tmp_path: Path) -> None:
    model = network()
    before = layer_weights(model)
    pruned, sparsity = prune_model(model, RECIPE)
    save(pruned, tmp_path / "pruned.onnx")
    reloaded = ir.load(tmp_path / "pruned.onnx")

    weights = layer_weights(reloaded)
    assert read_sparsity(reloaded) == sparsity == SparsityMap.detect(weights)
    assert sparsity.verify(weights, library("scp8")) == []
    for name, array in weights.items():
        assert np.array_equal(array, before[name] * sparsity.layers[name].mask())
    rates = {name: layer.compression_rate for name, layer in sparsity.layers.items()}
    assert rates == pytest.approx(
        {"stem": 2.25, "second": 4.5, "depth": 2.25, "point": 4, "fc1": 4.5, "fc2": 4.5, "mat": 4.5}
    )
    assert sparsity.layers["fc1"].group == 2

    # The model that was given is untouched, and so is everything but weights.
    assert METADATA_KEY not in model.metadata_props
    assert all(np.array_equal(before[name], array) for name, array in layer_weights(model).items())
    x = random(1, 3, 8, 8)
    session = onnxruntime.InferenceSession(tmp_path / "pruned.onnx", providers=["CPUExecutionProvider"])
    assert np.isfinite(session.run(None, {"x": x})[0]).all()


def test_a_recipe_may_use_either_name() -> None:
    recipe = Recipe(compression_rate=4.5, layers={"Conv_3": "dense", "fc1": "dense"}, exclude=("second",))
    _, sparsity = prune_model(network(), recipe)
    dense = [name for name, layer in sparsity.layers.items() if layer.density == 1]
    assert dense == ["second", "point", "fc1"]


def test_filters_that_do_not_divide_into_groups_are_refused() -> None:
    for group in (0, 3, 32):
        model = make(
            [helper.make_node("Conv", ["x", "c.weight"], ["y"], group=group)],
            {"c.weight": random(16, 3, 3, 3)},
        )
        with pytest.raises(
            ModelError, match=rf"c: its 16 filters do not divide into group = {group}; allowed"
        ):
            prune_model(model)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"layers\.secnd: .*did you mean second"):
        prune_model(network(), Recipe(layers={"secnd": 4}))


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_types_are_kept(dtype: int) -> None:
    array = random(8, 8, 3, 3)
    weight = helper.make_tensor("conv.weight", dtype, array.shape, array.ravel())
    model = make([helper.make_node("Conv", ["x", "conv.weight"], ["y"])], {})
    value = ir.val("conv.weight", const_value=ir.from_proto(weight))
    model.graph.register_initializer(value)
    model.graph[0].replace_input_with(1, value)
    pruned, sparsity = prune_model(model, RECIPE)
    tensor = pruned.graph.initializers["conv.weight"].const_value
    assert tensor.dtype == ir.DataType(dtype)
    assert np.count_nonzero(tensor.numpy()) == sparsity.layers["conv"].kept_elems == 8 * 4 * 4


def test_weights_in_constant_nodes_and_behind_identity() -> None:
    constant = numpy_helper.from_array(random(16, 3, 3, 3))
    model = make(
        [
            helper.make_node("Constant", [], ["w"], value=constant),
            helper.make_node("Identity", ["w2"], ["w2_again"]),
            helper.make_node("Conv", ["x", "w"], ["a"], "one"),
            helper.make_node("Conv", ["a", "w2_again"], ["y"], "two"),
        ],
        {"w2": random(16, 16, 3, 3)},
    )
    pruned, sparsity = prune_model(model, RECIPE)
    weights = layer_weights(ir.from_proto(ir.to_proto(pruned)))
    assert list(weights) == ["one", "two"]
    assert sparsity.verify(weights, library("scp8")) == []
    assert np.count_nonzero(weights["one"]) == 16 * 3 * 4


def test_external_data(tmp_path: Path) -> None:
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    source.mkdir(), elsewhere.mkdir()
    ir.save(network(), source / "model.onnx", external_data="model.data", size_threshold_bytes=0)
    model = ir.load(source / "model.onnx")
    pruned, sparsity = prune_model(model, RECIPE)
    save(pruned, elsewhere / "pruned.onnx")
    assert os.listdir(elsewhere) == ["pruned.onnx"]
    sparsity.check(layer_weights(ir.load(elsewhere / "pruned.onnx")))
    onnxruntime.InferenceSession(elsewhere / "pruned.onnx", providers=["CPUExecutionProvider"])
    save(pruned, source / "model.onnx")  # over its own source
    sparsity.check(layer_weights(ir.load(source / "model.onnx")))


def test_models_beyond_protobufs_limit_keep_their_data_beside(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("pconv.graph.prune._PROTOBUF_LIMIT_BYTES", 1000)
    pruned, sparsity = prune_model(network(), RECIPE)
    save(pruned, tmp_path / "pruned.onnx")
    assert sorted(os.listdir(tmp_path)) == ["pruned.onnx", "pruned.onnx.data"]
    sparsity.check(layer_weights(ir.load(tmp_path / "pruned.onnx")))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    save(network(), tmp_path / "new" / "pruned.onnx")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pruned.onnx"]
    with pytest.raises(BuildError, match=r"null/pruned\.onnx: cannot be written \(Not a directory"):
        save(network(), Path("/dev/null/pruned.onnx"))


def shared() -> ir.Model:
    return make(
        [
            helper.make_node("Conv", ["x", "c.weight"], ["a"], "first", pads=[1] * 4),
            helper.make_node("Identity", ["c.weight"], ["again"]),
            helper.make_node("Conv", ["a", "again"], ["y"], "last", pads=[1] * 4),
        ],
        {"c.weight": random(3, 3, 3, 3)},
    )


def test_a_shared_weight_is_refused_unless_dense() -> None:
    advice = r'Leave them dense with --exclude c --exclude last, in a recipe with exclude = \["c", "last"\]'
    with pytest.raises(
        ModelError, match=rf"c: its weight c\.weight is shared \(first, last\); .*reader\. {advice}"
    ):
        prune_model(shared(), RECIPE)
    _, sparsity = prune_model(shared(), Recipe(exclude=("c", "last")))
    assert all(layer.density == 1 for layer in sparsity.layers.values())
    with pytest.raises(ModelError, match=r"last: its weight c\.weight is shared"):
        prune_model(shared(), Recipe(exclude=("first",)))


def test_layers_of_one_node_name_are_two_layers() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "c"),
        helper.make_node("Conv", ["a", "w1"], ["b"], "n", pads=[1] * 4),
        helper.make_node("Conv", ["b", "w2"], ["d"], "n", pads=[1] * 4),
        helper.make_node("Conv", ["d", "c.weight"], ["y"], "n", pads=[1] * 4),
    ]
    shapes = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "c.weight": (4, 16, 3, 3)}
    model = make(nodes, {name: random(*shape) for name, shape in shapes.items()})
    recipe = Recipe(compression_rate=4.5, first="dense", layers={"n": "dense", "n_1": 9})
    pruned, sparsity = prune_model(model, recipe)
    assert {name: layer.shape for name, layer in sparsity.layers.items()} == {
        "n": shapes["w1"], "n_1": shapes["w2"], "c": shapes["c.weight"],
    }  # fmt: skip
    assert [layer.compression_rate for layer in sparsity.layers.values()] == [1, 9, 4.5]
    again = ir.from_proto(ir.to_proto(pruned))
    assert broken_promises(again) == []
    convs = [node.name for node in normalise(again).graph if node.op_type == "Conv"]
    assert convs == list(sparsity.layers), "the compiler's names are those of the map"


def test_a_weight_behind_identity_has_one_name_everywhere() -> None:
    nodes = [
        helper.make_node("Identity", ["c.weight"], ["again"]),
        helper.make_node("Conv", ["x", "again"], ["y"], "n", pads=[1] * 4),
    ]
    model = make(nodes, {"c.weight": random(4, 3, 3, 3)})
    assert [layer.name for layer in find_layers(model)] == ["c"]
    assert [node.name for node in normalise(model).graph] == ["c"]
    nodes[0].input[0] = "again"
    with pytest.raises(ModelError, match="its input again is computed nowhere before it"):
        normalise(make(nodes, {}))


def test_a_weight_that_is_an_output_is_refused() -> None:
    model = make([helper.make_node("Conv", ["x", "c.weight"], ["y"])], {"c.weight": random(4, 3, 3, 3)})
    model.graph.outputs.append(model.graph.initializers["c.weight"])
    with pytest.raises(ModelError, match="is shared"):
        prune_model(model, RECIPE)


def test_nothing_to_prune() -> None:
    with pytest.raises(ModelError, match="no 2-D Conv, Gemm or MatMul with constant float weights"):
        prune_model(make([helper.make_node("Relu", ["x"], ["y"])], {}))


def test_weights_that_are_not_finite_are_named() -> None:
    weight = random(4, 3, 3, 3)
    weight[0, 0, 0, 0] = np.nan
    model = make([helper.make_node("Conv", ["x", "c.weight"], ["y"])], {"c.weight": weight})
    with pytest.raises(ModelError, match="c: 1 weights are NaN or infinite"):
        prune_model(model, RECIPE)


def test_metadata() -> None:
    model = network()
    assert read_sparsity(model) is None
    sparsity = SparsityMap.detect(layer_weights(model))
    write_sparsity(model, sparsity)
    assert read_sparsity(model) == sparsity
    model.metadata_props[METADATA_KEY] = "{"
    with pytest.raises(ModelError, match="sparsity map: cannot be read"):
        read_sparsity(model)


@pytest.mark.torch
def test_torch_and_onnx_agree(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from pconv.pruning import prune

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(16 * 16, 8),
    ).eval()
    program = torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), dynamo=True, verbose=False)
    recipe = Recipe(patterns="natural-6", compression_rate=4.5, group=2)
    pruned, sparsity = prune_model(program.model, recipe)
    assert prune(module, recipe).finish() == sparsity
    weights = layer_weights(pruned)
    assert list(weights) == ["0", "2", "5"]
    for name, array in weights.items():
        assert np.array_equal(array, module.get_submodule(name).weight.detach().numpy())
