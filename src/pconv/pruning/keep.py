"""Masked fine-tuning: the zeros that a module already has hold, and training goes on around them."""

from torch import nn

from pconv.errors import ModelError
from pconv.recipe import Recipe
from pconv.sparsity import SparsityMap

from .base import Masks, Pruner, as_array


class KeepPruner(Pruner):
    """Keep what is not zero, and fill nothing in: for a pruned model that was loaded again.

    `sparsity`, the map that pruning returned, says which zeros are pruned; without it every zero in a layer's weights
    counts. The recipe is not read: the zeros are the recipe.

    Raises: ModelError when no weight is zero, when the map has another layer's shape, or when a weight that it calls
    pruned is not zero.
    """

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe | None = None,
        steps: int | None = None,
        *,
        sparsity: SparsityMap | None = None,
    ) -> None:
        super().__init__(module, Recipe(compression_rate=1.0, first="dense", depthwise="dense"), steps)
        weights = {name: as_array(self.trained(name)) for name in self.layers}
        if sparsity is None:  # not by a map, which holds kernels of more than 64 weights whole
            self._kept = {name: array != 0 for name, array in weights.items() if not array.all()}
        else:
            sparsity.check(weights, balance=False)
            self._kept = {
                name: layer.mask() for name, layer in sparsity.layers.items() if layer.density < 1.0
            }
        if not self._kept:
            raise ModelError(
                f"{type(self.module).__name__}: no layer has zeros to keep; "
                "load pruned weights first, or prune with another method and a recipe."
            )

    def pruned(self) -> list[str]:
        """List the layers with zeros."""
        return list(self._kept)

    def select(self, step: int) -> Masks | None:
        """Choose what is there, once."""
        return self._kept if step == 0 else None
