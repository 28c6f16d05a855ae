"""Sparsity as it stands in weights: which kernels survive, in which shapes, and the map of a whole model.

Owns connectivity, detection, verification and the text form that travels in an ONNX file. Refuses to decide
what should be pruned: that is `recipe.py`'s. Works on any weights, also those pruned by other tools.

A fully connected layer is the same thing with 1x1 kernels: [out, in] is [oc, ic].
"""

import base64
import hashlib
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import ModelError
from pconv.patterns import KERNEL, Groups, Pattern, filter_groups, spread, sum_energy

METADATA_KEY = "pconv.sparsity"
FORMAT = 1
GROUPS = (16, 8, 4, 2, 1)
MAX_KERNEL_BITS = 64
_SHOWN = 3


def keep_kernels(
    norms: NDArray[Any], keep: int, group: int | Groups = 1, block: int = 1
) -> NDArray[np.bool_]:
    """Keep exactly `keep` kernels in every filter, those of the largest norm, the same ones within a group.

    For 1x1 convolutions and fully connected layers `norms` is |w|. Ties go to the lower input channel.
    `group` is a number of consecutive filters, or says which filters go together; `block` consecutive input
    channels stay or go together, and then `keep` and the channels are multiples of it (or all are kept).

    Shapes: norms [oc, ic] -> bool [oc, ic]
    Source: PCONV (arXiv 1909.05073); the sum over a group is ours.
    """
    oc, ic = norms.shape
    if keep == ic:
        return np.ones((oc, ic), bool)
    groups = filter_groups(oc, group) if isinstance(group, int) else group
    energy = sum_energy(norms, groups, block)
    kept = np.zeros(energy.shape, bool)
    keep, ic = keep // block, energy.shape[1]
    for chosen, row in zip(kept, energy, strict=True):
        threshold = np.partition(row, ic - keep)[ic - keep]
        chosen[:] = row > threshold
        ties = np.flatnonzero(row == threshold)
        chosen[ties[: keep - np.count_nonzero(chosen)]] = True
    return spread(kept, groups, norms.shape, block)


