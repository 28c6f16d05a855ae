"""Fit a network and score one, the same way every time for the same seed and number of threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pconv.demo.data import Floats, Images
from pconv.pruning import Distillation

Predict = Callable[[Floats], NDArray[np.floating]]
OnBatch = Callable[[int, int, float], object]

# Fixed, because sums in another order are other sums. One, because two that wait for each other at every
# layer become several times slower as soon as something else runs on the machine.
THREADS = 1


def fit(
    model: nn.Module,
    data: Images,
    *,
    epochs: int,
    lr: float,
    batch: int = 64,
    seed: int = 0,
    threads: int = THREADS,
    teacher: nn.Module | None = None,
    shift: int = 0,
    flip: bool = False,
    weight_decay: float = 1e-4,
    on_batch: OnBatch | None = None,
    after_step: Callable[[], object] | None = None,
) -> nn.Module:
    """Train a network in place with SGD under a one-cycle rate, and return it in eval mode.

    `teacher`, usually the network before pruning, adds its softened outputs to the loss. `shift` (pixels) and
    `flip` vary the pictures. `on_batch(done, total, loss)` reports; `after_step` runs after every update.
    """
    per_epoch = max(1, len(data) // batch)
    total = epochs * per_epoch
    optimiser = torch.optim.SGD(
        model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=total, cycle_momentum=False)
    taught = None if teacher is None else Distillation(teacher)
    order = np.random.Generator(np.random.PCG64(seed))
    with _repeatable(seed, threads):
        model.train()
        for done, rows in enumerate(_rows(order, len(data), batch, total), start=1):
            x = _vary(torch.from_numpy(data.normalised(rows)), shift, flip)
            labels = torch.from_numpy(data.labels[rows])
            loss = taught(model(x), x, labels) if taught else functional.cross_entropy(model(x), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if after_step is not None:
                after_step()
            if on_batch is not None:
                on_batch(done, total, loss.item())
    return model.eval()


def accuracy(predict: nn.Module | Predict, images: Images, batch: int = 250) -> float:
    """Return the share of pictures, 0..1, whose largest output is the right class.

    `predict` is a torch module or anything that maps an array to an array, such as a compiled engine.
    """
    call = predictor(predict) if isinstance(predict, nn.Module) else predict
    right = sum(int((call(x).argmax(1) == labels).sum()) for x, labels in images.batches(batch))
    return right / len(images)


def predictor(module: nn.Module) -> Predict:
    """Make a torch module a function of arrays, in eval mode and without gradients."""

    def predict(x: Floats) -> NDArray[np.floating]:
        with torch.no_grad():
            y: NDArray[np.floating] = module.eval()(torch.from_numpy(x)).numpy()
        return y

    return predict


def _rows(order: np.random.Generator, count: int, batch: int, total: int) -> Iterator[NDArray[np.int64]]:
    """Draw `total` batches, each epoch a new permutation without the rest that does not fill one."""
    per_epoch = max(1, count // batch)
    for step in range(total):
        if step % per_epoch == 0:
            permutation = order.permutation(count)
        begin = step % per_epoch * batch
        yield permutation[begin : begin + batch]


def _vary(x: Tensor, shift: int, flip: bool) -> Tensor:
    """Move each picture by up to `shift` pixels, and mirror half of them."""
    n, _, height, width = x.shape
    if shift:
        padded = functional.pad(x, (shift,) * 4, value=float(x.min()))
        top, left = torch.randint(0, 2 * shift + 1, (2, n, 1, 1, 1))
        rows = top + torch.arange(height)[:, None]
        columns = left + torch.arange(width)
        x = padded[
            torch.arange(n)[:, None, None, None], torch.arange(x.shape[1])[:, None, None], rows, columns
        ]
    if flip:
        mirrored = torch.rand(n) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    return x


@contextmanager
def _repeatable(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and fix its threads, then put both back."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
