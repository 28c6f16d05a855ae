"""What is unsupported is named: node, operator, what is allowed, the next step."""

import re
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import pconv
from pconv.errors import ModelError, UnsupportedError
from pconv.graph.shapes import MOST_DIMENSIONS

from .models import INT, ints, make, node, normalise, rand

X4 = (1, 4, 6, 6)


def w(*shape):
    return {"w": rand(*shape)}


CASES = {
    "unknown operator": (
        node("ThresholdedRelu", "x", "y", name="n"), X4, {},
        "n (ThresholdedRelu): this operator is unsupported; allowed: the "),
    "misspelt operator": (
        node("LeakyRelus", "x", "y", name="n"), X4, {},
        "n (LeakyRelus): this operator is unsupported (did you mean LeakyRelu?); allowed: the "),
    "foreign domain": (
        node("FusedConv", "x", "y", name="n", domain="com.microsoft"), X4, {},
        "n (com.microsoft.FusedConv): this operator is unsupported"),
    "3-D convolution": (
        node("Conv", "x w", "y", name="n"), (1, 4, 6, 6, 6), w(4, 4, 3, 3, 3),
        "n (Conv): its input has shape [1, 4, 6, 6, 6]; allowed: 4 dimensions [n, c, h, w]."),
    "computed weights": (
        node("Conv", "x x", "y", name="n"), X4, {},
        "n (Conv): input 1 is computed at run time; allowed: a constant. Export the model with fixed"),
    "cropping pads": (
        node("Conv", "x w", "y", name="n", pads=[-1, 0, 0, 0]), X4, w(4, 4, 3, 3),
        "n (Conv): pads [-1, 0, 0, 0] crop the image; allowed: pads of at least 0."),
    "dilated pooling": (
        node("MaxPool", "x", "y", name="n", kernel_shape=[2, 2], dilations=[2, 2]), X4, {},
        "n (MaxPool): dilations [2, 2]; allowed: [1, 1] in pooling."),
    "mean over the batch": (
        node("ReduceMean", "x", "y", name="n", axes=[0, 2]), X4, {},
        "n (ReduceMean): it is over axes [0, 2]; allowed: any axes but the batch."),
    "no filters": (
        node("Conv", "x w", "y", name="n"), X4, w(0, 4, 3, 3),
        "n (Conv): input 1 has shape [0, 4, 3, 3]; allowed: sizes of at least 1."),
    "quantised": (
        node("QuantizeLinear", "x w", "y", name="n"), X4, {"w": np.array(0.5, np.float32)},
        "n (QuantizeLinear): the model is quantised; allowed: float weights and activations. Give the float model"),
    "transposed input": (
        node("Gemm", "x w", "y", name="n", transA=1), (1, 4), w(1, 4),
        "n (Gemm): transA = 1; allowed: transA = 0."),
    "batched matrices": (
        node("MatMul", "x w", "y", name="n"), (1, 4), w(2, 4, 4),
        "n (MatMul): its weight has shape [2, 4, 4]; allowed: one matrix [k, out]."),
    "gemm over words": (
        node("Gemm", "x w", "y", name="n"), (1, 4, 6), w(6, 6),
        "n (Gemm): its input has shape [1, 4, 6]; allowed: 2 dimensions [n, k]."),
    "layer norm over an image": (
        node("LayerNormalization", "x w", "y", name="n", axis=1), X4, {"w": np.ones((4, 6, 6), np.float32)},
        "n (LayerNormalization): axis 1 of [1, 4, 6, 6]; allowed: the last axis."),
    "softmax over the batch": (
        node("Softmax", "x", "y", name="n", axis=0), X4, {},
        "n (Softmax): axis 0; allowed: any axis but the batch."),
    "concat of samples": (
        node("Concat", "x x", "y", name="n", axis=0), ("n", 4, 6, 6), {},
        "n (Concat): axis 0; allowed: any axis but the batch where that is open. Export the model for one sample."),
    "the first sample where the batch is open": (
        node("Gather", "x i", "y", name="n", axis=0), ("n", 4, 6, 6), ints(i=[0]),
        "n (Gather): it takes samples of the batch; allowed: the only one, or channels, rows and columns."),
    "slice of the first sample where the batch is open": (
        node("Slice", "x s e a", "y", name="n"), ("n", 4, 6, 6), ints(s=[0], e=[1], a=[0]),
        "n (Slice): it takes some samples of the batch; allowed: channels, rows and columns."),
    "split of samples": (
        node("Split", "x", "y", name="n", axis=0), X4, {},
        "n (Split): it splits the batch; allowed: any other axis."),
    "split with an empty part": (
        node("Split", "x s", "y z", name="n", axis=1), X4, ints(s=[4, 0]),
        "n (Split): its sizes are [4, 0]; allowed: at least 1 for each part."),
    "gemm with a bias for each sample": (
        node("Gemm", "x w b", "y", name="n"), (2, 4), w(4, 3) | {"b": rand(2, 3)},
        "n (Gemm): its bias has shape [2, 3]; allowed: the same numbers for every row."),
    "matrix over the batch": (
        node("MatMul", "w x", "y", name="n"), (4, 3), w(2, 4),
        "n (MatMul): it adds up the samples of [1, 3]; allowed: any axis but the batch."),
    "transposed batch": (
        node("Transpose", "x", "y", name="n", perm=[1, 0, 2, 3]), (2, *X4[1:]), {},
        "n (Transpose): one sample becomes [4, 1, 6, 6], so it mixes or drops the batch; allowed: a first"),
    "a constant that does not fit": (
        node("Add", "x w", "y", name="n"), X4, w(5),
        "n (Add): a constant of shape [5] with an activation [1, 4, 6, 6]; allowed: one that has at most the"),
    "slopes per column": (
        node("PRelu", "x w", "y", name="n"), X4, w(6), "n (PRelu): slopes of shape [6] with an activation"),
    "high power": (
        node("Pow", "x w", "y", name="n"), X4, {"w": np.array(17, np.float32)},
        "n (Pow): its exponent is 17; allowed: whole ones from 1 to 16, or fractions."),
    "powers of each": (
        node("Pow", "x w", "y", name="n"), X4, {"w": np.ones(6, np.float32)},
        "n (Pow): its exponent has shape [6]; allowed: one number."),
    "einsum of three": (
        node("Einsum", "x x x", "y", name="n", equation="abij,abjk,abkl->abil"), (1, 2, 3, 3), {},
        "n (Einsum): the equation abij,abjk,abkl->abil; allowed: one product of two matrices."),
    "einsum that sums alone": (
        node("Einsum", "x x", "y", name="n", equation="abij,abik->abk"), X4, {},
        "n (Einsum): the equation abij,abik->abk; allowed: one product of two matrices."),
    "einsum over the batch": (
        node("Einsum", "x x", "y", name="n", equation="abij,abkj->bik"), X4, {},
        "n (Einsum): the equation abij,abkj->bik; allowed: the batch first in all of it."),
    "negative depth": (
        node("Celu", "x", "y", name="n", alpha=-0.5), X4, {},
        "n (Celu): its alpha is -0.5; allowed: more than 0."),
    "division by zero": (
        node("Div", "x w", "y", name="n"), X4, {"w": np.zeros(1, np.float32)},
        "n (Div): its divisor has zeros; allowed: a constant without zeros."),
    "empty slice": (
        node("Slice", "x s e a", "y", name="n"), X4, ints(s=[3], e=[3], a=[2]),
        "n (Slice): it takes nothing; allowed:"),
    "slice of the batch": (
        node("Slice", "x s e a", "y", name="n"), (4, 4, 6, 6), ints(s=[0], e=[2], a=[0]),
        "n (Slice): it takes some samples of the batch; allowed: channels, rows and columns."),
    "wrapped pad": (
        node("Pad", "x p", "y", name="n", mode="wrap"), X4, ints(p=[0, 0, 1, 1, 0, 0, 1, 1]),
        "n (Pad): mode 'wrap'; allowed: constant, reflect, edge."),
    "reflected channels": (
        node("Pad", "x p", "y", name="n", mode="reflect"), X4, ints(p=[0, 1, 0, 0, 0, 1, 0, 0]),
        "n (Pad): mode 'reflect' over channels; allowed: 'constant' there."),
    "pad with infinities": (
        node("Pad", "x p v", "y", name="n"), X4,
        ints(p=[0, 0, 1, 1, 0, 0, 1, 1]) | {"v": np.array(-np.inf, np.float32)},
        "n (Pad): its value is -inf; allowed: a finite value; -inf where only MaxPool reads it, and no output is it."),
    "resize of channels": (
        helper.make_node("Resize", ["x", "", "s"], ["y"], "n"), X4, {"s": np.array([1, 2, 1, 1], np.float32)},
        "n (Resize): it resizes the batch or the channels; allowed: rows and columns."),
    "antialiased resize": (
        helper.make_node("Resize", ["x", "", "s"], ["y"], "n", mode="linear", antialias=1), X4,
        {"s": np.array([1, 1, 0.5, 0.5], np.float32)},
        "n (Resize): antialias 1; allowed: 0."),
    "computed filters": (
        node("ConvTranspose", "x x", "y", name="n"), X4, {},
        "n (ConvTranspose): input 1 is computed at run time; allowed: a constant. Export the model with fixed"),
    "pad of the batch": (
        node("Pad", "x p", "y", name="n"), X4, ints(p=[1, 0, 0, 0, 0, 0, 0, 0]),
        "n (Pad): pads [1, 0, 0, 0, 0, 0, 0, 0];"),
    "resized too far": (
        node("Resize", "x r s", "y", name="n"), (1, 2, 200_000),
        {"r": np.zeros(0, np.float32), "s": np.array([1, 1, 2], np.float32)},
        "n (Resize): it makes 400,000 positions of 200,000; allowed: up to 67,108,864 for the product of both."),
    "cast to text": (
        node("Cast", "x", "y", name="n", to=8), X4, {},
        "n (Cast): an activation is cast to STRING; allowed: float types, integers and BOOL."),
    "reshape over samples": (
        node("Reshape", "x s", "y", name="n"), (2, *X4[1:]), ints(s=[-1, 36]),
        "n (Reshape): one sample becomes [4, 36], so it mixes or drops the batch; allowed: a first dim"),
    "reshape of another size": (
        node("Reshape", "x s", "y", name="n"), X4, ints(s=[1, 100]),
        "n (Reshape): shape [1, 100] does not fit one sample [1, 4, 6, 6]; allowed: as many elements"),
    "squeeze of no axes": (
        node("Squeeze", "x a", "y", name="n"), X4, {"a": np.zeros(0, INT)},
        "n (Squeeze): its axes are an empty list, of which ONNX drops none and ONNX Runtime every one of size 1;"),
    "training dropout": (
        node("Dropout", "x r t", "y", name="n"), X4, {"r": np.array(0.5, np.float32), "t": np.array(True)},
        "n (Dropout): it is in training mode; allowed: inference. Export the model in eval mode."),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_unsupported(case):
    it, shape, weights, want = CASES[case]
    with pytest.raises(UnsupportedError, match="^" + re.escape(want)) as caught:
        normalise(make([it], {"x": shape}, ["y"], weights))
    assert "\n" not in str(caught.value)


def test_an_adaptive_pool_that_was_unrolled_says_how_to_export_it():
    gathered = node("GatherND", "x i", "y", name="n")
    with pytest.raises(
        UnsupportedError, match=r"If it is an adaptive pool .* pconv\.export, or choose a size"
    ):
        normalise(make([gathered], {"x": X4}, ["y"], {"i": np.zeros((1, 1), INT)}))


def test_what_onnxruntime_has_optimised_is_wanted_as_it_was():
    fused = node("Gelu", "x", "y", name="n", domain="com.microsoft")
    with pytest.raises(UnsupportedError, match="before ONNX Runtime optimised it") as caught:
        normalise(make([fused], {"x": X4}, ["y"], {}))
    assert "did you mean" not in str(caught.value)


def test_all_unsupported_operators_are_named_at_once():
    nodes = [
        node("Shape", "x", "s"),
        node("NonZero", "s", "z"),
        node("CumSum", "x k", "v", name="n"),
        node("Det", "v", "d"),
        node("Sin", "d", "y"),
    ]
    with pytest.raises(
        UnsupportedError, match=r"n \(CumSum\): this operator is unsupported.*, and so are Det, Sin e"
    ):
        normalise(make(nodes, {"x": X4}, ["y"], {"k": np.array([2], INT)}))


def test_matrices_of_different_ranks_where_the_batch_is_open():
    nodes = [node("ReduceMean", "x", "r", axes=[2], keepdims=0), node("MatMul", "x r", "y", name="n")]
    with pytest.raises(
        UnsupportedError,
        match=r"n \(MatMul\): it multiplies computed matrices \[1, 4, 6, 5\] and \[1, 4, 5\]; allowed: 3 dimensions",
    ):
        normalise(make(nodes, {"x": ("n", 4, 6, 5)}, ["y"]))


def test_activations_of_different_shapes():
    model = make([node("Mul", "a b", "y", name="n")], {"a": (1, 4, 6, 6), "b": (1, 4, 2, 6)}, ["y"])
    with pytest.raises(
        UnsupportedError, match=r"n \(Mul\): activations of shapes \[1, 4, 6, 6\] and \[1, 4, 2, 6\];"
    ):
        normalise(model)


def test_second_outputs():
    nodes = [node("MaxPool", "x", "p i", name="n", kernel_shape=[2, 2]), node("Cast", "i", "y", to=1)]
    with pytest.raises(
        UnsupportedError, match=r"Cast_1: it reads output 1 of a MaxPool \(i\); allowed: the first"
    ):
        normalise(make(nodes, {"x": X4}, ["y"]))
    with pytest.raises(
        UnsupportedError, match=r"output i: it is output 1 of a MaxPool \(i\); allowed: the f"
    ):
        normalise(make(nodes[:1], {"x": X4}, ["p", "i"]))


def test_training_batch_norm_and_negative_variance():
    weights = {"o": np.ones(4, np.float32), "v": np.full(4, -1, np.float32)}
    with pytest.raises(ModelError, match="variance \\+ epsilon is not positive in 4 channels"):
        normalise(make([node("BatchNormalization", "x o o o v", "y")], {"x": X4}, ["y"], weights))
    norm = node("BatchNormalization", "x o o o o", "y", training_mode=1)
    with pytest.raises(UnsupportedError, match="it is in training mode"):
        normalise(make([norm], {"x": X4}, ["y"], weights))


def test_a_batch_norm_of_old_that_gives_statistics_is_in_training_mode():
    """Before opset 14 there is no attribute that says so."""
    weights = {"o": np.ones(4, np.float32)}
    norm = helper.make_node("BatchNormalization", ["x", *"oooo"], ["y", *"abcd"])
    with pytest.raises(UnsupportedError, match="it is in training mode"):
        normalise(make([norm], {"x": X4}, ["y"], weights, opset=9))
    norm = helper.make_node("BatchNormalization", ["x", *"oooo"], ["y", "", "", "", ""])
    normalise(make([norm], {"x": X4}, ["y"], weights, opset=9))


def test_inputs_that_are_no_tensors():
    model = make([node("Identity", "x", "y")], {"x": X4}, ["y"])
    sequence = helper.make_sequence_type_proto(model.graph.input[0].type)
    model.graph.input[0].type.CopyFrom(sequence)
    with pytest.raises(UnsupportedError, match=r"^input x: it is a SequenceType; allowed: a dense tensor\."):
        normalise(model)


def test_a_model_of_foreign_operators_alone_is_refused_by_their_names():
    model = make([node("Gradient", "x", "y", name="n", domain="ai.onnx.preview.training")], {"x": X4}, ["y"])
    model.opset_import[0].domain = "ai.onnx.preview.training"
    with pytest.raises(
        UnsupportedError, match=r"^n \(ai\.onnx\.preview\.training\.Gradient\): this operator is"
    ):
        normalise(model)


@pytest.mark.parametrize("opset", (8, 99))
def test_other_opsets(opset):
    with pytest.raises(UnsupportedError, match=rf"ONNX opset {opset}; allowed: 9 to 25. Convert it with"):
        normalise(make([node("Relu", "x", "y")], {"x": X4}, ["y"], opset=opset))


def test_inputs_and_outputs_of_other_kinds():
    model = make([node("Cast", "x", "y", to=1)], {"x": X4}, ["y"])
    model.graph.input[0].type.tensor_type.elem_type = 2
    with pytest.raises(
        UnsupportedError, match=r"input x: it is UINT8; allowed: FLOAT. Cast outside of the model."
    ):
        normalise(model)
    with pytest.raises(UnsupportedError, match="input x: its shape is 4; allowed: a batch and at least one"):
        normalise(make([node("Relu", "x", "y")], {"x": (4,)}, ["y"]))
    with pytest.raises(
        UnsupportedError, match=r"input x: its shape is \(\); allowed: a batch and at least one"
    ):
        normalise(make([node("Relu", "x", "y")], {"x": ()}, ["y"]))
    with pytest.raises(
        UnsupportedError, match="output x: it is an input of the model; allowed: results of nodes"
    ):
        both = make([node("Relu", "x", "y")], {"x": X4}, ["y"])
        both.graph.output.append(both.graph.input[0])
        normalise(both)
    with pytest.raises(UnsupportedError, match="output y: it does not depend on any input"):
        normalise(make([node("Relu", "w", "y")], {"x": X4}, ["y"], w(1, 4)))


def test_dimensions_of_inputs_and_outputs():
    """Within the network there may be more than the C ABI has room for."""
    many = (1, 2, 2, 2, 2, 1, 2, 2, 1)
    nodes = [node("Reshape", "x s", "m"), node("Relu", "m", "r"), node("Flatten", "r", "y")]
    model = make(nodes, {"x": (1, 64)}, ["y"], {"s": np.array(many, INT)})
    normalise(model)
    model.graph.output[0].name = "r"
    with pytest.raises(
        UnsupportedError,
        match=r"^output r: its shape 1x2x2x2x2x1x2x2x1 has 9 dimensions; allowed: up to 8\. Give it fewer",
    ):
        normalise(model)
    with pytest.raises(UnsupportedError, match=r"^input x: its shape 1x2x2x2x2x1x2x2x1 has 9 dimensions;"):
        normalise(make([node("Flatten", "x", "y")], {"x": many}, ["y"]))
    normalise(make([node("Relu", "x", "y")], {"x": many[:8]}, ["y"]))
    header = (Path(pconv.__file__).parent / "runtime/native/pconv.h").read_text()
    assert f"#define PCONV_MAX_RANK {MOST_DIMENSIONS}\n" in header


def test_weights_that_do_not_fit():
    for it, weights, want in [
        (node("Conv", "x w", "y", name="n"), w(4, 3, 3, 3), "does not fit 4 input channels"),
        (node("Conv", "x w", "y", name="n", group=3), w(4, 4, 3, 3), "with group 3 does not fit"),
        (
            node("Conv", "x w", "y", name="n"),
            w(4, 4, 7, 7),
            "the window [7, 7] is larger than its padded input [6, 6]",
        ),
        (
            node("Conv", "x w", "y", name="n", kernel_shape=[5, 5]),
            w(4, 4, 3, 3),
            "kernel_shape contradicts its weight",
        ),
        (
            node("ConvTranspose", "x w", "y", name="n", kernel_shape=[5, 5]),
            w(4, 4, 3, 3),
            "kernel_shape contradicts its weight",
        ),
        (
            node("DepthToSpace", "x", "y", name="n", blocksize=3),
            {},
            "blocksize 3, mode 'DCR' over 4 channels",
        ),
    ]:
        with pytest.raises(ModelError, match=rf"^n \({it.op_type}\): .*{re.escape(want)}"):
            normalise(make([it], {"x": X4}, ["y"], weights))