@dataclass(frozen=True, eq=False)
class LayerSparsity:
    """Hold which weights of one layer may be non-zero, as one bit mask per kernel.

    `bits[o, i]` has bit `row * kw + column` set where that weight is kept; 0 is a removed kernel. The dtype
    is the smallest unsigned integer that fits. Kernels of more than 64 weights are whole (1) or removed (0).

    Shapes: shape is that of the weights, [oc, ic, kh, kw] or [out, in]; bits [oc, ic]
    """

    shape: tuple[int, ...]
    bits: NDArray[Any]

    @classmethod
    def detect(cls, weights: NDArray[Any]) -> "LayerSparsity":
        """Read the sparsity off the zeros of any weights (or of a boolean mask)."""
        shape = tuple(int(n) for n in weights.shape)
        oc, ic = shape[:2]
        kernels = weights.reshape(oc, ic, math.prod(shape[2:])) != 0
        if kernels.shape[2] > MAX_KERNEL_BITS:
            kernels = kernels.any(axis=2, keepdims=True)
        return cls(shape, _pack(kernels))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LayerSparsity):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.bits, other.bits)

    def __repr__(self) -> str:
        return f"<LayerSparsity {'x'.join(map(str, self.shape))}: {self.compression_rate:.2f}x>"

    @property
    def kernel_elems(self) -> int:
        """Count the weights of one dense kernel."""
        return math.prod(self.shape[2:])

    @property
    def bit_elems(self) -> int:
        """Count the weights that one bit stands for: 1, or a whole kernel where kernels are too large."""
        return self.kernel_elems if self.kernel_elems > MAX_KERNEL_BITS else 1

    def mask(self) -> NDArray[np.bool_]:
        """Spread the bits out into the shape of the weights: True = may be non-zero."""
        kernels = _unpack(self.bits, self.kernel_elems // self.bit_elems)
        return np.repeat(kernels, self.bit_elems, axis=2).reshape(self.shape)

    @cached_property
    def patterns(self) -> dict[int, int]:
        """Count the kernels of each shape: {bit mask: kernels}, most frequent first, without removed ones."""
        values, counts = np.unique(self.bits[self.bits != 0], return_counts=True)
        pairs = zip(values.tolist(), counts.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    @cached_property
    def kernels_per_filter(self) -> NDArray[np.intp]:
        """Count the surviving kernels of each filter. Shapes: [oc]."""
        return np.asarray(np.count_nonzero(self.bits, axis=1))

    @property
    def balanced(self) -> bool:
        """Say whether every filter keeps the same number of kernels."""
        return bool((self.kernels_per_filter == self.kernels_per_filter[:1]).all())

    @cached_property
    def group(self) -> int:
        """Find the largest g of 16, 8, 4, 2, 1 so that the filters fall into sets of g with identical masks.

        The members of a set need not be neighbours; at most one set is smaller (g does not divide every oc).
        """
        alike = Counter(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in self.bits)
        sets = alike.values()
        return next((g for g in GROUPS if g <= self.shape[0] and sum(n % g > 0 for n in sets) <= 1), 1)

    @property
    def total_elems(self) -> int:
        """Count all weights."""
        return math.prod(self.shape)

    @cached_property
    def kept_elems(self) -> int:
        """Count the kept weights."""
        return self.bit_elems * sum(bits.bit_count() * count for bits, count in self.patterns.items())

    @property
    def density(self) -> float:
        """Give kept / total."""
        return self.kept_elems / max(self.total_elems, 1)

    @property
    def sparsity(self) -> float:
        """Give zeros / total."""
        return 1.0 - self.density

    @property
    def compression_rate(self) -> float:
        """Give total / kept; infinite when nothing is kept."""
        return self.total_elems / self.kept_elems if self.kept_elems else math.inf


@dataclass(frozen=True)
class SparsityMap:
    """Hold the sparsity of every convolution and fully connected layer of a model, by layer name.

    A map made by pruning is a promise: what it calls pruned stays zero. A kept weight may be zero by chance.
    """

    layers: dict[str, LayerSparsity]

    def __repr__(self) -> str:
        total, kept = self._elems()
        layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"<SparsityMap of {layers}: {total / kept if kept else math.inf:.2f}x>"

    @classmethod
    def detect(cls, weights: Mapping[str, NDArray[Any]]) -> "SparsityMap":
        """Read the sparsity off the zeros of each layer's weights (or of boolean masks)."""
        return cls({name: LayerSparsity.detect(array) for name, array in weights.items()})

    def verify(
        self,
        weights: Mapping[str, NDArray[Any]],
        library: Sequence[Pattern] | None = None,
        balance: bool = True,
    ) -> list[str]:
        """List what is wrong with the weights: filled-in zeros, illegal shapes, unequal filters.

        With a library, every kept 3x3 kernel of a layer that is not dense must fit one of its shapes.
        """
        problems = []
        for name, layer in self.layers.items():
            problems += [f"{name}: {text}" for text in _filled_in(layer, weights.get(name))]
            problems += [f"{name}: {text}" for text in _illegal_shapes(layer, library)]
            if balance and not layer.balanced:
                low, high = layer.kernels_per_filter.min(), layer.kernels_per_filter.max()
                problems.append(
                    f"{name}: filters keep {low} to {high} kernels; balance needs the same number in each"
                )
        return problems

    def check(
        self,
        weights: Mapping[str, NDArray[Any]],
        balance: bool = True,
    ) -> None:
        """Verify, and refuse weights with problems.

        Raises: ModelError with the first problem and how many more there are.
        """
        problems = self.verify(weights, balance=balance)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ModelError(f"{problems[0]}{more}. Prune the model again.")

    def statistics(self) -> dict[str, Any]:
        """Summarise every layer and the whole, ready for JSON (a rate is None when nothing is kept)."""
        return {
            **_amounts(*self._elems()),
            "layers": {
                name: {
                    **_amounts(layer.total_elems, layer.kept_elems),
                    "shape": list(layer.shape),
                    "patterns": len(layer.patterns),
                    "kernels_per_filter": [
                        int(layer.kernels_per_filter.min(initial=layer.shape[1])),
                        int(layer.kernels_per_filter.max(initial=0)),
                    ],
                    "group": layer.group,
                }
                for name, layer in self.layers.items()
            },
        }

    def _elems(self) -> tuple[int, int]:
        """Count all weights, and the kept ones."""
        layers = self.layers.values()
        return sum(layer.total_elems for layer in layers), sum(layer.kept_elems for layer in layers)

    def to_json(self) -> str:
        """Write the map as text: per layer the shape, and its bits packed, deflated, in base64."""
        layers = {}
        for name, layer in self.layers.items():
            flags = np.packbits(_unpack(layer.bits, layer.kernel_elems // layer.bit_elems))
            packed = base64.b64encode(zlib.compress(flags.tobytes())).decode("ascii")
            layers[name] = {"shape": list(layer.shape), "bits": packed}
        return json.dumps({"format": FORMAT, "layers": layers}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SparsityMap":
        """Read what `to_json` wrote.

        Raises: ModelError when the text is damaged or of another format.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, allowed {FORMAT}")
            return cls({name: _read_layer(entry) for name, entry in document["layers"].items()})
        except (
            ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error,
        ) as error:  # fmt: skip
            raise ModelError(f"sparsity map: cannot be read ({error}). Prune the model again.") from error


def _pack(kernels: NDArray[np.bool_]) -> NDArray[Any]:
    """Turn [oc, ic, n] flags into one unsigned integer per kernel, flag i as bit i."""
    oc, ic, n = kernels.shape
    dtype = next(dtype for dtype in (np.uint8, np.uint16, np.uint32, np.uint64) if n <= np.iinfo(dtype).bits)
    bits = np.zeros((oc, ic), dtype)
    for i in range(n):
        bits |= np.left_shift(kernels[:, :, i], i, dtype=dtype)
    return bits


def _unpack(bits: NDArray[Any], n: int) -> NDArray[np.bool_]:
    """Undo `_pack`: [oc, ic] integers to [oc, ic, n] flags."""
    kernels = np.empty((*bits.shape, n), bool)
    for i in range(n):
        kernels[:, :, i] = bits & bits.dtype.type(1 << i)
    return kernels


def _read_layer(entry: Mapping[str, Any]) -> LayerSparsity:
    shape = tuple(entry["shape"])
    if len(shape) < 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape {list(shape)}")
    elems = math.prod(shape[2:])
    n = elems if elems <= MAX_KERNEL_BITS else 1
    expected_bytes = -(-shape[0] * shape[1] * n // 8)
    # Asking for one byte more than expected keeps a hostile file from inflating without bound.
    flags = zlib.decompressobj().decompress(
        base64.b64decode(entry["bits"], validate=True), expected_bytes + 1
    )
    if len(flags) != expected_bytes:
        raise ValueError(f"{len(flags)} bytes of bits where {expected_bytes} belong")
    spread = np.unpackbits(np.frombuffer(flags, np.uint8), count=shape[0] * shape[1] * n)
    return LayerSparsity(shape, _pack(spread.view(np.bool_).reshape(shape[0], shape[1], n)))


def _filled_in(layer: LayerSparsity, weights: NDArray[Any] | None) -> list[str]:
    if weights is None and layer.density == 1.0:
        return []  # of a dense layer nothing is promised
    if weights is None:
        return ["the map has this layer, the weights do not"]
    if weights.shape != layer.shape:
        return [f"weights have shape {list(weights.shape)}; the map says {list(layer.shape)}"]
    if not (LayerSparsity.detect(weights).bits & ~layer.bits).any():
        return []
    filled = np.argwhere((weights != 0) & ~layer.mask())
    return [f"{len(filled)} pruned weights are no longer zero, the first at {filled[0].tolist()}"]


def _illegal_shapes(layer: LayerSparsity, library: Sequence[Pattern] | None) -> list[str]:
    if library is None or layer.shape[2:] != KERNEL or layer.density == 1.0:
        return []
    # A subset is legal: a kept weight may be zero by chance in a detected map.
    illegal = [bits for bits in layer.patterns if all(bits & ~pattern.bits for pattern in library)]
    if not illegal:
        return []
    kernels = sum(layer.patterns[bits] for bits in illegal)
    shown = ", ".join(str(Pattern(bits)) for bits in illegal[:_SHOWN])
    more = ", ..." if len(illegal) > _SHOWN else ""
    return [f"{kernels} kernels have shapes outside the library: {shown}{more}"]


def _amounts(total: int, kept: int) -> dict[str, Any]:
    return {
        "total_elems": total,
        "kept_elems": kept,
        "sparsity": 1.0 - kept / max(total, 1),
        "compression_rate": total / kept if kept else None,
    }
