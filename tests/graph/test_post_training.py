"""Post-training pruning of ONNX models: nearer to the dense model than magnitude, everything else as it was."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime")
import onnxruntime

from pconv.errors import InputError, ModelError, UnsupportedError
from pconv.graph import load
from pconv.graph.post_training import prune_calibrated
from pconv.graph.prune import layer_weights, prune_model, read_sparsity
from pconv.patterns import library
from pconv.recipe import Recipe

RECIPE = Recipe(compression_rate=4.5, rate_fc=2, fc_group=1, first="dense")
SIZE = 10


def make(batch: int | str = "n", scale: float = 1.0, opset: int = 17) -> onnx.ModelProto:
    """conv, a residual block whose second conv has no bias, a strided SAME conv, and MatMul + Gemm."""
    draw = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        fan = np.prod(shape[1:]) or 1
        values = (
            draw.standard_normal(shape) * (2 / fan) ** 0.5 if len(shape) > 1 else draw.standard_normal(shape)
        )
        return numpy_helper.from_array(values.astype(np.float32), name)

    weights = [
        constant("stem.weight", 8, 3, 3, 3),
        constant("stem.bias", 8),
        constant("a.weight", 16, 8, 3, 3),
        constant("a.bias", 16),
        constant("b.weight", 8, 16, 3, 3),
        constant("down.weight", 16, 8, 3, 3),
        constant("up.weight", 16, 24),
        constant("fc.weight", 12, 24),
        constant("fc.bias", 12),
        numpy_helper.from_array(np.array([0, 16]), "shape"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["s"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["s"], ["sr"]),
        helper.make_node("Conv", ["sr", "a.weight", "a.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["ar"]),
        helper.make_node("Conv", ["ar", "b.weight"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "sr"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["sumr"]),
        helper.make_node("Conv", ["sumr", "down.weight"], ["d"], strides=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("Relu", ["d"], ["dr"]),
        helper.make_node("GlobalAveragePool", ["dr"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "up.weight"], ["u"]),
        helper.make_node("Relu", ["u"], ["ur"]),
        helper.make_node("Gemm", ["ur", "fc.weight", "fc.bias"], ["y"], transB=1, alpha=scale),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 12])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((80, 3, SIZE, SIZE)).astype(np.float32)
    return x + np.roll(x, 1, 2) + np.roll(x, 1, 3)


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"x": one[None]})[0] for one in x])


def test_the_refit_repairs_most_of_what_magnitude_breaks(images: np.ndarray) -> None:
    model = load(make())
    before = ir.to_proto(model).SerializeToString()
    heard: list[str] = []
    pruned, sparsity = prune_calibrated(
        model, images, RECIPE, progress=lambda what, done, total: heard.append(what)
    )
    assert ir.to_proto(model).SerializeToString() == before
    fresh = images[::-1, :, ::-1].copy()
    wanted = run(model, fresh)
    error, cut = (
        np.square(run(net, fresh) - wanted).mean() for net in (pruned, prune_model(model, RECIPE)[0])
    )
    assert error < 0.5 * cut
    onnx.checker.check_model(ir.to_proto(pruned), full_check=True)
    assert sparsity.verify(layer_weights(pruned), library("scp8")) == []
    assert read_sparsity(pruned) == sparsity
    assert sparsity.layers["a"].compression_rate == 4.5
    assert sparsity.layers["up"].compression_rate == 2
    assert heard == [f"refitting {name}" for name in ("stem", "a", "b", "down", "up", "fc")]
    assert [value.name for value in pruned.graph.inputs] == ["x"]


def test_a_calibrated_model_is_calibrated_again(images: np.ndarray) -> None:
    once, first = prune_calibrated(load(make()), images[:20], RECIPE)
    twice, second = prune_calibrated(load(ir.to_proto(once)), images[:20], RECIPE)
    onnx.checker.check_model(ir.to_proto(twice), full_check=True)
    assert second == first
    assert len(twice.graph.initializers) == len(once.graph.initializers), "the old biases are gone"
    np.testing.assert_allclose(run(twice, images[:4]), run(once, images[:4]), rtol=0.1, atol=0.1)


def test_what_a_layer_adds_from_constants_is_there_for_every_batch(images: np.ndarray) -> None:
    """An Expand, which needs no image; as a part of the bias it gives the same."""
    shift = np.linspace(-1, 1, 16, dtype=np.float32)
    proto, folded = make(), make()
    proto.graph.node[3].input[0] = "shifted"
    proto.graph.node.insert(3, helper.make_node("Add", ["a", "wide"], ["shifted"]))
    proto.graph.node.insert(0, helper.make_node("Expand", ["shift", "size"], ["wide"]))
    constants = {"shift": shift.reshape(1, 16, 1, 1), "size": np.array([1, 16, SIZE, SIZE])}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    (bias,) = (tensor for tensor in folded.graph.initializer if tensor.name == "a.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + shift, bias.name))
    one, other = (prune_calibrated(load(model), images, RECIPE)[0] for model in (proto, folded))
    np.testing.assert_allclose(run(one, images[:4]), run(other, images[:4]), rtol=1e-3, atol=1e-4)


def test_files_for_one_image_calibrate_as_well(images: np.ndarray) -> None:
    many, _ = prune_calibrated(load(make()), images[:20], RECIPE)
    single, _ = prune_calibrated(load(make(1)), images[:20], RECIPE)
    np.testing.assert_allclose(
        layer_weights(many)["down"], layer_weights(single)["down"], rtol=1e-3, atol=1e-4
    )


def test_a_weight_in_a_constant_node_is_replaced(images: np.ndarray) -> None:
    proto = make()
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    proto.graph.initializer.remove(tensors["b.weight"])
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["b.weight"], value=tensors["b.weight"]))
    moved, sparsity = prune_calibrated(load(proto), images[:20], RECIPE)
    usual, _ = prune_calibrated(load(make()), images[:20], RECIPE)
    assert sparsity.layers["b"].compression_rate == 4.5
    np.testing.assert_allclose(run(moved, images[:4]), run(usual, images[:4]), rtol=1e-3, atol=1e-4)


def test_a_shared_weight_that_stays_dense_stays(images: np.ndarray) -> None:
    proto = make()
    proto.graph.node[11].input[1] = "shared"
    proto.graph.initializer.append(numpy_helper.from_array(np.eye(16, 24, dtype=np.float32), "shared"))
    proto.graph.node.append(helper.make_node("MatMul", ["flat", "shared"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 24]))
    recipe = Recipe(compression_rate=4.5, rate_fc=1, first="dense")
    pruned, _ = prune_calibrated(load(proto), images, recipe)
    shared = [array for name, array in layer_weights(pruned).items() if name.startswith("MatMul")]
    assert len(shared) == 2
    for array in shared:
        np.testing.assert_array_equal(array, np.eye(16, 24).T)


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (
            make(),
            np.zeros((4, 3, 9, 10)),
            InputError,
            r"calibration images of shape \[4, 3, 9, 10\]; .* 1 of 3x10x10",
        ),
        (make(8), np.zeros((4, 3, SIZE, SIZE)), InputError, r"allowed are at least 8 of 3x10x10"),
        (
            make(scale=2.0),
            np.ones((4, 3, SIZE, SIZE)),
            UnsupportedError,
            r"fc \(Gemm\): alpha, .* exclude = \[\"fc\"\]",
        ),
        (
            make(),
            np.full((4, 3, SIZE, SIZE), np.nan),
            ModelError,
            r"stem: it computes NaN|a: it computes NaN",
        ),
    ],
)
def test_what_is_refused(model: onnx.ModelProto, x: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prune_calibrated(load(model), x.astype(np.float32), RECIPE)


def test_a_computed_bias_is_refused(images: np.ndarray) -> None:
    proto = make()
    proto.graph.node[2].input[2] = "wide"
    proto.graph.node.insert(0, helper.make_node("Exp", ["a.bias"], ["wide"]))
    with pytest.raises(
        UnsupportedError, match=r"a \(Conv\): .* or its bias is unusual; .* exclude = \[\"a\"\]"
    ):
        prune_calibrated(load(proto), images, RECIPE)


def test_two_inputs_are_refused(images: np.ndarray) -> None:
    proto = make()
    proto.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["n", 12]))
    with pytest.raises(UnsupportedError, match="the model has 2 inputs; calibration allows one"):
        prune_calibrated(load(proto), images, RECIPE)


def test_what_onnx_runtime_cannot_run_is_said(images: np.ndarray) -> None:
    proto = make()
    proto.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"NoSuchOperator: ONNX Runtime cannot run it for calibration"):
        prune_calibrated(load(proto), images, RECIPE)
