"""Distillation: the network as it was before pruning teaches the pruned one, in any method."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from pconv.errors import RecipeError

from .layers import unwrap


class Distillation:
    """Be the loss of a classifier that also learns from a teacher's softened outputs.

        loss = Distillation(module)                 # before pruning: the teacher is a frozen copy
        pruner = pconv.prune(module, recipe)
        (loss(module(x), x, y) + pruner.penalty()).backward()

    `weight` (0..1) is the teacher's share, the rest is cross entropy with the labels.

    Raises: RecipeError for a temperature that is not positive, or a weight out of 0..1.
    Source: Hinton, Vinyals and Dean (arXiv 1503.02531).
    """

    def __init__(self, teacher: nn.Module, temperature: float = 4.0, weight: float = 0.9) -> None:
        if not temperature > 0 or not 0 <= weight <= 1:
            raise RecipeError(
                f"distillation: temperature {temperature:g}, weight {weight:g}; "
                "allowed are a temperature above 0 and a weight of 0 to 1"
            )
        self.teacher = copy.deepcopy(unwrap(teacher)).eval().requires_grad_(False)
        self.temperature, self.weight = temperature, weight

    def __call__(
        self, student_logits: Tensor, teacher_inputs: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Give the loss of one batch; without targets the teacher alone counts.

        Shapes: student_logits [n, classes], targets [n] (indices) or [n, classes] (shares)
        """
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(teacher_inputs) / self.temperature, 1)
        guess = functional.log_softmax(student_logits / self.temperature, 1)
        soft = functional.kl_div(guess, wanted, log_target=True, reduction="batchmean") * self.temperature**2
        if targets is None:
            return soft
        return self.weight * soft + (1 - self.weight) * functional.cross_entropy(student_logits, targets)
