"""How a network is trained, as plain values; what is left open is filled in by what is being done."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from pconv.errors import PconvError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Choice = Literal["best", "last"]
Optimiser = Literal["sgd", "adam"]
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Settings:
    """Hold the settings of one training run.

    batch             images per optimiser step, over all ranks together
    optimiser         "sgd" with Nesterov momentum, or "adam" with decoupled weight decay: short runs near the goal
    lr                its peak rate
    warmup            share of the steps in which the rate rises linearly; then it falls as a cosine, to zero
    weight_decay      on weights only, not on biases and batch norms
    ema               decay of the averaged weights that are validated and written; 0 turns the average off
    compile           whether torch compiles the loss first: within a minute, and steps are faster from there on
    precision         "auto" is bf16 or fp16 where the device gains by it, else fp32
    choose            the epoch that is written: the best on held-out images, or the last, which is fair where the
                      weights to begin from have seen the held-out images in their own training
    threads           of the CPU; None is torch's own choice
    images            train on so many images only, a fixed random choice (a shortened run); None = all
    save_every, log_every   steps between checkpoints (each epoch ends in one as well) and between log lines

    Raises: PconvError for a value that is not allowed.
    """

    epochs: int = 100
    batch: int = 128
    lr: float = 0.1
    optimiser: Optimiser = "sgd"
    momentum: float = 0.9
    warmup: float = 0.05
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    ema: float = 0.999
    seed: int = 0
    compile: bool = False
    precision: Precision = "auto"
    device: str | None = None
    images: int | None = None
    choose: Choice = "best"
    threads: int | None = None
    workers: int = 0
    save_every: int = 500
    log_every: int = 50

    def __post_init__(self) -> None:
        for key in ("epochs", "batch", "save_every", "log_every"):
            self._require(key, getattr(self, key) >= 1, "at least 1")
        self._require("lr", self.lr > 0, "above 0")
        self._require("images", self.images is None or self.images >= 1, "at least 1")
        self._require("threads", self.threads is None or self.threads >= 1, "at least 1")
        self._require("seed", 0 <= self.seed < 2**63, "from 0 to below 2**63")
        self._require("workers", self.workers >= 0, "at least 0")
        for key in ("momentum", "warmup", "label_smoothing", "ema"):
            self._require(key, 0 <= getattr(self, key) < 1, "from 0 to below 1")
        self._require("weight_decay", self.weight_decay >= 0, "at least 0")
        self._require("choose", self.choose in ("best", "last"), "best, last")
        self._require("optimiser", self.optimiser in ("sgd", "adam"), "sgd, adam")
        self._require("precision", self.precision in PRECISIONS, ", ".join(PRECISIONS))

    def _require(self, key: str, fine: bool, allowed: str) -> None:
        if not fine:
            raise PconvError(f"{key}: {getattr(self, key)!r} is not possible; allowed: {allowed}.")

    def defining(self) -> dict[str, object]:
        """Return what the result depends on: a run may only be resumed under the same values."""
        free = ("device", "threads", "workers", "save_every", "log_every")
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in free}
