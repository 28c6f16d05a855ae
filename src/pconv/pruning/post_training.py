"""Pruning without labels and without a training loop, from some images: minutes on a CPU.

    1. refit        layer by layer: shapes and kernels by second order, least squares on the kept weights
    2. reconstruct  block by block, by gradient: each block's output as in the dense network
    3. distil       the whole network by gradient: its outputs as in the dense network

Steps 2 and 3 share a time budget; without one they are left out. Owns step 1's way through a torch module; the
mathematics are in `calibration`, the gradient steps in `post_training_tune.py`.
"""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, fx, nn

from pconv.calibration import Geometry, enough_images, sweep
from pconv.calibration.statistics import Array
from pconv.errors import InputError, ModelError, UnsupportedError
from pconv.progress import Progress
from pconv.recipe import Recipe, leave_dense, plan_layers
from pconv.sparsity import SparsityMap
from pconv.wrappers import copied, unwrap

from .base import as_array
from .layers import (
    Layer,
    describe_layers,
    find_layers,
    own_biases,
    own_layers,
    require_numbers,
    require_prunable,
)
from .mode import evaluating
from .post_training_tune import Budget, Vary, mirror_and_shift, tune
from .tracing import (
    OR_IN_TRAINING,
    BatchNorm,
    Values,
    added_to,
    batch_norm_after,
    calls,
    require_runs,
    trace,
)

_SMALL_SCALE = 1e-3  # a batch norm's channel that is all but switched off


