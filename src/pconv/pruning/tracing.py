"""A torch module as a graph of named values, run as far as somebody asks.

Owns what post-training needs to know of a network: what a layer reads, what its output is added to, and where the
network can be cut in two. Refuses modules that torch.fx cannot trace.
"""

import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from pconv.errors import InputError, UnsupportedError
from pconv.recipe import leave_dense

from .layers import WEIGHT, Layer, runs_as_torch
from .replace_in_place import replace_in_place

OR_IN_TRAINING = "Or prune it while training, with pconv.prune."
BatchNorm = nn.BatchNorm2d | nn.SyncBatchNorm
_ADDS = (operator.add, torch.add, "add")


class _Tracer(fx.Tracer):
    """Trace as torch does, but keep layers whole that are classes of the user's own and compute what torch's do."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Layer):
            return runs_as_torch(m)
        return super().is_leaf_module(m, module_qualified_name)


def trace(module: nn.Module) -> fx.GraphModule:
    """Trace a module; the graph runs the module's own layers, so that changing them changes it, and nothing in place.

    Raises: UnsupportedError when its forward depends on values, has several inputs, or works in place where that has
    no other form.
    """
    try:
        graph = fx.GraphModule(module, _Tracer().trace(module), type(module).__name__)
    except Exception as error:  # whatever a forward does with a proxy
        raise UnsupportedError(
            f"{type(module).__name__}: post-training pruning cannot trace its forward ({_reason(error)}); "
            "allowed is one without branches on values. Export it, and prune the ONNX file with --calibrate."
        ) from error
    if len([node for node in graph.graph.nodes if node.op == "placeholder"]) != 1:
        raise UnsupportedError(
            f"{type(module).__name__}: post-training pruning feeds one input; allowed are modules with one."
        )
    replace_in_place(graph)
    return graph


@torch.no_grad()
def require_runs(module: nn.Module, images: Tensor) -> None:
    """Run a module that can be traced on the first image.

    Raises: UnsupportedError as `trace` does; InputError where it does not run.
    """
    trace(module)
    image = images[:1].to(next(module.parameters()).device)
    try:
        module(image.clone())  # it may change what it reads
    except Exception as error:  # whatever a forward raises on what it was not made for
        raise InputError(
            f"images: {type(module).__name__} does not run on {list(image.shape)} of {image.dtype} ({_reason(error)}); "
            "allowed are images as it reads them."
        ) from error


class Values:
    """Run a traced network's nodes when their values are asked for; drop each value after its last reader."""

    def __init__(self, graph: fx.GraphModule, images: Tensor) -> None:
        self._interpreter = fx.Interpreter(graph)
        self._order = list(graph.graph.nodes)
        self._env: dict[fx.Node, Any] = self._interpreter.env
        self._unread = {node: set(node.users) for node in self._order}
        self._done: set[fx.Node] = set()
        start = next(node for node in self._order if node.op == "placeholder")
        self._env[start] = images
        self._done.add(start)

    @torch.no_grad()
    def at(self, wanted: fx.Node) -> Tensor:
        """Give a node's value; it must not have been dropped."""
        needed = ancestors(wanted) - self._done
        for node in self._order:
            if node in needed:
                self._env[node] = self._interpreter.run_node(node)
                self._done.add(node)
                for source in node.all_input_nodes:
                    self._unread[source].discard(node)
                    if not self._unread[source]:
                        del self._env[source]
        value: Tensor = self._env[wanted]
        return value


def run(graph: fx.GraphModule, nodes: Iterable[fx.Node], known: Mapping[fx.Node, Any]) -> dict[fx.Node, Any]:
    """Run some nodes in order, given the values that they read, and return all values; gradients flow.

    The module's own parameters need not be given: a node elsewhere may read them first.
    """
    interpreter = fx.Interpreter(graph)
    interpreter.env = dict(known)
    for node in nodes:
        for source in node.all_input_nodes:
            if source.op == "get_attr" and source not in interpreter.env:
                interpreter.env[source] = interpreter.run_node(source)
        interpreter.env[node] = interpreter.run_node(node)
    return interpreter.env


def ancestors(node: fx.Node) -> set[fx.Node]:
    """Collect a node and all that it depends on."""
    found: set[fx.Node] = set()
    queue = [node]
    while queue:
        node = queue.pop()
        if node not in found:
            found.add(node)
            queue += node.all_input_nodes
    return found


