"""One-shot pruning by magnitude: the masks are chosen once, and then hold while the module is fine-tuned."""

from pconv.masks import magnitude_masks

from .base import Masks, Pruner


class MagnitudePruner(Pruner):
    """Keep what is largest before the first step.

    Source: PCONV (arXiv 1909.05073), the projections without the training that leads to them.
    """

    def select(self, step: int) -> Masks | None:
        """Choose by magnitude at once, then never again."""
        return magnitude_masks(self.weights(), self.rules) if step == 0 else None
