"""Execute a normalised graph by numpy: slow, and plain enough to be believed."""

from math import erf, erfc

import numpy as np

from pconv.graph import GraphView, NodeView


def execute(graph: GraphView, feeds: dict[str, np.ndarray], dtype=np.float64) -> dict[str, np.ndarray]:
    """Run one sample through a graph; every intermediate shape is checked against the view."""
    values = {name: np.asarray(feeds[name], dtype) for name in graph.inputs}
    for node in graph.nodes:
        inputs = [
            node.weights[i] if i in node.weights else values[name] for i, name in enumerate(node.inputs)
        ]
        result = OPS[node.op](node, *inputs)
        assert result.shape == node.out_shape, f"{node.name}: {result.shape}, declared {node.out_shape}"
        values[node.output] = result
    return {name: values[name] for name in graph.outputs}


def activate(node: NodeView, x: np.ndarray) -> np.ndarray:
    kind = node.attrs["activation"]
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "clip":
        return np.clip(x, node.attrs["act_min"], node.attrs["act_max"])
    if kind == "tanh":
        return np.tanh(x)
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if kind == "leaky":
        return np.where(x < 0, node.attrs["act_min"] * x, x)
    if kind == "elu":
        return np.where(x < 0, node.attrs["act_min"] * np.expm1(np.minimum(x, 0)), x)
    if kind == "hardswish":
        return x * np.clip(x / 6 + 0.5, 0, 1)
    if kind == "silu":
        return x / (1 + np.exp(-x))
    if kind == "softplus":
        return np.logaddexp(0, x)
    if kind == "exp":
        return np.exp(x)
    if kind == "sqrt":
        return np.sqrt(x)
    if kind == "log":
        return np.log(x)
    if kind == "erf":
        return np.vectorize(erf, otypes=[x.dtype])(x)
    if kind == "gelu":
        return x / 2 * np.vectorize(erfc, otypes=[x.dtype])(-x / np.sqrt(2))
    if kind == "gelutanh":
        return x / 2 * (np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)) + 1)
    if kind == "quickgelu":
        return x / (1 + np.exp(-1.702 * x))
    if kind in ("above", "atleast"):
        low = node.attrs["act_min"]
        return (x > low if kind == "above" else x >= low).astype(x.dtype)
    if kind in ("floor", "round", "trunc"):
        return getattr(np, kind)(x)
    assert kind == "none"
    return x


def windows(x: np.ndarray, kernel, strides, dilations, pads, fill: float, out) -> np.ndarray:
    """Cut [c, oh, ow, kh, kw] windows out of x [1, c, h, w]."""
    top, left, bottom, right = pads
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)), constant_values=fill)
    cut = np.empty((x.shape[1], *out, *kernel), x.dtype)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = i * dilations[0] + np.arange(out[0]) * strides[0]
            columns = j * dilations[1] + np.arange(out[1]) * strides[1]
            cut[..., i, j] = padded[:, rows][:, :, columns]
    return cut


