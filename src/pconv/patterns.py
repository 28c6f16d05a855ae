"""Patterns: which positions of a 3x3 kernel are kept, libraries of them as data, projection onto a library.

Owns shapes inside a kernel only; which kernels survive is `sparsity.py`'s. To add a library, add a line to
`LIBRARIES`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import RecipeError

KERNEL = (3, 3)
CENTRE = 4
PATTERN_RATE = 9 / 4  # what keeping 4 of 9 weights saves


@dataclass(frozen=True, order=True, slots=True)
class Pattern:
    """Name the kept positions of a 3x3 kernel: bit 3 * row + column of `bits` is set where one is kept."""

    bits: int

    def __post_init__(self) -> None:
        if not 0 < self.bits < 512:
            raise RecipeError(f"pattern {self.bits}: a 3x3 kernel has 9 positions; allowed 1 to 511")

    @classmethod
    def from_text(cls, text: str) -> "Pattern":
        """Read rows from top to bottom, 1 = kept, e.g. "010/111/000".

        Raises: RecipeError when the text is not three rows of three digits 0 or 1, or keeps nothing.
        """
        if not re.fullmatch("[01]{3}/[01]{3}/[01]{3}", text):
            raise RecipeError(f'pattern "{text}": allowed are three rows of 0 and 1, such as "010/111/000"')
        return cls(int(text.replace("/", "")[::-1], 2))

    def __str__(self) -> str:
        digits = f"{self.bits:09b}"[::-1]
        return "/".join((digits[0:3], digits[3:6], digits[6:9]))

    @property
    def taps(self) -> tuple[tuple[int, int], ...]:
        """List the kept positions as (dy, dx), each 0 to 2, row by row."""
        return tuple(divmod(i, 3) for i in range(9) if self.bits >> i & 1)

    @property
    def size(self) -> int:
        """Count the kept positions."""
        return self.bits.bit_count()

    def mask(self) -> NDArray[np.bool_]:
        """Spread the bits out. Shapes: [3, 3]."""
        return (self.bits >> np.arange(9) & 1).astype(bool).reshape(KERNEL)


Library = tuple[Pattern, ...]


def _texts(*texts: str) -> Library:
    return tuple(Pattern.from_text(text) for text in texts)


def _subsets(positions: Iterable[int], size: int, always: int = 0) -> Library:
    return tuple(Pattern(always | sum(1 << i for i in kept)) for kept in combinations(positions, size))


# Source: PCONV (arXiv 1909.05073): crosses that miss one arm interpolate the enhanced Laplacian of Gaussian.
ELOG4 = _texts("010/111/000", "010/110/010", "000/111/010", "010/011/010")
# Source: the same paper: the four corner blocks add up to the Gaussian 121/242/121.
GAUSS4 = _texts("110/110/000", "011/011/000", "000/110/110", "000/011/011")
# Source: PatDNN (arXiv 2001.00138): the candidates of the natural libraries.
CENTRE3 = _subsets([i for i in range(9) if i != CENTRE], 3, always=1 << CENTRE)

LIBRARIES: dict[str, Library] = {
    "elog4": ELOG4,
    "gauss4": GAUSS4,
    "scp8": ELOG4 + GAUSS4,
    "centre3": CENTRE3,
    "any4": _subsets(range(9), 4),
}
NATURAL_SIZES = (4, 6, 8, 12)
LIBRARY_NAMES = (*LIBRARIES, *(f"natural-{k}" for k in NATURAL_SIZES))
# Found while training: from every shape of CENTRE3 down to k, the rarest dropped first.
SHRINKING = {f"shrinking-{k}": k for k in NATURAL_SIZES}


def library(name: str, weights: Iterable[NDArray[Any]] | None = None) -> Library:
    """Look a library up by name; `natural-k` is counted from the given 3x3 weights.

    Raises: RecipeError for an unknown name, for a natural library without weights, or for a shrinking one,
    which only methods that train in phases can find.
    """
    if name in SHRINKING:
        raise RecipeError(
            f'pattern library "{name}" is found while training, with method="gradual" or "admm"; '
            f"allowed here: {', '.join(LIBRARY_NAMES)}"
        )
    if name not in LIBRARY_NAMES:
        raise RecipeError(f'pattern library "{name}" does not exist; allowed: {", ".join(LIBRARY_NAMES)}')
    if name in LIBRARIES:
        return LIBRARIES[name]
    return natural(() if weights is None else weights, int(name.removeprefix("natural-")))


def natural(weights: Iterable[NDArray[Any]], k: int) -> Library:
    """Count the shapes that trained kernels have by themselves, and take the k most frequent.

    A kernel's shape is its centre and its three largest other weights; removed kernels do not vote.

    Shapes: each array [oc, ic, 3, 3]
    Raises: RecipeError when no kernel votes.
    Source: PatDNN (arXiv 2001.00138).
    """
    votes: Counter[int] = Counter()
    for array in weights:
        kernels = np.abs(array.reshape(-1, 9))
        kernels = kernels[kernels.any(axis=1)]
        kernels[:, CENTRE] = np.inf
        largest = np.argsort(-kernels, axis=1, kind="stable")[:, :4]
        bits, counts = np.unique(np.left_shift(1, largest).sum(axis=1), return_counts=True)
        votes.update(dict(zip(bits.tolist(), counts.tolist(), strict=True)))
    if not votes:
        raise RecipeError(
            f"natural-{k}: there are no 3x3 kernels to count; allowed is a fixed library, e.g. scp8"
        )
    ranked = sorted(votes, key=lambda bits: (-votes[bits], bits))
    return tuple(Pattern(bits) for bits in ranked[:k])


Groups = Sequence[NDArray[np.intp]]


def filter_groups(oc: int, group: int) -> list[NDArray[np.intp]]:
    """Say which filters form a group: `group` consecutive ones; the last group holds what remains."""
    return [np.arange(start, min(start + group, oc)) for start in range(0, oc, group)]


def sum_energy(weights: NDArray[Any], groups: Groups, block: int) -> NDArray[np.float64]:
    """Add up the squares of all filters of a group, and of `block` consecutive input channels.

    Shapes: weights [oc, ic, ...] -> [groups, ceil(ic / block), ...]
    """
    oc, ic = weights.shape[:2]
    if len(groups) == oc:
        energy = np.square(weights[np.concatenate(groups)], dtype=np.float64)
    else:
        energy = np.stack([np.square(weights[rows], dtype=np.float64).sum(axis=0) for rows in groups])
    return energy if block == 1 else np.add.reduceat(energy, np.arange(0, ic, block), axis=1)


def project(
    weights: NDArray[Any], patterns: Sequence[Pattern], group: int | Groups = 1, block: int = 1
) -> NDArray[np.intp]:
    """Choose for every kernel the pattern that keeps the largest L2 norm, one choice per group of filters.

    `group` is a number of consecutive filters, or says which filters go together; `block` consecutive input
    channels share the choice too.

    Returns: the index into `patterns` for each kernel; ties go to the earlier pattern.
    Shapes: weights [oc, ic, 3, 3] -> [oc, ic]
    Source: PCONV (arXiv 1909.05073); the sum over a group is ours (the nearest point with shared shapes).
    """
    oc, ic = weights.shape[:2]
    groups = filter_groups(oc, group) if isinstance(group, int) else group
    kept = np.stack([pattern.mask().reshape(9) for pattern in patterns], axis=1).astype(np.float64)
    best = (sum_energy(weights.reshape(oc, ic, 9), groups, block) @ kept).argmax(axis=2)
    return spread(best, groups, (oc, ic), block)


def spread(choices: NDArray[Any], groups: Groups, shape: tuple[int, int], block: int = 1) -> NDArray[Any]:
    """Hand what was chosen for each group and block of channels to all their kernels.

    Shapes: choices [groups, ceil(ic / block)] -> [oc, ic]
    """
    wide = np.repeat(choices, block, axis=1)[:, : shape[1]]
    every = np.empty(shape, choices.dtype)
    every[np.concatenate(groups)] = np.repeat(wide, [len(rows) for rows in groups], axis=0)
    return every


def most_frequent(weights: Iterable[NDArray[Any]], patterns: Sequence[Pattern], k: int) -> Library:
    """Drop the patterns that fewest kernels choose until `k` remain; removed kernels do not vote.

    Shapes: each array [oc, ic, 3, 3]
    Source: PCONV (arXiv 1909.05073), the library that shrinks while training.
    """
    votes = np.zeros(len(patterns), np.intp)
    for array in weights:
        alive = array.any(axis=(2, 3))
        votes += np.bincount(project(array, patterns)[alive], minlength=len(patterns))
    kept = np.sort(np.argsort(-votes, kind="stable")[:k])
    return tuple(patterns[i] for i in kept)
