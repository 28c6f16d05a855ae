"""Where models come from, and what is said when they are broken."""

import random
import re
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from pconv import graph
from pconv.errors import ModelError, PconvError

from .models import check, make, node, normalise, rand

WEIGHTS = {"conv1.weight": rand(4, 3, 3, 3), "conv1.bias": rand(4)}


def model(shape=(1, 3, 8, 8), **kwargs):
    nodes = [node("Conv", "x conv1.weight conv1.bias", "c"), node("Relu", "c", "y")]
    return make(nodes, {"x": shape}, ["y"], kwargs.pop("weights", WEIGHTS), **kwargs)


@pytest.fixture
def path(tmp_path):
    onnx.save(model(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_file_proto_and_ir_give_the_same(path):
    texts = {
        graph.describe(graph.normalise(graph.load(s))) for s in (path, str(path), model(), ir.load(path))
    }
    assert len(texts) == 1
    assert texts.pop().splitlines() == [
        "node   op        input    output   attributes",
        "x      (input)            1x3x8x8",
        "conv1  Conv      1x3x8x8  1x4x6x6  kernel=3x3 activation=relu",
        "y      (output)  1x4x6x6",
    ]


def test_the_source_stays_as_it_was():
    source = ir.from_proto(model())
    before = ir.to_proto(source).SerializeToString()
    loaded = graph.load(source, inputs=(1, 3, 9, 9))
    named = ir.to_proto(loaded).SerializeToString()
    graph.normalise(loaded)
    assert ir.to_proto(source).SerializeToString() == before
    assert ir.to_proto(loaded).SerializeToString() == named


def test_metadata_and_normalised_model_survive_a_file(tmp_path):
    source = model()
    source.metadata_props.add(key="pconv.sparsity", value="{}")
    normalised = graph.normalise(graph.load(source))
    ir.save(normalised, tmp_path / "n.onnx")
    again = graph.view(ir.load(tmp_path / "n.onnx"))
    assert again.metadata["pconv.sparsity"] == "{}"
    assert [n.name for n in again.nodes] == ["conv1"]


def test_initialisers_as_inputs():
    assert check(model(as_inputs=True)).inputs == ("x",)


def test_external_data(tmp_path):
    onnx.save(
        model(), tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=0
    )
    view = graph.view(graph.normalise(graph.load(tmp_path / "net.onnx")))
    np.testing.assert_array_equal(view.nodes[0].weights[1], WEIGHTS["conv1.weight"])
    assert not view.nodes[0].weights[1].flags.writeable
    (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:40])
    with pytest.raises(
        ModelError, match=r"initialiser conv1\.\w+: its data cannot be read .*Keep the external data"
    ):
        graph.load(tmp_path / "net.onnx")
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelError, match="its data cannot be read"):
        graph.load(tmp_path / "net.onnx")


@pytest.mark.parametrize("dtype", (np.float16, np.float64))
def test_other_floats_become_float32(dtype):
    source = model(weights={k: v.astype(dtype) for k, v in WEIGHTS.items()})
    source.graph.input[0].type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    view = normalise(source)
    kind = "FLOAT16" if dtype == np.float16 else "DOUBLE"
    assert graph.other_floats(graph.load(source)) == {kind: 2}
    assert graph.other_floats(graph.load(model())) == {}
    np.testing.assert_allclose(view.nodes[0].weights[1], WEIGHTS["conv1.weight"], atol=1e-3)


@pytest.mark.parametrize("batch", ("n", None, 1, 16))
def test_the_batch_becomes_one(batch):
    flat = make(
        [node("Relu", "x", "r"), node("Reshape", "r s", "y")], {"x": (batch, 3, 4, 4)}, ["y"],
        {"s": np.array([batch if isinstance(batch, int) else -1, 48])})  # fmt: skip
    view = normalise(flat)
    assert view.shapes["x"] == (1, 3, 4, 4) and view.nodes[-1].out_shape == (1, 48)


def test_free_sizes_are_asked_for():
    free = model(shape=("n", 3, "height", None))
    want = 'input x: its shape nx3xheightx? is not fixed. Give it: inputs={"x": (1, 3, 224, 224)}, or --input'
    with pytest.raises(ModelError, match=re.escape(want)):
        normalise(free)
    for inputs in (
        (2, 3, 9, 9),
        (1, 3, np.int64(9), 9),
        {"x": (1, 3, 9, 9)},
        [np.zeros((1, 3, 9, 9))],
        np.zeros((1, 3, 9, 9)),
    ):
        assert normalise(free, inputs).nodes[0].out_shape == (1, 4, 7, 7)


@pytest.mark.parametrize(
    "inputs, want",
    [
        ({"z": (1, 3, 8, 8)}, "input z: the model has no such input; its inputs are x."),
        ((3, 8, 8), "input x: shape 3x8x8 has 3 dimensions; the model's has 4."),
        ((1, 3, 0, 8), "is not usable; give whole sizes of at least 1"),
        ((1, 3, 8.0, 8), r"input shape \(1, 3, 8.0, 8\) is not usable; give whole sizes"),
        (
            (1, 3, 2**20, 2**20),
            "input x: a sample of 1x3x1048576x1048576 has 3,298,534,883,328 values; allowed: up to",
        ),
        ((1,), "input x: shape 1 has 1 dimensions; the model's has 4."),
        ([(1, 3, 8, 8)] * 2, "2 inputs given; the model has 1: x."),
        ({"x": "large"}, "input shape 'large' is not usable"),
    ],
)
def test_wrong_shapes(inputs, want):
    with pytest.raises(ModelError, match=want):
        normalise(model(), inputs)