def conv(node: NodeView, x, weight, bias, residual=None):
    kernel, group = weight.shape[2:], node.integer("group")
    pads, strides, dilations = node.ints("pads"), node.ints("strides"), node.ints("dilations")
    out = [
        (x.shape[2 + a] + pads[a] + pads[a + 2] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1
        for a in (0, 1)
    ]
    cut = windows(x, kernel, strides, dilations, pads, 0.0, out)
    parts = [
        np.tensordot(filters, channels, ([1, 2, 3], [0, 3, 4]))
        for filters, channels in zip(np.split(weight, group), np.split(cut, group), strict=True)
    ]
    y = np.concatenate(parts)[None] + bias.reshape(1, -1, 1, 1)
    y = activate(node, y if residual is None else y + residual)
    if node.text("pool") == "max2x2":
        y = windows(y, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), -np.inf, (out[0] // 2, out[1] // 2)).max(
            (-1, -2)
        )[None]
    return y


def max_pool(node: NodeView, x):
    window = node.ints("kernel_shape"), node.ints("strides"), (1, 1), node.ints("pads")
    return windows(x, *window, -np.inf, node.out_shape[2:]).max((-1, -2))[None]


def average_pool(node: NodeView, x):
    window = node.ints("kernel_shape"), node.ints("strides"), (1, 1), node.ints("pads")
    total = windows(x, *window, 0.0, node.out_shape[2:]).sum((-1, -2))
    if node.integer("count_include_pad"):
        return total[None] / np.prod(node.ints("kernel_shape"))
    return total[None] / windows(np.ones_like(x), *window, 0.0, node.out_shape[2:]).sum((-1, -2))


def depth_to_space(node: NodeView, x):
    r = node.integer("blocksize")
    _, c, h, w = x.shape
    if node.text("mode") == "CRD":
        return x.reshape(1, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(node.out_shape)
    return x.reshape(1, r, r, c // r**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(node.out_shape)


def subsample(node: NodeView, x):
    (c, h, w), (nc, nh, nw), (sh, sw) = node.ints("starts"), node.ints("sizes"), node.ints("steps")
    taken = x[:, c : c + nc, h : h + (nh - 1) * sh + 1 : sh, w : w + (nw - 1) * sw + 1 : sw]
    return np.pad(taken, ((0, 0), node.ints("channel_pad"), (0, 0), (0, 0)))


def pad(node: NodeView, x):
    top, left, bottom, right = node.ints("pads")
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), node.text("mode"))


def affine(node: NodeView, x, scale, shift):
    return activate(node, x * along(x, scale) + along(x, shift))


def along(x, constant):
    return constant.reshape(1, -1, *(1,) * (x.ndim - 2))


def channel_shuffle(node: NodeView, x):
    _, c, h, w = x.shape
    group = node.integer("group")
    return x.reshape(1, group, c // group, h, w).swapaxes(1, 2).reshape(x.shape)


def softmax(node: NodeView, x):
    axis = node.integer("axis")
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def matmul(node: NodeView, a, b):
    a, b = (
        x.swapaxes(2, 3) if node.attrs[f"transpose_{name}"] else x
        for name, x in zip("ab", (a, b), strict=True)
    )
    return a @ b * node.attrs["scale"]


OPS = {
    "Conv": conv,
    "Gemm": lambda node, x, weight, bias: activate(node, x @ weight.T + bias),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda node, x: (x.sum if node.attrs["sum"] else x.mean)((2, 3), keepdims=True),
    "Add": lambda node, a, b: activate(node, a + b),
    "Sub": lambda node, a, b: activate(node, a - b),
    "Mul": lambda node, a, b: activate(node, a * b),
    "Constant": lambda _, value: value,
    "Div": lambda node, a, b: activate(node, a / b),
    "Max": lambda node, a, b: activate(node, np.maximum(a, b)),
    "Min": lambda node, a, b: activate(node, np.minimum(a, b)),
    "PRelu": lambda node, x, slope: activate(node, np.where(x < 0, x * along(x, slope), x)),
    "Activation": activate,
    "Affine": affine,
    "Concat": lambda _, *parts: np.concatenate(parts, 1),
    "Softmax": softmax,
    "MatMul": matmul,
    "Keep": lambda node, a, b: activate(node, np.where(b != 0, a, 0)),
    "ArgMax": lambda _, x: x.argmax(1, keepdims=True).astype(x.dtype),
    "Flatten": lambda node, x: x.reshape(node.out_shape),
    "DepthToSpace": depth_to_space,
    "Subsample": subsample,
    "Pad": pad,
    "Resize": lambda _, x, rows, columns: rows.astype(x.dtype) @ x @ columns.astype(x.dtype).T,
    "Transpose": lambda node, x: x.transpose(node.ints("perm")),
    "ChannelShuffle": channel_shuffle,
}
