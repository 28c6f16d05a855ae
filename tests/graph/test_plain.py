"""A model as any engine reads it: what another engine computes of it is what pconv does."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pconv import graph
from pconv.errors import ModelError

from .models import node, rand
from .reference import execute


def make(shape, dtype=onnx.TensorProto.FLOAT, out=None):
    """Convolve, flatten by the input's own size, and multiply: weights of the type, a Constant and a Cast too."""
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    nodes = [
        node("Constant", "", "half", value=numpy_helper.from_array(np.array(0.5, numpy_type))),
        node("Mul", "x half", "h"),
        node("Conv", "h w", "c", pads=[1, 1, 1, 1]),
        node("Cast", "c", "d", to=dtype),
        node("Shape", "d", "s"),
        node("Gather", "s i", "n"),
        node("Concat", "n rest", "target", axis=0),
        node("Reshape", "d target", "y"),
    ]
    weights = {
        "w": rand(4, 3, 3, 3).astype(numpy_type),
        "i": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
    }
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, out)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("shape", [("N", 3, "h", "w"), (8, 3, 6, 5), (1, 3, 6, 5)])
@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE])
def test_every_engine_gets_what_pconv_computes(shape, dtype):
    source = graph.load(make(shape, dtype), inputs={"x": (1, 3, 6, 5)})
    before = ir.to_proto(source).SerializeToString()
    made = graph.plain(source)
    assert ir.to_proto(source).SerializeToString() == before
    assert graph.is_plain(made) and not graph.is_plain(source)
    proto = ir.to_proto(made)
    assert [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim] == [1, 120]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = rand(1, 3, 6, 5)
    (theirs,) = session.run(None, {"x": x})
    ours = execute(graph.view(graph.normalise(source)), {"x": x})
    np.testing.assert_allclose(theirs, ours["y"], rtol=1e-5, atol=1e-5)


def test_a_plain_model_is_left_alone():
    assert graph.is_plain(graph.load(make((1, 3, 6, 5), out=(1, 120))))


def test_nodes_of_one_name_get_names_as_recipes_have_them():
    """ONNX Runtime refuses two nodes of one name; a later one is renamed, unless all are called otherwise."""
    model = make((1, 3, 6, 5), out=(1, 120))
    for part, name in zip(model.graph.node, ("", "", "n", "n", "n_1", "n", "m", "m"), strict=True):
        part.name = name
    source = graph.load(model)
    assert not graph.is_plain(source)
    made = graph.plain(source)
    assert [part.name or "" for part in made.graph] == ["", "", "n", "n_1_1", "n_1", "n_2", "m", "m_1"]
    assert graph.is_plain(made)
    onnxruntime.InferenceSession(ir.to_proto(made).SerializeToString(), providers=["CPUExecutionProvider"])


def test_a_size_that_nobody_knows():
    with pytest.raises(ModelError, match=r"input x: its shape Nx3xhxw is not fixed\. Give it:"):
        graph.plain(graph.load(make(("N", 3, "h", "w"))))
