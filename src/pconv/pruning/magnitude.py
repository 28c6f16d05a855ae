"""One-shot pruning by magnitude: the masks are chosen once, and then hold while the module is fine-tuned."""

from torch import nn

from pconv.masks import magnitude_masks
from pconv.recipe import Recipe

from .base import Masks, Pruner


class MagnitudePruner(Pruner):
    """Keep what is largest before the first step.

    Source: PCONV (arXiv 1909.05073), the projections without the training that leads to them.
    """

    def select(self, step: int) -> Masks | None:
        """Choose by magnitude at once, then never again."""
        return magnitude_masks(self.weights(), self.rules) if step == 0 else None


def prune(module: nn.Module, recipe: Recipe | None = None) -> Pruner:
    """Prune a module in place, in one shot by magnitude.

        pruner = pconv.prune(module, recipe)
        for batch in data: ...; optimizer.step(); pruner.step()
        sparsity = pruner.finish()

    Raises: RecipeError when the recipe does not fit the module; ModelError when its weights cannot be pruned.
    """
    pruner = MagnitudePruner(module, recipe or Recipe())
    pruner.prepare()
    return pruner
