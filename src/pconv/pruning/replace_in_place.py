"""Make a traced network's operations in place ones that give new values: what is read then says what has to run.

    y = conv(x)                    y = conv(x)
    y.add_(x)           ->         z = y.add(x)
    return relu(y)                 return relu(z)

The module itself stays as it is. Refuses operations without such a form, and changes through a view that other views
of the same memory show.
"""

import copy
import operator

import torch
from torch import fx
from torch.nn import functional

from pconv.errors import UnsupportedError

_VIEWS = {
    "T", "as_strided", "bfloat16", "broadcast_to", "chunk", "contiguous", "cpu", "cuda", "data", "detach", "diagonal",
    "double", "dropout", "dropout1d", "dropout2d", "dropout3d", "expand", "expand_as", "flatten", "float", "getitem",
    "half", "identity", "mT", "moveaxis", "movedim", "narrow", "permute", "reshape", "reshape_as", "select", "split",
    "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "to", "transpose", "type", "type_as", "unbind",
    "unflatten", "unfold", "unsqueeze", "view", "view_as",
}  # fmt: skip
"""Methods, functions, attributes, and modules in lower case, whose value may lie in their input's memory."""


def replace_in_place(graph: fx.GraphModule) -> None:
    """Replace operations in place, and have later readers of what they change read what they give.

    Raises: UnsupportedError for one that has no other form, or that changes what is read through another view.
    """
    changing = _replace_modules(graph)
    memory: dict[fx.Node, fx.Node] = {}  # of each node so far: whose memory its value may lie in
    for node in graph.graph.nodes:
        inputs, name = node.all_input_nodes, _name(graph, node)
        if node in changing or _replace_call(graph, node, name):
            changed = inputs[0]
            for other, owner in memory.items():
                later = [reader for reader in other.users if reader is not node and reader not in memory]
                if other is changed:
                    for reader in later:
                        reader.replace_input_with(changed, node)
                elif later and owner is memory[changed]:
                    raise _refusal(graph, name, "changes a view of what it reads again")
            memory[node] = node
        else:
            memory[node] = memory[inputs[0]] if inputs and name in _VIEWS else node
    graph.recompile()


def _replace_modules(graph: fx.GraphModule) -> set[fx.Node]:
    """Run copies, which give new values, of modules that work in place; give the nodes that run them."""
    runs = [node for node in graph.graph.nodes if node.op == "call_module"]
    changing = {node for node in runs if getattr(graph.get_submodule(str(node.target)), "inplace", False)}
    for name in {str(node.target) for node in changing}:
        twin = copy.copy(graph.get_submodule(name))
        twin.inplace = False  # type: ignore[assignment]
        graph.set_submodule(name, twin)
    return changing


def _replace_call(graph: fx.GraphModule, node: fx.Node, name: str) -> bool:
    """Replace a function or method that works in place; say whether it is one."""
    if node.kwargs.get("inplace"):
        node.update_kwarg("inplace", False)
        return True
    if isinstance(node.kwargs.get("out"), fx.Node):
        raise _refusal(graph, name, "writes into a tensor with out=")
    if node.op not in ("call_method", "call_function") or not name.endswith("_") or name.endswith("__"):
        return False
    if hasattr(operator, name):  # and_ changes nothing
        return False
    homes = (torch.Tensor,) if node.op == "call_method" else (torch, functional)
    twins = [twin for home in homes if callable(twin := getattr(home, name[:-1], None))]
    if not twins:
        raise _refusal(graph, name, "has no form that gives a new value")
    node.target = name[:-1] if node.op == "call_method" else twins[0]
    return True


def _name(graph: fx.GraphModule, node: fx.Node) -> str:
    """Name what a node runs, or the attribute that it reads."""
    if node.op == "call_module":
        return type(graph.get_submodule(str(node.target))).__name__.lower()
    if node.target is getattr:
        return str(node.args[1])
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _refusal(graph: fx.GraphModule, name: str, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"{type(graph).__name__}: {name} in its forward {what}; post-training pruning allows operations "
        "in place on whole values, which have another form. Write it so that it gives a new value, as y = y.add(x), or "
        "export the network, and prune the ONNX file with --calibrate."
    )
