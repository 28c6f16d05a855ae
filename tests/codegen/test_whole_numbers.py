"""Whole numbers that are floats stay whole, compiled, against ONNX Runtime to the bit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from graph.models import floats, make, node, normalise
from pconv.cache import Cache
from pconv.targets import Target

from .harness import HOSTS, Feeds, by_onnxruntime, run_here

WIDTHS = (7, 41, 49)
COUNTS = (27, 54, 107, 108, 213, 214, 433, 434)


def rows_of_places() -> tuple[onnx.ModelProto, Feeds]:
    """Return in which row of a map of some width each place is: by Floor, Cast, a comparison."""
    nodes = [
        *(node("Div", "x w", "d"), node("Floor", "d", "floor")),
        *(node("Div", "r w1", "dr"), node("Cast", "dr", "cast", to=TensorProto.INT64)),
        *(node("Div", "x wide", "dw"), node("Less", "dw one", "less")),
    ]
    weights = {
        "w": floats(*WIDTHS).reshape(3, 1, 1),
        "w1": floats(41)[0],
        "wide": floats(*WIDTHS).reshape(1, 3, 1, 1),
        "one": floats(1)[0],
    }
    outputs = {"floor": TensorProto.FLOAT, "cast": TensorProto.INT64, "less": TensorProto.BOOL}
    places = np.arange(160, dtype=np.float32)
    feeds = {"x": np.multiply.outer(floats(*WIDTHS), places).reshape(1, 3, 10, 16), "r": 41 * places[None]}
    return make(nodes, {"x": (1, 3, 10, 16), "r": (1, 160)}, outputs, weights), feeds


def counts() -> tuple[onnx.ModelProto, Feeds]:
    """Return how many of each plane and of each row are positive, also where a layer with a halo reads that."""
    nodes = [
        *(node("Greater", "x zero", "m"), node("Cast", "m", "f", to=TensorProto.FLOAT)),
        *(node("ReduceSum", "f image", "s", keepdims=0), node("Cast", "s", "planes", to=TensorProto.INT64)),
        *(node("Cast", "m", "i", to=TensorProto.INT64), node("ReduceSum", "i image", "whole", keepdims=0)),
        *(node("ReduceSum", "f row", "r"), node("Cast", "r", "rows", to=TensorProto.INT64)),
        *(node("ReduceSum", "f image", "t"), node("Conv", "t w", "c", pads=[2, 2, 2, 2])),
        node("Cast", "c", "spread", to=TensorProto.INT64),
    ]
    weights = {
        "zero": floats(0)[0],
        **{name: np.array(axes, np.int64) for name, axes in {"image": [2, 3], "row": [3]}.items()},
        "w": np.ones((4, 8, 3, 3), np.float32),
    }
    outputs = dict.fromkeys(("planes", "whole", "rows", "spread"), TensorProto.INT64)
    first = np.arange(16 * 49) < np.array(COUNTS)[:, None]
    x = np.where(first, 1, -1).astype(np.float32).reshape(1, 8, 16, 49)
    return make(nodes, {"x": x.shape}, outputs, weights), {"x": x}


@pytest.mark.cc
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("model", [rows_of_places, counts])
@pytest.mark.parametrize("target", HOSTS)
def test_as_onnx_runtime_has_them(target: Target, model, session_cache: Cache) -> None:
    proto, feeds = model()
    results = run_here(normalise(proto), target, session_cache, feeds)
    for name, want in by_onnxruntime(proto, feeds).items():
        np.testing.assert_array_equal(results[name], want, err_msg=name)
