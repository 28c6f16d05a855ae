"""The gradient steps of post-training pruning: the dense network's values are the only targets.

    reconstruct   x --block--> y      each block by itself: x as the pruned prefix gives it, y as the dense network's
    distil        images -> outputs   the whole network, its blocks' outputs included

The zeros hold all the while. Both run on a share of one budget of seconds, under a rate that falls to zero with it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from pconv.progress import Progress
from pconv.sparsity import SparsityMap

from .distillation import relative_error, variance
from .keep import KeepPruner
from .memory import owners, places_of
from .tracing import Block, blocks, run, trace

Vary = Callable[[Tensor, torch.Generator], Tensor]

BATCH_PIXELS = 1 << 17  # of the input, where the caller leaves the batch open
BATCH_SIZES = 8, 128
RECONSTRUCT_SHARE = 0.25  # of the seconds that the refit left
RECONSTRUCT_IMAGES = 2048
RECONSTRUCT_LR = 1e-3
DISTIL_LR = 1e-3
EPS, HALF_EPS = 1e-8, 1e-4  # of Adam, in float16 too: 1e-8 is zero there
WARM_UP = 0.05
SHIFT = 1 / 8  # of the side


@dataclass(frozen=True)
class Budget:
    """Count a span of seconds on some clock."""

    started: float
    seconds: float
    clock: Callable[[], float]

    def spent(self) -> float:
        """Give the share that is over, 0 to 1 and beyond."""
        return (self.clock() - self.started) / max(self.seconds, 1e-9)

    def part(self, share: float) -> "Budget":
        """Begin a span now of this share of what is left."""
        now = self.clock()
        return Budget(now, share * max(0.0, self.started + self.seconds - now), self.clock)


def mirror_and_shift(
    images: Tensor, generator: torch.Generator, far: int | None = None, border: str = "replicate"
) -> Tensor:
    """Mirror half of the images, and move each by up to `far` pixels, by default an eighth of its side.

    `border` says what moves in, as in torch's pad: "replicate" repeats the edge, "constant" is zeros.

    Shapes: [n, c, h, w] -> the same; other shapes come back as they are
    """
    if images.ndim != 4:
        return images
    n, _, height, width = images.shape
    if far is None:
        far = max(1, round(SHIFT * min(height, width)))
    windows = functional.pad(images, (far,) * 4, border).unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(0, 2 * far + 1, (2, n), generator=generator).to(images.device)
    moved = windows[torch.arange(n, device=images.device), :, top, left]
    mirrored = (torch.rand(n, generator=generator) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], moved.flip(-1), moved)


@torch.enable_grad()
def tune(
    module: nn.Module,
    dense: nn.Module,
    images: Tensor,
    sparsity: SparsityMap,
    budget: Budget,
    vary: Vary | None,
    progress: Progress | None = None,
    seed: int = 0,
    batch: int | None = None,
) -> None:
    """Bring a refitted module nearer to the dense network, in place, until the budget is spent."""
    device = next(module.parameters()).device
    pair = _Pair(trace(module), trace(dense))
    pruner = KeepPruner(module, sparsity=sparsity)
    with _channels_last(module), _channels_last(dense):
        try:
            pruner.prepare()
            if batch is None:
                batch = min(max(BATCH_PIXELS // images[0, 0].numel(), BATCH_SIZES[0]), BATCH_SIZES[1])
            source = _Source(images, batch, vary, torch.Generator().manual_seed(seed), device)
            if parts := blocks(pair.pruned, pruner.pruned()):
                _reconstruct(pair, parts, source, budget.part(RECONSTRUCT_SHARE), progress)
                if pair.parameters():  # a parameter of the network itself is none of a layer's
                    _distil(pair, parts, source, budget.part(1.0), progress)
        finally:
            pruner.finish()


@contextmanager
def _channels_last(module: nn.Module) -> Iterator[None]:
    """Hold kernels channels last for a while, and no gradients; then each where it lay, and the caller's gradients.

    The same numbers, a fifth faster on a CPU. What lies in the memory of another parameter stays there.
    """
    places = places_of(module)
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    kernels = [
        (parameter, parameter.data)
        for parameter in module.parameters()
        if parameter.ndim == 4 and len(owners(parameter, places)) == 1
    ]
    module.zero_grad()
    for parameter, data in kernels:
        parameter.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        for parameter, data in kernels:
            parameter.data = data.copy_(parameter.data)
        for parameter, gradient in gradients:
            parameter.grad = gradient


class _Pair:
    """The pruned and the dense network as graphs of the same nodes."""

    def __init__(self, pruned: fx.GraphModule, dense: fx.GraphModule) -> None:
        self.pruned, self.dense = pruned, dense
        self._twin = dict(zip(pruned.graph.nodes, dense.graph.nodes, strict=True))

    def after(self, block: Block, x: Tensor) -> Tensor:
        """Run a block of the pruned network; gradients flow."""
        y: Tensor = run(self.pruned, block.nodes, {block.start: x})[block.end]
        return y

    @torch.no_grad()
    def wanted_after(self, block: Block, x: Tensor) -> Tensor:
        """Run a block of the dense network."""
        nodes = [self._twin[node] for node in block.nodes]
        y: Tensor = run(self.dense, nodes, {self._twin[block.start]: x})[nodes[-1]]
        return y

    def parameters(self, block: Block | None = None) -> list[nn.Parameter]:
        """List what can be trained in a block, or in the whole pruned network."""
        nodes = self.pruned.graph.nodes if block is None else block.nodes
        modules = [self.pruned.get_submodule(str(node.target)) for node in nodes if node.op == "call_module"]
        every = [parameter for module in modules for parameter in module.parameters()]
        return list(dict.fromkeys(parameter for parameter in every if parameter.requires_grad))  # each once


class _Source:
    """Batches of images in random order, each varied anew."""

    def __init__(
        self, images: Tensor, size: int, vary: Vary | None, generator: torch.Generator, device: torch.device
    ) -> None:
        self._images, self._vary, self._device = images, vary, device
        self.size, self.generator = size, generator

    def draw(self) -> Iterator[Tensor]:
        """Give batches without end."""
        size = self.size
        while True:
            order = torch.randperm(len(self._images), generator=self.generator)
            for rows in order[: max(size, len(order) - len(order) % size)].split(size):  # type: ignore[no-untyped-call]
                x = self._images[rows]
                x = x if self._vary is None else self._vary(x, self.generator)
                x = x.to(self._device)
                yield x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _reconstruct(
    pair: _Pair, parts: list[Block], source: _Source, budget: Budget, progress: Progress | None
) -> None:
    batches = source.draw()
    x = [next(batches) for _ in range(max(1, RECONSTRUCT_IMAGES // source.size))]
    wanted = x
    for done, block in enumerate(parts):
        wanted = [pair.wanted_after(block, batch) for batch in wanted]
        scale = variance(torch.cat(wanted))
        span = budget.part(1 / (len(parts) - done))
        if trained := pair.parameters(block):
            optimiser = _adam(trained, RECONSTRUCT_LR)
        while trained and (spent := span.spent()) < 1:
            _set_rate(optimiser, RECONSTRUCT_LR, spent)
            i = int(torch.randint(len(x), (1,), generator=source.generator))
            _step(optimiser, functional.mse_loss(pair.after(block, x[i]), wanted[i]) / scale)
            _report(progress, f"reconstructing {block.layers[0]}", (done + spent) / len(parts))
        with torch.no_grad():
            x = [pair.after(block, batch) for batch in x]


def _distil(
    pair: _Pair, parts: list[Block], source: _Source, budget: Budget, progress: Progress | None
) -> None:
    # Batch norms keep their statistics: measured no worse than moving ones, and right for small batches.
    optimiser = _adam(pair.parameters(), DISTIL_LR)

    for x in source.draw():
        spent = budget.spent()
        if spent >= 1:
            break
        _set_rate(optimiser, DISTIL_LR, spent)
        loss, y, wanted = torch.zeros((), device=x.device), x, x
        for block in parts:
            y, wanted = pair.after(block, y), pair.wanted_after(block, wanted)
            loss = loss + relative_error(y, wanted)
        _step(optimiser, loss)
        _report(progress, "distilling", spent)


def _adam(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Make the optimiser of some parameters; those of float16 get an epsilon that is a number there."""
    halves = [parameter for parameter in parameters if parameter.dtype == torch.float16]
    others = [parameter for parameter in parameters if parameter.dtype != torch.float16]
    optimiser = torch.optim.Adam(others or halves, rate, eps=EPS if others else HALF_EPS)
    if others and halves:
        optimiser.add_param_group({"params": halves, "eps": HALF_EPS})
    return optimiser


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, spent: float) -> None:
    """Rise for a while, then fall along a cosine to zero."""
    for group in optimiser.param_groups:
        group["lr"] = peak * min(1.0, spent / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))


def _report(progress: Progress | None, what: str, share: float) -> None:
    if progress is not None:
        progress(what, int(1000 * share), 1000)
