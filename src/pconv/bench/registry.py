"""Every kind of micro-kernel as a small named layer: one list for the tests and for benchmarks.

To add a case, add a line to its family; a micro-kernel without a case fails the tests.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pconv.bench.case import DENSE, Case, Sparsity
from pconv.graph.spec import AttrValue


def conv(
    name: str,
    channels: int,
    filters: int,
    image: tuple[int, int],
    kernel: int | tuple[int, int] = 3,
    *,
    stride: int | tuple[int, int] = 1,
    pads: int | tuple[int, ...] | None = None,
    dilation: int = 1,
    groups: int = 1,
    sparsity: Sparsity = DENSE,
    residual: bool = False,
    act: str = "none",
    pool: bool = False,
) -> Case:
    """Return a convolution; `pads` defaults to what keeps the image's size at stride 1."""
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    if pads is None:
        pads = (size[0] // 2 * dilation, size[1] // 2 * dilation) * 2
    attrs = {
        "strides": (stride, stride) if isinstance(stride, int) else stride,
        "pads": (pads,) * 4 if isinstance(pads, int) else pads,
        "dilations": (dilation, dilation),
        "group": groups,
        "pool": "max2x2" if pool else "",
        **_activation(act),
    }
    return Case(name, "Conv", channels, image, filters, size, attrs, sparsity, tensors=1 + residual)


def gemm(name: str, inputs: int, outputs: int, sparsity: Sparsity = DENSE, act: str = "none") -> Case:
    """Return a fully connected layer."""
    return Case(name, "Gemm", inputs, (), outputs, (), _activation(act), sparsity)


def planes(
    name: str,
    op: str,
    channels: int,
    image: tuple[int, ...],
    attrs: Mapping[str, AttrValue] = MappingProxyType({}),
    *,
    tensors: int = 1,
    act: str = "",
    other: tuple[int, ...] = (),
) -> list[Case]:
    """Return an operator that has no weights to prune, once on the model's input and once on a blocks layout."""
    case = Case(
        name, op, channels, image, attrs=_activation(act) if act else attrs, tensors=tensors, other=other
    )
    return [case, replace(case, name=f"{name}_inner", before="clip")]


def matrices(name: str, channels: int, m: int, k: int, n: int, *, scale: float = 1.0) -> list[Case]:
    """Return products of [m, k] and [k, n], each of which lies so or the other way round."""
    return [
        Case(
            f"{name}_{'nt'[a]}{'nt'[b]}",
            "MatMul",
            channels,
            (k, m) if a else (m, k),
            attrs={"transpose_a": a, "transpose_b": b, "scale": scale},
            tensors=2,
            other=(channels, n, k) if b else (channels, k, n),
        )
        for a in (0, 1)
        for b in (0, 1)
    ]


def window(
    name: str, op: str, image: tuple[int, int], size: int, stride: int, pads: tuple[int, ...], count: int = -1
) -> list[Case]:
    """Return a pooling on the input, on blocks with negative values, and on blocks without any."""
    attrs: dict[str, AttrValue] = {"kernel_shape": (size, size), "strides": (stride, stride), "pads": pads}
    if count >= 0:
        attrs["count_include_pad"] = count
    cases = planes(name, op, 5, image, attrs)
    return [*cases, replace(cases[0], name=f"{name}_relu", before="relu")]


def _activation(kind: str) -> dict[str, AttrValue]:
    bounds = {
        "clip": {"act_min": -0.5, "act_max": 1.5},
        "leaky": {"act_min": 0.1},
        "elu": {"act_min": 1.5},
        "above": {"act_min": 0.25},
        "atleast": {"act_min": -1.0},
    }
    return {"activation": kind, **bounds.get(kind, {})}


ONE, SMALL, ODD, WIDE, EVEN, MANY = (1, 1), (7, 5), (13, 13), (31, 17), (16, 16), (72, 40)
FREE = Sparsity(3.56, "scp8")
SHARED = {g: Sparsity(3.56, "scp8", g) for g in (2, 4, 8, 16)}
KERNELS = Sparsity(3.0)

_DENSE = (
    conv("dense_1x1_image", 8, 8, ONE),
    conv("dense_one_channel", 1, 1, SMALL),
    conv("dense_small", 3, 8, SMALL, act="relu"),
    conv("dense_wide", 5, 7, WIDE, act="clip"),
    conv("dense_no_pads", 4, 6, SMALL, pads=0),
    conv("dense_uneven_pads", 4, 6, ODD, pads=(0, 1, 2, 0)),
    conv("dense_s2_odd", 5, 6, ODD, stride=2),
    conv("dense_s2_small", 5, 6, SMALL, stride=2, act="relu"),
    conv("dense_s2_wide", 5, 6, WIDE, stride=2, residual=True),
    conv("dense_stride_2x1", 5, 6, ODD, stride=(2, 1)),
    conv("dense_dilation2", 4, 6, ODD, dilation=2),
    conv("dense_dilation2_s2", 4, 6, WIDE, dilation=2, stride=2),
    conv("dense_1x3", 4, 6, ODD, (1, 3)),
    conv("dense_2x2", 4, 6, ODD, (2, 2), pads=(0, 0, 1, 1)),
    conv("dense_5x5", 4, 6, ODD, 5, act="tanh"),
    conv("dense_7x7s2", 3, 8, WIDE, 7, stride=2, act="relu"),
    conv("dense_11x11s4", 3, 4, (31, 35), 11, stride=4, pads=2),
    conv("dense_11x11s4_no_pads", 1, 4, WIDE, 11, stride=4, pads=0),
    conv("dense_residual", 6, 6, ODD, residual=True, act="relu"),
    conv("dense_sigmoid", 4, 5, SMALL, act="sigmoid"),
    *(
        conv(f"dense_{act}", 4, 5, SMALL, act=act)
        for act in ("leaky", "hardswish", "silu", "gelu", "gelutanh", "quickgelu", "elu")
    ),
    conv("dense_pool", 4, 6, EVEN, pool=True, act="relu"),
    conv("dense_pool_apart", 4, 6, (6, 6), pool=True, act="tanh"),
    conv("dense_pool_partial", 4, 6, (26, 10), pool=True),
    conv("dense_groups", 6, 9, ODD, groups=3),
)

_SPARSE = (
    conv("free", 16, 12, ODD, sparsity=FREE, act="relu"),
    conv("free_wide", 16, 7, WIDE, sparsity=FREE, residual=True),
    conv("free_s2", 16, 8, ODD, stride=2, sparsity=FREE),
    conv("free_dilation2", 16, 8, ODD, dilation=2, sparsity=FREE),
    conv("free_pool", 16, 8, EVEN, sparsity=FREE, pool=True, act="relu"),
    conv("free_1x1_image", 16, 8, ONE, sparsity=FREE),
    conv("free_56_shapes", 128, 6, (14, 14), sparsity=Sparsity(1.0, "centre3")),
    conv("free_126_shapes", 24, 20, SMALL, sparsity=Sparsity(2.0, "any4")),
    conv("free_filter_removed", 16, 8, ODD, sparsity=replace(FREE, removed=1), act="sigmoid"),
    conv("free_groups", 16, 8, SMALL, groups=2, sparsity=Sparsity(2.0, "elog4")),
    *(conv(f"group{g}", 16, 16, ODD, sparsity=s, act="relu") for g, s in SHARED.items()),
    conv("group4_uneven", 16, 15, SMALL, sparsity=SHARED[4]),
    conv("group4_s2", 16, 16, WIDE, stride=2, sparsity=SHARED[4], residual=True, act="clip"),
    conv("group8_pool", 16, 16, EVEN, sparsity=SHARED[8], pool=True, act="relu"),
    conv("group16_all_alike", 16, 16, ODD, sparsity=Sparsity(2.0, None, 16)),
    conv("group16_uneven_alike", 16, 13, ODD, sparsity=Sparsity(2.0, "gauss4", 16)),
    conv("kernels", 12, 8, ODD, sparsity=KERNELS),
    conv("kernels_5x5", 9, 8, ODD, 5, sparsity=KERNELS),
    conv("kernels_7x7s2", 12, 4, WIDE, 7, stride=2, sparsity=KERNELS),
    conv("layer_removed", 6, 5, SMALL, sparsity=Sparsity(removed=5), act="relu"),
    conv("layer_removed_add", 6, 5, SMALL, sparsity=Sparsity(removed=5), residual=True),
)

_POINTWISE = (
    conv("pointwise", 9, 10, ODD, 1, act="clip"),
    conv("pointwise_1x1_image", 20, 10, ONE, 1),
    conv("pointwise_one", 1, 1, SMALL, 1),
    conv("pointwise_deep", 600, 40, SMALL, 1, residual=True, act="relu"),
    conv("pointwise_deep_1x1_image", 2000, 3, ONE, 1),
    conv("pointwise_deep_alike", 400, 16, ODD, 1, sparsity=Sparsity(2.0, None, 16)),
    conv("pointwise_many_weights", 256, 1600, EVEN, 1),
    conv("pointwise_s2", 9, 10, ODD, 1, stride=2),
    conv("pointwise_pads", 5, 6, SMALL, 1, pads=1),
    conv("pointwise_residual", 9, 10, WIDE, 1, residual=True),
    conv("pointwise_free", 16, 12, ODD, 1, sparsity=Sparsity(4.0), act="relu"),
    conv("pointwise_free_s2", 16, 12, ODD, 1, stride=2, sparsity=Sparsity(4.0)),
    conv("pointwise_free_mixed", 64, 63, (14, 14), 1, sparsity=Sparsity(4.0), act="relu"),
    conv("pointwise_free_mixed_few", 64, 127, (7, 7), 1, sparsity=Sparsity(4.0), residual=True),
    conv("pointwise_group4", 16, 12, SMALL, 1, sparsity=Sparsity(4.0, None, 4), residual=True, act="relu"),
    conv("pointwise_group4_uneven", 16, 11, SMALL, 1, sparsity=Sparsity(4.0, None, 4)),
    conv("pointwise_filter_removed", 16, 6, SMALL, 1, sparsity=Sparsity(4.0, removed=1)),
)

# Layers whose filters can be the lanes; the tests pick that, whatever the cost model would.
_FILTER_LANES = (
    conv("lanes", 20, 40, ODD, act="relu"),
    conv("lanes_1x1_image", 20, 50, ONE, 1),
    conv("lanes_one_channel", 1, 16, SMALL, 1, act="sigmoid"),
    conv("lanes_one_filter", 9, 1, SMALL, 1),
    conv("lanes_many_rows", 7, 33, (40, 9), 1, act="clip"),
    conv("lanes_residual", 30, 48, (7, 7), 1, residual=True, act="relu"),
    conv("lanes_uneven_pads", 5, 20, ODD, pads=(0, 1, 2, 0), residual=True),
    conv("lanes_s2", 9, 24, WIDE, stride=2, act="relu"),
    conv("lanes_s2_pointwise", 9, 24, ODD, 1, stride=2),
    conv("lanes_dilation2", 6, 17, ODD, dilation=2),
    conv("lanes_5x5", 6, 17, SMALL, 5),
    conv("lanes_groups2", 8, 64, SMALL, groups=2),
    conv("lanes_group16", 40, 48, SMALL, 1, sparsity=Sparsity(4.0, None, 16), act="relu"),
    conv("lanes_group16_uneven", 40, 40, ODD, sparsity=SHARED[16], residual=True),
    conv("lanes_filters_removed", 16, 33, (7, 7), 1, sparsity=Sparsity(4.0, None, 16, removed=16)),
)

# Layers that can run in Winograd's way; the tests pick it, whatever the cost model would.
_WINOGRAD = (
    conv("winograd", 20, 12, EVEN, act="relu"),
    conv("winograd_odd", 9, 14, WIDE, residual=True, act="clip"),
    conv("winograd_pool", 8, 9, EVEN, pool=True, act="relu"),
    conv("winograd_pool_apart", 8, 9, (6, 6), pool=True),
    conv("winograd_uneven_pads", 5, 7, ODD, pads=(0, 1, 2, 0), act="sigmoid"),
    conv("winograd_1x1_image", 3, 4, ONE),
    conv("winograd_one", 1, 1, SMALL, act="tanh"),
    conv("winograd_silu", 9, 14, ODD, residual=True, act="silu"),
    conv("winograd_few_rows", 16, 12, SMALL, pads=0),
    conv("winograd_shapes", 8, 8, ODD, sparsity=Sparsity(1.0, "centre3")),
    conv("winograd_free", 32, 9, EVEN, sparsity=FREE, residual=True, act="relu"),
    conv("winograd_group4", 32, 12, ODD, sparsity=SHARED[4], act="relu"),
    conv("winograd_kernels", 12, 8, WIDE, sparsity=KERNELS),
    conv("winograd_filter_removed", 12, 8, ODD, sparsity=replace(FREE, removed=1)),
    conv("winograd_layer_removed", 6, 5, SMALL, sparsity=Sparsity(removed=5), act="relu"),
    conv("winograd_strided", 3, 12, EVEN, 7, stride=2, act="relu"),
    conv("winograd_strided_odd", 2, 5, WIDE, 7, stride=2, pads=(3, 2, 1, 3), residual=True),
    conv("winograd_strided_free", 6, 5, ODD, 7, stride=2, pads=(0, 3, 3, 0), sparsity=Sparsity(2.0)),
    conv("winograd_deep", 900, 8, EVEN),
    conv("winograd_deep_free", 900, 8, EVEN, sparsity=FREE),
)

# The same on images of many tiles; where the target has strips, the tests pick these.
_WINOGRAD_STRIPS = (
    conv("winograd_strips", 8, 9, MANY, act="relu"),
    conv("winograd_strips_residual", 9, 8, MANY, residual=True, act="clip"),
    conv("winograd_strips_odd", 8, 8, (71, 37), pads=(0, 1, 2, 0), act="sigmoid"),
    conv("winograd_strips_pool", 8, 9, MANY, pool=True, act="relu"),
    conv("winograd_strips_free", 64, 9, MANY, sparsity=FREE, residual=True, act="relu"),
    conv("winograd_strips_group4", 16, 12, (71, 37), sparsity=SHARED[4], act="relu"),
    conv("winograd_strips_strided", 3, 12, MANY, 7, stride=2, act="relu"),
)

_DEPTHWISE = tuple(
    conv(f"depthwise_{k}x{k}s{s}{tag}", 7, 7, image, k, stride=s, groups=7, sparsity=sparsity, act="clip")
    for k in (3, 5)
    for s in (1, 2)
    for image, sparsity, tag in ((WIDE, DENSE, ""), (SMALL, DENSE, "_small"), (ODD, FREE, "_free"))
    if k == 3 or sparsity is not FREE
) + (conv("depthwise_multiplier", 4, 8, SMALL, groups=4),)

_ROWS = (
    gemm("gemm_one", 1, 1),
    gemm("gemm_one_input", 1, 19, act="tanh"),
    gemm("gemm_one_output", 37, 1, act="sigmoid"),
    gemm("gemm_odd", 37, 10, act="relu"),
    *(gemm(f"gemm_{act}", 37, 10, act=act) for act in ("silu", "gelu")),
    gemm("gemm_32", 20, 32),
    gemm("gemm_64", 30, 128, act="clip"),
    gemm("gemm_sparse", 64, 48, Sparsity(4.0, None, 16), act="relu"),
    gemm("gemm_sparse_odd", 101, 33, Sparsity(8.0, None, 16)),
    gemm("gemm_parts", 37, 640),
    gemm("gemm_sparse_parts", 301, 173, Sparsity(4.0, None, 16), act="relu"),
    gemm("gemm_sparse_uneven", 99, 200, Sparsity(20.0)),
    gemm("gemm_sparse_one_output", 40, 1, Sparsity(4.0)),
    gemm("gemm_scattered", 40, 20, Sparsity(4.0)),
    gemm("gemm_removed", 12, 20, Sparsity(removed=20)),
    gemm("gemm_wide_index", 70_000, 3, Sparsity(500.0, None, 16)),
)

_BORDER = (1, 1, 1, 1)
_NONE = (0, 0, 0, 0)
_SLICE: Mapping[str, AttrValue] = MappingProxyType(
    {"starts": (1, 0, 1), "steps": (2, 3), "sizes": (4, 7, 4), "channel_pad": (2, 3)}
)
_PLANES = (
    *window("maxpool2s2", "MaxPool", EVEN, 2, 2, _NONE),
    *window("maxpool2s2_odd", "MaxPool", ODD, 2, 2, _NONE),
    *window("maxpool3s2", "MaxPool", WIDE, 3, 2, _NONE),
    *window("maxpool3s2_pads", "MaxPool", ODD, 3, 2, _BORDER),
    *window("maxpool3s1_pads", "MaxPool", SMALL, 3, 1, _BORDER),
    *window("maxpool3s2_ceil", "MaxPool", EVEN, 3, 2, (0, 0, 1, 1)),
    *window("avgpool2s2", "AveragePool", EVEN, 2, 2, _NONE),
    *window("avgpool3s2_include", "AveragePool", ODD, 3, 2, _BORDER, 1),
    *window("avgpool3s2_exclude", "AveragePool", ODD, 3, 2, _BORDER, 0),
    *planes("global_average", "GlobalAveragePool", 5, SMALL),
    *planes("global_average_1x1", "GlobalAveragePool", 5, ONE),
    *planes("global_sum", "GlobalAveragePool", 5, SMALL, {"sum": 1}),
    *planes("flatten", "Flatten", 5, SMALL),
    *planes("pad", "Pad", 3, SMALL, {"pads": (1, 0, 2, 3)}),
    *planes("pad_reflect", "Pad", 3, SMALL, {"pads": (1, 0, 2, 3), "mode": "reflect"}),
    *planes("pad_edge", "Pad", 3, ODD, {"pads": (4, 1, 0, 2), "mode": "edge"}),
    *planes("crd", "DepthToSpace", 18, SMALL, {"blocksize": 3, "mode": "CRD"}),
    *planes("dcr", "DepthToSpace", 8, ODD, {"blocksize": 2, "mode": "DCR"}),
    *planes("subsample", "Subsample", 6, ODD, _SLICE),
    *planes("channel_shuffle", "ChannelShuffle", 6, SMALL, {"group": 3}),
    *planes("transpose", "Transpose", 6, SMALL, {"perm": (0, 3, 1, 2)}),
    *planes("transpose_image", "Transpose", 3, WIDE, {"perm": (0, 1, 3, 2)}),
    *(replace(case, filters=3) for case in planes("nearest", "Resize", 3, SMALL)),
    *(replace(case, kernel=(29, 9)) for case in planes("linear", "Resize", 3, ODD)),
    *(replace(case, kernel=(57, 33)) for case in planes("linear_far", "Resize", 2, SMALL)),
    *(replace(case, kernel=(6, 13)) for case in planes("linear_down", "Resize", 3, WIDE)),
    *planes("concat", "Concat", 3, SMALL, tensors=3),
    *planes("concat_rows", "Concat", 9, (), tensors=2),
    *planes("softmax", "Softmax", 10, ()),
    *planes("softmax_planes", "Softmax", 10, SMALL),
    *planes("softmax_planes_wide", "Softmax", 3, (23, 25)),
    *planes("softmax_rows", "Softmax", 3, (5, 49), {"axis": 3}),
    *planes("softmax_short_rows", "Softmax", 2, (9, 3), {"axis": 3}),
    *planes("softmax_middle", "Softmax", 3, ODD, {"axis": 2}),
    *planes("argmax", "ArgMax", 10, SMALL),
    *planes("argmax_rows", "ArgMax", 10, ()),
    *planes("argmax_one", "ArgMax", 1, ODD),
    *planes("argmax_1x1_image", "ArgMax", 7, ONE),
    Case("argmax_ties", "ArgMax", 5, (72, 65), before="above"),
    *planes("add", "Add", 3, ODD, tensors=2, act="relu"),
    *planes("sub", "Sub", 3, ODD, tensors=2, act="clip"),
    *planes("mul", "Mul", 3, ODD, tensors=2),
    *planes("div", "Div", 3, ODD, tensors=2),
    *planes("max", "Max", 3, ODD, tensors=2),
    *planes("max_rows", "Max", 9, (), tensors=2),
    *planes("min", "Min", 3, ODD, tensors=2, act="relu"),
    *(
        replace(case, name=f"{case.name}_relu", before="relu")
        for case in planes("keep", "Keep", 3, ODD, tensors=2)[:1]
    ),
    *planes("keep", "Keep", 3, ODD, tensors=2, act="leaky"),
    *planes("keep_pixels", "Keep", 5, WIDE, tensors=2, other=(1, *WIDE)),
    *planes("gate", "Mul", 5, ODD, tensors=2, act="hardswish", other=(5, 1, 1)),
    *planes("gate_pixels", "Mul", 5, WIDE, tensors=2, act="relu", other=(1, *WIDE)),
    *planes("gate_all", "Add", 5, SMALL, tensors=2, act="none", other=(1, 1, 1)),
    *planes("add_rows", "Add", 9, (), tensors=2, act="tanh"),
    *planes("relu", "Activation", 3, SMALL, act="relu"),
    *planes("clip", "Activation", 3, SMALL, act="clip"),
    *planes("tanh", "Activation", 3, SMALL, act="tanh"),
    *planes("sigmoid", "Activation", 3, SMALL, act="sigmoid"),
    *planes("sigmoid_rows", "Activation", 9, (), act="sigmoid"),
    *(
        case
        for kind in (
            *("leaky", "hardswish", "silu", "gelu", "gelutanh", "quickgelu", "elu", "erf", "softplus", "exp"),
            *("above", "atleast", "floor", "round", "trunc"),
        )
        for case in planes(kind, "Activation", 3, SMALL, act=kind)
    ),
    Case("sqrt", "Activation", 3, SMALL, attrs=_activation("sqrt"), before="relu"),
    Case("log", "Activation", 3, SMALL, attrs=_activation("log"), before="exp"),
    Case("constant", "Constant", 3, ODD, tensors=0),
    *planes("prelu", "PRelu", 4, ODD, act="none"),
    *planes("affine", "Affine", 4, ODD, act="clip"),
    *planes("affine_rows", "Affine", 9, (), act="relu"),
)

# Planes and sizes m, k, n; in blocks before, a scale.
_MATRICES = (
    *matrices("matmul_1x1x1", 1, 1, 1, 1),
    *matrices("matmul_1x7x1", 3, 1, 7, 1),
    *matrices("matmul_7x1x3", 2, 7, 1, 3),
    *matrices("matmul_5x3x17", 9, 5, 3, 17),
    *matrices("matmul_49x32x49", 1, 49, 32, 49, scale=0.125),
    *matrices("matmul_13x49x7", 2, 13, 49, 7),
    *matrices("matmul_33x6x64", 3, 33, 6, 64),
    *matrices("matmul_98x21x30", 1, 98, 21, 30),
    *matrices("matmul_1x50x196", 2, 1, 50, 196),
    *(
        replace(c, name=f"{c.name}_inner", before="clip")
        for c in matrices("matmul_7x20x9", 5, 7, 20, 9, scale=3.0)
    ),
)

# Of the sizes that networks have: for benchmarks, and for the schedules that only such sizes take.
_LAYERS = (
    conv("layer_first", 3, 64, (56, 56), act="relu"),
    conv("layer_dense", 64, 64, (28, 28), act="relu"),
    conv("layer_free", 64, 64, (56, 56), sparsity=FREE, act="relu"),
    conv("layer_free_pool", 64, 64, (56, 56), sparsity=FREE, act="relu", pool=True),
    conv("layer_free_s2", 64, 64, (56, 56), stride=2, sparsity=FREE, act="relu"),
    conv("layer_group4", 64, 64, (56, 56), sparsity=SHARED[4], act="relu"),
    conv("layer_group4_14", 256, 128, (14, 14), sparsity=SHARED[4], act="relu"),
    conv("layer_pointwise", 128, 64, (28, 28), 1, act="relu"),
    conv("layer_pointwise_group4", 128, 64, (28, 28), 1, sparsity=Sparsity(4.0, None, 4), act="relu"),
    conv("layer_depthwise", 96, 96, (56, 56), groups=96, act="clip"),
    gemm("layer_gemm", 1024, 512, act="relu"),
    gemm("layer_gemm_sparse", 1024, 512, Sparsity(4.0, None, 16), act="relu"),
)

FAMILIES: Mapping[str, tuple[Case, ...]] = MappingProxyType(
    {
        "dense": _DENSE,
        "sparse": _SPARSE,
        "pointwise": _POINTWISE,
        "lanes": _FILTER_LANES,
        "winograd": _WINOGRAD,
        "winograd_strips": _WINOGRAD_STRIPS,
        "depthwise": _DEPTHWISE,
        "rows": _ROWS,
        "planes": _PLANES,
        "matrices": _MATRICES,
        "layers": _LAYERS,
    }
)
