"""torch.compile: the normalised graph as torch operators, compiled by inductor."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pconv.bench.peers.base import Call, Peer, keeping_last
from pconv.bench.peers.environment import Environment
from pconv.errors import PconvError

if TYPE_CHECKING:
    import torch

    from pconv.graph import GraphView, NodeView


class TorchCompile(Peer):
    """Weights are frozen, so that oneDNN may pack them. It reads our own graph: torch has no reader of ONNX."""

    name = "torch.compile"
    title = "torch.compile"
    environment = Environment(("torch",))

    def load(self, path: Path, threads: int) -> Call:
        import torch
        import torch._inductor.config as inductor

        from pconv.graph import load, normalise, view

        torch.set_num_threads(threads)
        inductor.freezing = True
        network = torch.compile(module(view(normalise(load(path)))))

        def run(tensors: "list[torch.Tensor]") -> list[Any]:
            with torch.inference_mode():
                return [y.numpy() for y in network(*tensors)]

        return keeping_last(lambda inputs: [torch.from_numpy(x) for x in inputs.values()], run)


def module(graph: "GraphView") -> "torch.nn.Module":
    """Make the torch module of a normalised graph.

    Raises: PconvError for an operator that is none of torch's here.
    """
    import torch

    for node in graph.nodes:
        if node.op not in _OPERATORS:
            raise PconvError(f"{node.name} ({node.op}) is not among the operators that are handed to torch")

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList(
                torch.nn.Parameter(torch.from_numpy(w.copy()), requires_grad=False)
                for node in graph.nodes
                for w in node.weights.values()
            )

        def forward(self, *inputs: "torch.Tensor") -> "list[torch.Tensor]":
            values = dict(zip(graph.inputs, inputs, strict=True))
            left = iter(self.weights)
            for node in graph.nodes:
                constants = {i: next(left) for i in node.weights}
                operands = [constants[i] if i in constants else values[n] for i, n in enumerate(node.inputs)]
                values[node.output] = _OPERATORS[node.op](node, operands)
            return [values[name] for name in graph.outputs]

    return Network().eval()


def _conv(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    y = functional.conv2d(
        _padded(node, x[0]),
        x[1],
        x[2],
        stride=node.ints("strides"),
        padding=_symmetric(node) or 0,
        dilation=node.ints("dilations"),
        groups=node.integer("group"),
    )
    y = _activated(node, y + x[3] if len(x) == 4 else y)
    return functional.max_pool2d(y, 2) if node.text("pool") else y


def _gemm(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    return _activated(node, functional.linear(*x))


def _max_pool(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    padded = _padded(node, x[0], float("-inf"))
    return functional.max_pool2d(
        padded, node.ints("kernel_shape"), node.ints("strides"), _symmetric(node) or 0
    )


def _affine(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    return _activated(node, x[0] * _along(x[1], x[0]) + _along(x[2], x[0]))


def _along(constant: "torch.Tensor", x: "torch.Tensor") -> "torch.Tensor":
    """Bring a constant of each channel beside what has them."""
    return constant.view(1, -1, *(1,) * (x.ndim - 2))


def _subsample(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    (c, top, left), (down, right) = node.ints("starts"), node.ints("steps")
    channels, height, width = node.ints("sizes")
    taken = x[0][:, c : c + channels, top::down, left::right][:, :, :height, :width]
    return functional.pad(taken, (0, 0, 0, 0, *node.ints("channel_pad")))


def _symmetric(node: "NodeView") -> tuple[int, int] | None:
    """Give pads as torch takes them; None where opposite sides differ, which are then padded before."""
    top, left, bottom, right = node.ints("pads")
    return (top, left) if (top, left) == (bottom, right) else None


def _padded(node: "NodeView", x: "torch.Tensor", value: float = 0.0) -> "torch.Tensor":
    from torch.nn import functional

    top, left, bottom, right = node.ints("pads")
    return x if _symmetric(node) else functional.pad(x, (left, right, top, bottom), value=value)


def _pad(node: "NodeView", x: "torch.Tensor") -> "torch.Tensor":
    from torch.nn import functional

    top, left, bottom, right = node.ints("pads")
    mode = {"edge": "replicate"}.get(node.text("mode"), node.text("mode"))
    return functional.pad(x, (left, right, top, bottom), mode)


def _channel_shuffle(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    return functional.channel_shuffle(x[0], node.integer("group"))


def _depth_to_space(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    block, y = node.integer("blocksize"), x[0]
    if node.text("mode") == "DCR":
        y = functional.channel_shuffle(y, block * block)
    return functional.pixel_shuffle(y, block)


def _activated(node: "NodeView", y: "torch.Tensor") -> "torch.Tensor":
    from torch.nn import functional

    low = node.number("act_min")
    match node.text("activation"):
        case "none":
            return y
        case "clip":
            return y.clamp(low, node.number("act_max"))
        case "leaky":
            return y.where(y > 0, low * y)
        case "elu":
            return functional.elu(y, low)
        case "above":
            return (y > low).to(y)
        case "atleast":
            return (y >= low).to(y)
        case "gelutanh":
            return functional.gelu(y, approximate="tanh")
        case "quickgelu":
            return y * (1.702 * y).sigmoid()
        case "hardswish" | "silu" | "gelu" | "softplus" as kind:
            made: torch.Tensor = getattr(functional, kind)(y)
            return made
        case kind:
            made = getattr(y, kind)()
            return made


def _concat(node: "NodeView", x: "list[torch.Tensor]") -> "torch.Tensor":
    import torch

    return torch.cat(x, 1)


_OPERATORS: Mapping[str, Callable[["NodeView", "list[torch.Tensor]"], "torch.Tensor"]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
    "GlobalAveragePool": lambda node, x: (x[0].sum if node.attrs["sum"] else x[0].mean)((2, 3), keepdim=True),
    "Add": lambda node, x: _activated(node, x[0] + x[1]),
    "Sub": lambda node, x: _activated(node, x[0] - x[1]),
    "Mul": lambda node, x: _activated(node, x[0] * x[1]),
    "Keep": lambda node, x: _activated(node, x[0].where(x[1] != 0, 0.0)),
    "Max": lambda node, x: _activated(node, x[0].maximum(x[1])),
    "Min": lambda node, x: _activated(node, x[0].minimum(x[1])),
    "Activation": lambda node, x: _activated(node, x[0]),
    "Affine": _affine,
    "Div": lambda node, x: _activated(node, x[0] / x[1]),
    "PRelu": lambda node, x: _activated(node, x[0].where(x[0] > 0, _along(x[1], x[0]) * x[0])),
    "Constant": lambda node, x: x[0],
    "Concat": _concat,
    "Softmax": lambda node, x: x[0].softmax(node.integer("axis")),
    "ArgMax": lambda node, x: x[0].argmax(1, keepdim=True).to(x[0]),
    "Flatten": lambda node, x: x[0].reshape(node.out_shape),
    "Subsample": _subsample,
    "Pad": lambda node, x: _pad(node, x[0]),
    "DepthToSpace": _depth_to_space,
    "ChannelShuffle": _channel_shuffle,
    "Transpose": lambda node, x: x[0].permute(node.ints("perm")),
    "Resize": lambda node, x: x[1] @ x[0] @ x[2].T,
}