def post_train(
    module: nn.Module,
    images: Tensor | Iterable[Tensor],
    recipe: Recipe | None = None,
    *,
    seconds: float | None = None,
    vary: Vary | None = mirror_and_shift,
    batch: int | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> SparsityMap:
    """Prune a trained module in place, from unlabelled images as the network reads them (normalised).

        sparsity = post_train(module, images, Recipe(compression_rate=2.25), seconds=300)

    Some hundred images will do for the refit; the gradient steps, which `seconds` turn on, make use of
    thousands. `vary` alters the images of each of their batches (by default mirrored and shifted; None = as they
    are); `batch` is how many images they have. `progress(what, done, total)` reports. The refit counts towards
    `seconds`, by `clock`.

    Shapes: images [n, c, h, w], or batches of that shape
    Raises: RecipeError when the recipe does not fit the module; ModelError for weights or activations that are not
    finite; UnsupportedError for a module that cannot be traced, a layer whose refit is not known, or gradient steps
    where all is frozen; InputError without images, or for such as the module does not run on. The module is then as it
    was.
    """
    started = clock()
    module = unwrap(module)
    every = as_batch(images)
    if batch is not None and batch < 1:
        raise InputError(f"batch: {batch}; allowed is a number of images, 1 or more.")
    if seconds is not None and not any(parameter.requires_grad for parameter in module.parameters()):
        raise UnsupportedError(
            f"{type(module).__name__}: its parameters are frozen; gradient steps allow some that require gradients. "
            "Call requires_grad_(True) on it, or leave seconds out."
        )
    layers = find_layers(module)
    require_numbers(layers)
    rules = plan_layers(recipe or Recipe(), describe_layers(layers))
    pruned = [name for name, rule in rules.items() if not rule.dense]
    require_prunable(module, layers, pruned)
    # Any other layer is dense, and stays as it is.
    own = {
        name: layer
        for name, layer in own_layers(module, layers).items()
        if not rules[name].dense or _is_plain(layer)
    }
    with evaluating(module):
        require_runs(module, every)
        dense = copied(module).requires_grad_(False)
        try:
            few = every[enough_images(len(every), every[0, 0].numel())]
            found = find_sites(module, dense, own, few, pruned)
            weights = {name: as_array(layer.weight) for name, layer in layers.items()}
            masks = sweep(found, weights, rules, progress, seed)
            idle = {name: np.ones(w.shape, bool) for name, w in weights.items()}
            sparsity = SparsityMap.detect(idle | masks)
            if seconds is not None and any(layer.density < 1.0 for layer in sparsity.layers.values()):
                budget = Budget(started, seconds, clock)
                tune(module, dense, every, sparsity, budget, vary, progress, seed, batch)
            _require_finite(module, dense)
        except BaseException:
            module.load_state_dict(dense.state_dict())
            raise
    return sparsity


def _require_finite(module: nn.Module, before: nn.Module) -> None:
    """Refuse numbers that have become NaN or infinite.

    Raises: ModelError for the first parameter or buffer that has such.
    """
    was = dict([*before.named_parameters(), *before.named_buffers()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if was[name].isfinite().all() and not tensor.isfinite().all():
            raise ModelError(
                f"{name}: post-training pruning made it NaN or infinite in {tensor.dtype}; allowed are finite numbers. "
                "Prune the module in float32, and give images in their usual range."
            )


def as_batch(images: Tensor | Iterable[Tensor]) -> Tensor:
    """Join batches of images.

    Raises: InputError for batches that are no tensors, of several sizes, or without an image.
    """
    batches = [images] if isinstance(images, Tensor) else list(images)
    if odd := [part for part in batches if not isinstance(part, Tensor)]:
        raise InputError(
            f"images: a {type(odd[0]).__name__} among them; allowed are tensors [n, c, h, w] alone, without labels."
        )
    if len(shapes := dict.fromkeys(tuple(part.shape[1:]) for part in batches)) > 1:
        raise InputError(f"images: of {' and '.join(map(str, shapes))}; allowed is one size for all.")
    batch = torch.cat(batches or [torch.empty(0)])
    if batch.ndim < 2 or not len(batch):
        raise InputError(
            f"images: shape {tuple(batch.shape)}; allowed is [n, c, h, w] with at least one image, as the network "
            "reads them."
        )
    return batch


class _Site:
    """One layer of the module, with the dense network beside it."""

    def __init__(
        self,
        name: str,
        layer: Layer,
        geometry: Geometry,
        observe: Callable[[], tuple[Array, Array]],
        bias: Tensor | None,
        norm: nn.Module | None,
    ):
        self.name = name
        self.weights = as_array(layer.weight)
        self.geometry = geometry
        self.has_bias = bias is not None or norm is not None
        self.observe = observe
        self._layer, self._bias, self._norm = layer, bias, norm

    @torch.no_grad()
    def replace(self, weights: Array, bias: Array | None) -> None:
        """Put the weights into the module; the bias goes to the layer's own, or as a mean to its batch norm."""
        self._layer.weight.copy_(torch.from_numpy(weights))
        if bias is None:
            return
        constant = torch.from_numpy(bias).to(self._layer.weight)
        if self._bias is not None:
            self._bias.copy_(constant)
        elif isinstance(self._norm, BatchNorm) and self._norm.running_mean is not None:
            self._norm.running_mean.sub_(constant)


def find_sites(
    module: nn.Module, dense: nn.Module, layers: dict[str, Layer], images: Tensor, to_prune: Iterable[str]
) -> Iterator[_Site]:
    """Walk both networks side by side; a site must be replaced before the next one is asked for.

    Raises: UnsupportedError for one of the layers `to_prune` that does not run by itself.
    """
    pruned_graph, dense_graph = trace(module), trace(dense)
    images = images.to(next(module.parameters()).device)
    pruned, whole = Values(pruned_graph, images), Values(dense_graph, images)
    twin = dict(zip(pruned_graph.graph.nodes, dense_graph.graph.nodes, strict=True))
    nodes = calls(pruned_graph, layers, to_prune)
    geometry = {name: _geometry(name, layers[name]) for name in nodes}  # of all, before anything changes
    own = own_biases(module, layers)
    left = list(nodes.values())
    for name, node in nodes.items():
        norm = batch_norm_after(pruned_graph, node)
        norm_module = None if norm is None else pruned_graph.get_submodule(str(norm.target))
        shortcut = added_to(node if norm is None else norm, left)
        bias = layers[name].bias if name in own else None
        fixed = None if name in own else _as_added(layers[name])

        def observe(
            node: fx.Node = node,
            norm: nn.Module | None = norm_module,
            shortcut: fx.Node | None = shortcut,
            fixed: Tensor | None = fixed,
        ) -> tuple[Array, Array]:
            x = as_array(pruned.at(node.all_input_nodes[0]))
            wanted = whole.at(twin[node])
            if shortcut is not None:
                error = (whole.at(twin[shortcut]) - pruned.at(shortcut)) * _unscale(norm, wanted)
                if (wanted + error).shape == wanted.shape:  # else each value is added to many
                    wanted = wanted + error
            return x, as_array(wanted if fixed is None else wanted - fixed)

        yield _Site(name, layers[name], geometry[name], observe, bias, norm_module)
        left.remove(node)


def _as_added(layer: Layer) -> Tensor | None:
    """Give a layer's bias in the shape in which it is added to what the layer gives."""
    if layer.bias is None:
        return None
    bias = layer.bias.detach()
    return bias if isinstance(layer, nn.Linear) else bias[:, None, None]


def _unscale(norm: nn.Module | None, like: Tensor) -> Tensor:
    """Give what turns a change after the batch norm into one before it, per channel; 0 where it is switched off."""
    if not isinstance(norm, BatchNorm) or norm.running_var is None:
        return like.new_ones(())
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    on = scale.abs() > _SMALL_SCALE
    return torch.where(on, 1 / torch.where(on, scale, 1.0), 0.0)[:, None, None]


def _is_plain(layer: Layer) -> bool:
    """Say whether what a layer reads beyond its input is zero, and told in numbers."""
    return isinstance(layer, nn.Linear) or (
        not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
    )


def _geometry(name: str, layer: Layer) -> Geometry:
    if isinstance(layer, nn.Linear):
        return Geometry()
    if not _is_plain(layer):
        raise UnsupportedError(
            f"{name}: padding {layer.padding!r}, mode {layer.padding_mode}; post-training pruning allows zeros, given "
            f"as numbers. {leave_dense(name)} {OR_IN_TRAINING}"
        )
    return Geometry(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)  # type: ignore[arg-type]
