"""Dilated convolutions of small images become plain ones, and mean the same."""

import numpy as np
import onnx
import pytest

from .models import check, make, node, ops, rand


def dilated(
    image,
    *,
    size=(3, 3),
    apart=(12, 12),
    pads=None,
    group=1,
    strides=(1, 1),
    after=(),
    channels=6,
    filters=8,
    kept=1.0,
):
    """Build a convolution of an image, some of whose kernels are kept, and what comes after it."""
    reach = [d * (k - 1) for k, d in zip(size, apart, strict=True)]
    pads = [r // 2 for r in reach] + [r - r // 2 for r in reach] if pads is None else pads
    weight = rand(filters, channels // group, *size)
    weight *= (np.random.default_rng(0).random(weight.shape[:2]) < kept)[:, :, None, None]
    weights = {"c.weight": weight, "c.bias": rand(filters)}
    conv = node(
        "Conv", "x c.weight c.bias", "y", "c", group=group, pads=pads, dilations=apart, strides=strides
    )
    return make(
        [conv, *after], {"x": [1, channels, *image]}, [after[-1].output[0] if after else "y"], weights
    )


@pytest.mark.parametrize("image", [(11, 15), (1, 1), (12, 9), (5, 12)])
def test_taps_that_only_read_padding_go(image):
    view = check(dilated(image, apart=(16, 16)))
    assert ops(view) == ["Conv"] and view.nodes[0].name == "c"
    assert view.nodes[0].weights[1].shape == (8, 6, 1, 1)
    assert view.nodes[0].ints("pads") == (0, 0, 0, 0) and view.nodes[0].ints("dilations") == (1, 1)


def test_taps_go_from_one_side_alone():
    """The first rows are all padding, the last are read; of a plain convolution too."""
    (conv,) = check(dilated((3, 9), size=(3, 3), apart=(1, 1), pads=[4, 1, 0, 1])).nodes
    assert conv.weights[1].shape == (8, 6, 3, 3), "its outputs would begin in the padding"
    (conv,) = check(dilated((3, 9), apart=(4, 1), pads=[8, 1, 0, 1])).nodes
    assert conv.weights[1].shape == (8, 6, 1, 3) and conv.ints("pads") == (0, 1, 0, 1)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("image", [(13, 20), (20, 13), (24, 24), (33, 33)])
def test_what_mostly_reads_padding_becomes_a_sum_of_taps(image, group):
    apart = (24, 24) if image == (33, 33) else (12, 12)
    view = check(
        dilated(image, apart=apart, group=group, channels=16 * group, after=[node("Relu", "y", "z")])
    )
    kinds = ops(view)
    assert kinds.count("Conv") == 9 and kinds.count("Add") == 7
    assert kinds.count("Subsample") == kinds.count("Pad") == 8
    last = view.nodes[-1]
    assert (last.name, last.text("activation"), last.output) == ("c", "relu", "z")
    assert all(conv.weights[1].shape[2:] == (1, 1) for conv in view.nodes if conv.op == "Conv")


def test_a_row_is_split_by_columns_alone():
    view = check(dilated((5, 15), size=(1, 3), apart=(1, 12), channels=16))
    assert ops(view).count("Conv") == 3


@pytest.mark.parametrize(
    ("image", "options", "places"),
    [
        ((33, 33), {}, (47, 47)),
        ((33, 40), {"apart": (6, 8)}, (41, 47)),
        ((30, 31), {"size": (5, 5), "apart": (6, 6)}, (40, 46)),
        ((16, 64), {"size": (1, 3), "apart": (1, 16)}, (16, 79)),
        ((16, 64), {"size": (1, 3), "apart": (5, 16)}, (16, 79)),
        ((33, 33), {"group": 2}, (47, 47)),
        ((20, 13), {"channels": 16, "filters": 16, "group": 16}, (35, 35)),
        ((60, 20), {"channels": 16, "apart": (1, 12)}, (60, 35)),
        ((1, 200), {"size": (1, 3), "apart": (1, 32), "pads": [0, 64, 0, 0]}, (1, 286)),
    ],
    ids=["aspp", "two_dilations", "5x5", "columns", "single_rows", "groups", "depthwise", "rows", "causal"],
)
def test_phases_of_an_image_stand_side_by_side(image, options, places):
    view = check(dilated(image, after=[node("Sigmoid", "y", "z")], **options))
    assert ops(view) == ["Resize", "Conv", "Resize"]
    apart, conv, together = view.nodes
    assert (apart.name, conv.name, together.name) == ("c:apart", "c", "c:together")
    assert apart.out_shape[2:] == conv.out_shape[2:] == places
    assert together.out_shape[2:] == image and together.output == "z"
    assert conv.ints("dilations") == (1, 1) and conv.text("activation") == "sigmoid"
    assert conv.weights[1].shape[2:] == options.get("size", (3, 3))


def test_integers_stay_integers():
    model = dilated((33, 33), after=[node("Cast", "y", "z", to=onnx.TensorProto.INT64)])
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert ops(check(model)) == ["Resize", "Conv", "Resize"]


@pytest.mark.parametrize("image", [(33, 33), (13, 20)], ids=["parted", "split"])
def test_names_that_the_model_has_stay_its_own(image):
    taken = [(f"c:{part}", f"c:{part}.out") for part in ("apart", "together", "tap0_1", "read0_1")]
    others = [node("Tanh", "y", value, name) for name, value in taken]
    model = dilated(
        image, channels=16, after=[*others, node("Sum", " ".join(value for _, value in taken), "z")]
    )
    view = check(model)
    assert {name for name, _ in taken} <= {n.name for n in view.nodes if n.op == "Activation"}


@pytest.mark.parametrize(("kept", "parted"), [(1.0, True), (0.3, False)])
def test_a_small_dilation_is_parted_where_winograds_way_pays(kept, parted):
    view = check(dilated((56, 56), apart=(2, 2), channels=16, filters=16, kept=kept))
    assert ops(view) == (["Resize", "Conv", "Resize"] if parted else ["Conv"])
    assert view.nodes[-1].out_shape[2:] == (56, 56)


@pytest.mark.parametrize(
    "model",
    [
        dilated((56, 56), apart=(2, 2)),
        dilated((33, 33), strides=(2, 2)),
        dilated((40, 40), pads=[0, 0, 0, 0]),
        dilated((33, 60), apart=(1, 12), pads=[0, 12, 0, 12]),
        dilated((33, 33), channels=8, kept=0.3, after=[node("Add", "y x", "z")]),
        dilated((34, 34), after=[node("MaxPool", "y", "z", kernel_shape=[2, 2], strides=[2, 2])]),
        dilated((1, 8000), size=(1, 3), apart=(1, 512), pads=[0, 1024, 0, 0]),
    ],
    ids=["small halo", "stride", "no pads", "fewer rows", "residual", "pool", "long"],
)
def test_others_stay_as_they_are(model):
    (conv,) = check(model).nodes
    assert conv.op == "Conv" and max(conv.ints("dilations")) > 1
