"""The training loop. A run at one moment is its step and its tensors; everything else follows from the step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pconv.pruning.ranks import broadcast
from pconv.training import checkpoint, distributed, precision
from pconv.training.compiled import Loss, compiled
from pconv.training.data import Parts, plan_epoch
from pconv.training.data.parts import mix
from pconv.training.ema import Average
from pconv.training.evaluate import accuracy
from pconv.training.guard import cannot_train, check_loss, check_weights
from pconv.training.log import Event, Log, OnEvent
from pconv.training.schedule import rate
from pconv.training.settings import Settings
from pconv.training.small_images import small_images_as_products

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, labels, images) -> loss"""


class Pruning(Protocol):
    """What the loop asks of a pruner."""

    def step(self) -> None: ...
    def penalty(self) -> Tensor: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Loop:
    """Train a module in place; `run` does it all.

    `ready` says whether the network as it is may be the result: a method that prunes gradually is not ready
    before its masks are as sparse as the recipe asks. `begin` is when the work began, by `time.perf_counter`, where
    that was before now.
    """

    def __init__(
        self,
        module: nn.Module,
        parts: Parts,
        settings: Settings,
        objective: Objective,
        *,
        folder: Path | None = None,
        pruner: Pruning | None = None,
        ready: Callable[[], bool] = lambda: True,
        about: Mapping[str, Any] | None = None,
        ranks: distributed.Ranks = distributed.ALONE,
        tensorboard: bool = False,
        begin: float | None = None,
        on_event: OnEvent = lambda event: None,
    ) -> None:
        self.parts, self.settings, self.objective = parts, settings, objective
        self.folder, self.pruner, self.ready, self.ranks, self.on_event = (
            folder, pruner, ready, ranks, on_event,
        )  # fmt: skip
        self.device = distributed.choose_device(settings.device, ranks)
        self.module = module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype = precision.choose_type(settings.precision, self.device)
        self.scaler = precision.scaler(self.device, self.dtype)
        self.optimiser = _make_optimiser(module, settings)
        self.average = Average(module, settings.ema)
        self.log = Log(folder if ranks.first else None, tensorboard)
        self.per_epoch = epoch_steps(len(parts.train), settings.batch)
        self.total = settings.epochs * self.per_epoch
        self.about = checkpoint.describe(settings, about or {})
        self.begin = time.perf_counter() if begin is None else begin
        self.seconds_before = 0.0
        self.step = 0
        self.loss_sum = 0.0
        self.best: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        """Train from where the run stands to its end, and leave the best network in the module.

        Returns: the epoch and held-out accuracy of the best network, and its state.
        Raises: PconvError when the loss or the weights are no longer finite.
        """
        if self.step == 0:
            self.log.rewind(0, 0)
        loss_of = self._make_loss()
        while self.step < self.total:
            epoch, position = divmod(self.step, self.per_epoch)
            self._train_epoch(loss_of, epoch, position)
            self._validate(epoch)
            self._save()
        self.log.close()
        if self.best is None:
            # The method's schedule did not end: its last masks are chosen when it finishes.
            with self.average.applied():
                self.best = {"epoch": self.settings.epochs, "held_out": None, "state": self._state()}
        self.module.load_state_dict(self.best["state"])
        self.module.eval()
        return self.best

    def resume(self) -> bool:
        """Take over the folder's checkpoint; say whether there was one.

        Raises: PconvError when it is damaged, or of a run with other settings.
        """
        assert self.folder is not None
        state = checkpoint.find(self.folder, self.about)
        if state is None:
            return False
        with checkpoint.understanding(self.folder / checkpoint.FILE):
            self.module.load_state_dict(state["module"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.average.load_state_dict(state["average"])
            if self.pruner is not None:
                self.pruner.load_state_dict(state["pruner"])
            self.step, self.loss_sum = state["step"], state["loss_sum"]
            self.seconds_before = state["seconds"]
        if state["best"] is not None:
            self.best = checkpoint.load_best(self.folder, state["best"])
        if self.ranks.first:
            self.log.rewind(state["log_bytes"], self.step)
        return True

    def seconds(self) -> float:
        """Say how long the run has taken, over all its sessions, each up to its last checkpoint."""
        return self.seconds_before + time.perf_counter() - self.begin

    def _make_loss(self) -> Loss:
        forward = distributed.spread(self.module, self.device, self.ranks)
        objective, device, dtype = self.objective, self.device, self.dtype

        def loss_of(x: Tensor, y: Tensor) -> Tensor:
            with precision.autocast(device, dtype):
                return objective(forward(x).float(), y, x)

        def eager(x: Tensor, y: Tensor) -> Tensor:
            with small_images_as_products(device, dtype):
                return loss_of(x, y)

        if not self.settings.compile:
            return eager
        self.on_event(Event("compiling the loss, up to a minute"))
        return compiled(loss_of)

    def _train_epoch(self, loss_of: Loss, epoch: int, position: int) -> None:
        settings, begin = self.settings, time.perf_counter()
        draws = plan_epoch(len(self.parts.train), settings.batch, settings.seed, epoch)[position:]
        self.module.train()
        for done, (x, y) in enumerate(
            self.parts.train.batches(draws, self.device, self.ranks, settings.workers), start=1
        ):
            lr = rate(settings.lr, self.step, self.total, settings.warmup)
            loss = self._take_step(loss_of, x, y, lr)
            self.loss_sum += loss
            self.step += 1
            if self.step % settings.log_every == 0:
                (total,) = self.ranks.total(loss)
                self.log.write(self.step, epoch=epoch + 1, loss=total / self.ranks.world, lr=lr)
            speed = done * settings.batch / (time.perf_counter() - begin)
            self.on_event(
                Event(
                    f"epoch {epoch + 1}/{settings.epochs}  loss {loss:.3f}  {speed:.0f} images/s",
                    self.step / self.total,
                )
            )
            if self.step % settings.save_every == 0 and self.step % self.per_epoch:
                self._save()

    def _take_step(self, loss_of: Loss, x: Tensor, y: Tensor, lr: float) -> float:
        torch.manual_seed(mix(self.settings.seed, self.step, self.ranks.rank))  # for dropout
        for group in self.optimiser.param_groups:
            group["lr"] = lr

        def forward() -> None:
            with precision.autocast(self.device, self.dtype):  # fp16 overflows where fp32 does not
                self.module(x)

        try:
            loss = loss_of(x, y)
        except ValueError as error:
            raise cannot_train(error, len(x)) from error
        value = loss.item()
        check_loss(value, self.step + 1, self.module, forward)
        if self.pruner is not None:
            loss = loss + self.pruner.penalty()
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.pruner is not None:
            self.pruner.step()
        self.average.update()
        return value

    def _validate(self, epoch: int) -> None:
        ready = self.ready()
        with self.average.applied():
            # Ranks average the statistics of their own images: the network that is validated is the one rank 0 writes.
            broadcast(value for value in self.module.buffers() if value.is_floating_point())
            check_weights(self.step, self.module)
            right = accuracy(self.module, self.parts.held_out, self.device, self.ranks, self.settings.workers)
            last = self.settings.choose == "last"
            better = ready and (last or self.best is None or right > self.best["held_out"])
            if better:
                self.best = {"epoch": epoch + 1, "held_out": right, "state": self._state()}
        (loss,) = self.ranks.total(self.loss_sum)
        loss /= self.per_epoch * self.ranks.world
        self.loss_sum = 0.0
        self.log.write(self.step, epoch=epoch + 1, epoch_loss=loss, held_out=right, best=better)
        if better and self.folder is not None and self.ranks.first:
            checkpoint.save(checkpoint.best_path(self.folder, epoch + 1), self.best or {})
        self.on_event(
            Event(
                f"epoch {epoch + 1}/{self.settings.epochs}: loss {loss:.3f}, held-out {100 * right:.2f}%"
                + (", best so far" if better and not last else ""),
                self.step / self.total,
                milestone=True,
            )
        )

    def _state(self) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in self.module.state_dict().items()}

    def _save(self) -> None:
        check_weights(self.step, self.module)
        (loss,) = self.ranks.total(self.loss_sum)
        if self.folder is None or not self.ranks.first:
            return
        best = None if self.best is None else self.best["epoch"]
        state = {
            "about": self.about,
            "step": self.step,
            "loss_sum": loss / self.ranks.world,  # all ranks go on with their mean
            "seconds": self.seconds(),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict(),
            "pruner": None if self.pruner is None else self.pruner.state_dict(),
            "best": best,
            "log_bytes": self.log.bytes(),
        }
        checkpoint.save(self.folder / checkpoint.FILE, state)
        checkpoint.clear(self.folder, best)


def epoch_steps(images: int, batch: int) -> int:
    """Count the optimiser steps of an epoch."""
    return images // min(batch, images)


def _make_optimiser(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if settings.optimiser == "adam":
        return torch.optim.AdamW(groups, settings.lr)
    return torch.optim.SGD(groups, settings.lr, settings.momentum, nesterov=settings.momentum > 0)
