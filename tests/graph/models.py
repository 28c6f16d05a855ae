"""Small ONNX models for the tests, and the comparison with ONNX Runtime."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import helper, numpy_helper

from pconv import graph

from .reference import execute

FLOAT = onnx.TensorProto.FLOAT
INT = np.int64
IMAGE = (1, 3, 5, 7)


def floats(*values):
    return np.array(values, np.float32)


def ints(**values):
    return {name: np.array(value, INT) for name, value in values.items()}


def make(nodes, inputs, outputs, weights=None, opset=17, as_inputs=False) -> onnx.ModelProto:
    """Build a model; shapes by name, outputs by name alone, or with their types where these are no floats."""
    weights = weights or {}
    infos = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()]
    if as_inputs:
        infos += [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in weights.items()
        ]
    types = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, FLOAT)
    outs = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    body = helper.make_graph(nodes, "test", infos, outs, tensors)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model


def node(op, inputs, outputs, name="", **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attrs)


def rand(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def normalise(model, inputs=None) -> graph.GraphView:
    return graph.view(graph.normalise(graph.load(model, inputs=inputs)))


def ops(view: graph.GraphView) -> list[str]:
    return [n.op for n in view.nodes]


def check(model, *, tolerance=2e-5, inputs=None) -> graph.GraphView:
    """Normalise a model, run it by the reference, and compare with ONNX Runtime on the model as it was."""
    view = normalise(model, inputs)
    feeds = {name: rand(*view.shapes[name]) for name in view.inputs}
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    compare(session, view, feeds, tolerance)
    for n in view.nodes:
        assert {i: n.shapes[n.inputs[i]] for i in n.weights} == {i: w.shape for i, w in n.weights.items()}
    return view


def compare(session, view, feeds, tolerance=2e-5, dtype=np.float64) -> None:
    wanted = dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))
    got = execute(view, feeds, dtype)
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert got[name].shape == array.shape, name
        assert view.types.get(name, "float32") == array.dtype.name, name
        array = array.astype(np.float64)
        np.testing.assert_allclose(
            got[name], array, rtol=tolerance, atol=tolerance * max(1, np.abs(array).max())
        )
