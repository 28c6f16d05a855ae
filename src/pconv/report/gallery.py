"""Which patterns a model uses, and how often: what every page about a pruned model shows."""

from collections import Counter
from collections.abc import Sequence

from pconv.patterns import KERNEL, Pattern
from pconv.report.page import Layer, PatternUse
from pconv.sparsity import LayerSparsity, SparsityMap

TIMES = "\N{MULTIPLICATION SIGN}"
SHOWN_PATTERNS = 12


def pruned_3x3(sparsity: SparsityMap) -> dict[str, LayerSparsity]:
    """Return the 3x3 layers that were pruned."""
    return {
        name: layer
        for name, layer in sparsity.layers.items()
        if layer.shape[2:] == KERNEL and layer.density < 1
    }


def pattern_counts(sparsity: SparsityMap) -> Counter[int]:
    """Count the kernels of each shape over all pruned 3x3 layers, by bit mask."""
    total: Counter[int] = Counter()
    for layer in pruned_3x3(sparsity).values():
        total.update(layer.patterns)
    return total


def pattern_uses(sparsity: SparsityMap) -> list[PatternUse]:
    """Return the most frequent patterns and their shares of all kept kernels."""
    counts = pattern_counts(sparsity)
    kernels = counts.total()
    return [
        PatternUse(str(pattern), tuple(map(tuple, pattern.mask().tolist())), count / kernels)
        for pattern, count in ((Pattern(bits), count) for bits, count in counts.most_common(SHOWN_PATTERNS))
    ]


def sparse_layers(sparsity: SparsityMap, patterns: Sequence[PatternUse]) -> list[Layer]:
    """Return a line for each pruned 3x3 layer: what it keeps, and how its kernels divide among the patterns."""
    bits = [Pattern.from_text(use.name).bits for use in patterns]
    layers = []
    for name, layer in pruned_3x3(sparsity).items():
        kernels = max(1, sum(layer.patterns.values()))
        shares = tuple(layer.patterns.get(shape, 0) / kernels for shape in bits)
        layers.append(Layer(name, f"{layer.shape[0]} {TIMES} {layer.shape[1]}", layer.density, shares))
    return layers