def calls(graph: fx.GraphModule, names: Iterable[str], pruned: Iterable[str]) -> dict[str, fx.Node]:
    """Find the node that runs each layer, in the order of execution; layers that do not run once are left out.

    Raises: UnsupportedError for one of `pruned` that runs more than once, or that something else computes.
    """
    wanted, pruned = set(names), list(pruned)
    runs = [node for node in graph.graph.nodes if node.op == "call_module" and node.target in wanted]
    times = Counter(str(node.target) for node in runs)
    for name in pruned:
        if times[name] > 1:
            raise UnsupportedError(
                f"{name}: it runs more than once; post-training pruning allows layers that run once. "
                f"{leave_dense(name)} {OR_IN_TRAINING}"
            )
    found = {str(node.target): node for node in runs if times[str(node.target)] == 1}
    for name in pruned:
        if name not in found and (where := _computed_in(graph, name)):
            raise UnsupportedError(
                f"{name}: {where} computes with its weight; post-training pruning allows layers that run by "
                f"themselves. {leave_dense(name)} {OR_IN_TRAINING}"
            )
    return found


def _computed_in(graph: fx.GraphModule, layer: str) -> str | None:
    """Say what reads the weight of a layer that is no node."""
    for node in graph.graph.nodes:
        if node.op == "get_attr" and node.target in (layer, f"{layer}.{WEIGHT}"):
            return "a forward of your own"
        if node.op == "call_module" and layer.startswith(f"{node.target}."):
            return f"{node.target} ({type(graph.get_submodule(node.target)).__name__})"
    return None


def batch_norm_after(graph: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Find the batch norm that alone reads a convolution, and runs there alone: its mean is that one's to change."""
    readers = list(node.users)
    convolution = isinstance(graph.get_submodule(str(node.target)), nn.Conv2d)
    if convolution and len(readers) == 1 and readers[0].op == "call_module":
        module = graph.get_submodule(str(readers[0].target))
        if isinstance(module, BatchNorm) and module.running_mean is not None:
            return readers[0] if _times(graph, module) == 1 else None
    return None


def _times(graph: fx.GraphModule, module: nn.Module) -> int:
    """Count the nodes that run a module."""
    runs = [node for node in graph.graph.nodes if node.op == "call_module"]
    return sum(graph.get_submodule(str(node.target)) is module for node in runs)


def added_to(node: fx.Node, layers: Iterable[fx.Node]) -> fx.Node | None:
    """Find what a node's value is added to, where that is known before any of `layers` runs."""
    readers = list(node.users)
    if len(readers) != 1 or readers[0].target not in _ADDS or readers[0].kwargs:  # alpha is a factor
        return None
    others = [arg for arg in readers[0].args if arg is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node):
        return None
    return None if ancestors(others[0]) & set(layers) else others[0]


@dataclass(frozen=True)
class Block:
    """A stretch of the network with one value in and one out. `nodes` run in this order; the last gives `end`."""

    start: fx.Node
    nodes: tuple[fx.Node, ...]
    layers: tuple[str, ...]

    @property
    def end(self) -> fx.Node:
        """Give the node whose value comes out."""
        return self.nodes[-1]


def blocks(graph: fx.GraphModule, layers: Iterable[str]) -> list[Block]:
    """Divide the network where one value is all that the rest needs, with two of the layers or more in each block."""
    names = set(layers)
    whole = set(_cuts(graph))
    nodes = [node for node in graph.graph.nodes if node.op != "output"]
    found: list[Block] = []
    inside: list[fx.Node] = []  # of the block that grows, up to its last cut
    beyond: list[fx.Node] = []  # after that cut
    start = nodes[0]
    for node in nodes[1:]:
        beyond.append(node)
        if node in whole:
            if len(_layers(inside, names)) > 1 and _layers(beyond, names):
                found.append(Block(start, tuple(inside), _layers(inside, names)))
                start, inside = inside[-1], []
            inside, beyond = inside + beyond, []
    if inside and _layers(inside, names):
        found.append(Block(start, tuple(inside), _layers(inside, names)))
    return found


def _layers(nodes: Iterable[fx.Node], names: set[str]) -> tuple[str, ...]:
    return tuple(str(node.target) for node in nodes if node.op == "call_module" and node.target in names)


def _cuts(graph: fx.GraphModule) -> list[fx.Node]:
    """List the nodes whose value is all that the rest of the network needs, in order."""
    nodes = [node for node in graph.graph.nodes if node.op != "get_attr"]
    place = {node: i for i, node in enumerate(nodes)}
    found, last_read = [], 0
    for i, node in enumerate(nodes):
        if last_read <= i and node.op != "output":
            found.append(node)
        last_read = max([last_read, *(place[user] for user in node.users)])
    return found


def _reason(error: Exception) -> str:
    """Give the first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