def test_not_a_model(tmp_path):
    def says(source, want):
        with pytest.raises(ModelError, match=want) as caught:
            graph.load(source)
        assert "\n" not in str(caught.value)

    says(tmp_path / "no.onnx", "no.onnx: no such file")
    says(tmp_path, "this is a directory")
    (tmp_path / "a").write_bytes(b"")
    says(tmp_path / "a", "the file is empty")
    (tmp_path / "a").write_bytes(b"PK\x03\x04 this is a zip")
    says(tmp_path / "a", "not an ONNX model, or cut off")
    (tmp_path / "a").write_bytes(b"\x7fELF\x02\x01\x01")
    says(tmp_path / "a", "this is a compiled model; allowed is the ONNX file it came from")
    (tmp_path / "a").write_bytes(b"\x08\x08")
    says(tmp_path / "a", "it has no nodes: not an ONNX model, or cut off")
    says(onnx.ModelProto(), "the ModelProto: it has no nodes")
    says(42, "cannot load a int; allowed: a path")


def test_truncated_and_corrupted_files_give_one_line(path):
    data = path.read_bytes()
    rng = random.Random(0)
    for i in range(300):
        broken = bytearray(data[: rng.randrange(len(data))] if i % 2 else data)
        for _ in range(0 if i % 2 else rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        path.write_bytes(broken)
        try:
            graph.normalise(graph.load(path))
        except ModelError as error:
            assert "\n" not in str(error)


def test_external_data_stays_in_the_directory(tmp_path):
    (tmp_path / "sub").mkdir()
    onnx.save(
        model(), tmp_path / "sub" / "net.onnx", save_as_external_data=True, location="n.bin", size_threshold=0
    )
    moved = onnx.load(tmp_path / "sub" / "net.onnx", load_external_data=False)
    for tensor in moved.graph.initializer:
        tensor.external_data[0].value = "../n.bin"
    (tmp_path / "sub" / "net.onnx").write_bytes(moved.SerializeToString())
    with pytest.raises(
        ModelError, match=r"its data lies in ../n.bin; allowed: a file in the model's own directory"
    ):
        graph.load(tmp_path / "sub" / "net.onnx")


@pytest.mark.parametrize("field", ["raw_data", "float_data"])
def test_an_initialiser_without_values_is_not_taken_for_zeros(field, tmp_path):
    proto = model()
    (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "conv1.weight")
    if field == "float_data":
        weight.float_data.extend(onnx.numpy_helper.to_array(weight).ravel())
    weight.ClearField("raw_data")
    if field == "float_data":
        graph.load(proto)  # as good a place
        weight.ClearField("float_data")
    onnx.save(proto, path := tmp_path / "net.onnx")
    with pytest.raises(
        ModelError,
        match=r"net\.onnx: initialiser conv1.weight has a shape and no values. Export the model with",
    ):
        graph.load(path)


def test_names_that_are_not_text():
    broken = model()
    broken.graph.node[0].name = "two\nlines"
    with pytest.raises(
        ModelError, match=r"the name 'two\\nlines' is not printable text: the model is damaged"
    ):
        graph.load(broken)


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
def test_weights_that_are_not_finite(value):
    broken = WEIGHTS["conv1.weight"].copy()
    broken[0, 0, 0, :2] = value
    with pytest.raises(
        ModelError, match=r"initialiser conv1.weight: 2 of 108 values are NaN or infinite; allowed"
    ):
        graph.load(model(weights=WEIGHTS | {"conv1.weight": broken}))


def test_undefined_value_and_missing_opset(caplog):
    undefined = model()
    undefined.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match=r"^Relu_1: its input nowhere is computed nowhere before it"):
        normalise(undefined)
    assert not caplog.records  # the reader's own warning says less
    with pytest.raises(ModelError, match=r"the onnx_ir.Model is not valid"):
        graph.load(ir.from_proto(undefined))
    no_opset = model()
    del no_opset.opset_import[:]
    with pytest.raises(PconvError, match="names no ONNX opset"):
        normalise(no_opset)


def test_importing_the_graph_room_does_not_import_torch():
    code = "import pconv.graph, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("kind, name", [("initializer", "conv1.weight"), ("input", "x")])
def test_a_name_that_is_there_twice(kind, name):
    """Readers differ in which of the two they take."""
    proto = model()
    places = getattr(proto.graph, kind)
    places.append(next(place for place in places if place.name == name))
    said = {"initializer": "initialiser"}.get(kind, kind)
    with pytest.raises(ModelError, match=f"the ModelProto: {said} {name} is there 2 times. Export the model"):
        graph.load(proto)
