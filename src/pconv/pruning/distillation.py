"""Distillation: the network as it was before pruning teaches the pruned one, in any method."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from pconv.errors import ModelError, RecipeError
from pconv.wrappers import copied, unwrap

BLOCK_WEIGHT = 4.0  # to outputs alone a pruned network comes more slowly
_TINY = 1e-12  # the variance of values that are all alike


class Distillation:
    """Be the loss of a classifier that also learns from a teacher's softened outputs.

        loss = Distillation(module)                 # before pruning: the teacher is a frozen copy
        pruner = pconv.prune(module, recipe)
        (loss(module(x), x, y) + pruner.penalty()).backward()

    `weight` (0..1) is the teacher's share, the rest is cross entropy with the labels, smoothed by `label_smoothing`.
    With `student`, the module that learns, its blocks shall give what the teacher's give as well: the squared
    difference over the variance, added up. A block is a module that runs and holds two or more convolutions itself;
    of several tensors that one gives, in a tuple, list or dict, each counts. `release()` the student after training.

    Raises: RecipeError for a temperature that is not positive, a weight out of 0..1, or a student with other blocks.
    Source: Hinton, Vinyals and Dean (arXiv 1503.02531); the blocks are FitNets' hints (arXiv 1412.6550), all at once.
    """

    def __init__(
        self,
        teacher: nn.Module,
        temperature: float = 4.0,
        weight: float = 0.9,
        *,
        student: nn.Module | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        if not temperature > 0 or not 0 <= weight <= 1:
            raise RecipeError(
                f"distillation: temperature {temperature:g}, weight {weight:g}; "
                "allowed are a temperature above 0 and a weight of 0 to 1"
            )
        self.teacher = copied(unwrap(teacher)).eval().requires_grad_(False)
        self.temperature, self.weight, self.label_smoothing = temperature, weight, label_smoothing
        self._given: dict[str, list[Tensor]] = {}
        self._wanted: dict[str, list[Tensor]] = {}
        self._hooks: list[RemovableHandle] = []
        if student is not None:
            blocks, there = _blocks(unwrap(student)), _blocks(self.teacher)
            if blocks.keys() != there.keys():
                odd = min(blocks.keys() ^ there.keys())
                raise RecipeError(
                    f"distillation: only one of student and teacher has a block {odd}; allowed are two networks with "
                    "the same blocks. Leave student out, and the outputs alone are learnt."
                )
            self._hooks = _keep_outputs(blocks, self._given)
            _keep_outputs(there, self._wanted)

    def release(self) -> None:
        """Take the hooks off the student's blocks, and forget their outputs: only whole outputs count from here on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._given.clear()

    def __call__(
        self, student_logits: Tensor, teacher_inputs: Tensor, targets: Tensor | None = None
    ) -> Tensor:
        """Give the loss of one batch; without targets the teacher alone counts.

        Shapes: student_logits [n, classes], targets [n] (indices) or [n, classes] (shares)
        Raises: ModelError where the student's blocks were to learn, and gave nothing.
        """
        if self._hooks and not self._given:
            raise ModelError(
                "distillation: none of the student's blocks gave an output; torch.compile does not see what is "
                "attached after a module has run. Make Distillation before that."
            )
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(teacher_inputs) / self.temperature, 1)
        guess = functional.log_softmax(student_logits / self.temperature, 1)
        soft = functional.kl_div(guess, wanted, log_target=True, reduction="batchmean") * self.temperature**2
        for name, tensors in self._given.items():
            for given, there in zip(tensors, self._wanted[name], strict=True):
                soft = soft + BLOCK_WEIGHT * relative_error(given, there)
        if targets is None:
            return soft
        hard = functional.cross_entropy(student_logits, targets, label_smoothing=self.label_smoothing)
        return self.weight * soft + (1 - self.weight) * hard


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Give the mean squared difference over the variance of what is wanted, a scalar.

    Shapes: given and wanted alike
    """
    if given.ndim > 1 and (moved := given.movedim(1, -1)).is_contiguous():  # channels last
        given, wanted = moved, wanted.movedim(1, -1)
    # As vectors: gradients come back in the layout of what was given, and those of mse_loss do not.
    given, wanted = given.reshape(-1).float(), wanted.reshape(-1).float()
    error = given - wanted
    return error.dot(error) / error.numel() / variance(wanted)  # var of bf16 would take ten times as long


def variance(values: Tensor) -> Tensor:
    """Give the variance of all values, a scalar above 0."""
    return values.var().clamp_min(_TINY)


def _blocks(module: nn.Module) -> dict[str, nn.Module]:
    """Find the modules inside that hold two or more convolutions themselves; lists of modules do not run."""
    return {
        name: block
        for name, block in module.named_modules()
        if name
        and type(block).forward is not nn.Module.forward
        and sum(isinstance(child, nn.Conv2d) for child in block.children()) > 1
    }


def _keep_outputs(blocks: Mapping[str, nn.Module], kept: dict[str, list[Tensor]]) -> list[RemovableHandle]:
    """Have every block's last output at hand after the network ran."""
    hooks = []
    for name, block in blocks.items():

        def keep(block: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            kept[name] = _tensors(output)

        hooks.append(block.register_forward_hook(keep))
    return hooks


def _tensors(output: Any) -> list[Tensor]:
    """List the tensors in what a module gives that can be compared: floats, more than one of them."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, tuple | list):
        return [tensor for part in output for tensor in _tensors(part)]
    return (
        [output] if isinstance(output, Tensor) and output.is_floating_point() and output.numel() > 1 else []
    )
