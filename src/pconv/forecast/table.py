"""The measured table, as data and as JSON: what `measure` fills, and all that the search and the pages read."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from pconv.errors import PconvError, RecipeError
from pconv.recipe import Recipe

KIND = "pconv forecast"
FORMAT = 1
DENSE_RATE = 1.0


@dataclass(frozen=True)
class LayerTime:
    """One prunable layer in one variant.

    `rate` is total / kept weights after rounding to whole kernels, 1 where the layer is dense; `macs` are
    those of the kept weights. `ms` is scaled so that a variant's layers and its rest add up to its median.
    """

    name: str
    rate: float
    group: int
    ms: float
    macs: int
    dense_macs: int
    micro_kernel: str
    reason: str


@dataclass(frozen=True)
class Variant:
    """The network at one compression, in one group; `rest_ms` and `rest_macs` go to what no pruning reaches."""

    compression: float
    group: int
    median_ms: float
    min_ms: float
    samples_ms: tuple[float, ...]
    rest_ms: float
    file_bytes: int
    max_rel_err: float | None
    layers: tuple[LayerTime, ...]
    rest_macs: int = 0

    @property
    def dense(self) -> bool:
        """Say whether this is the network as it came."""
        return self.compression == DENSE_RATE

    @property
    def name(self) -> str:
        """Name the variant for people."""
        if self.dense:
            return "dense"
        return f"{self.compression:g}x" + (f" in groups of {self.group}" if self.group > 1 else "")

    @property
    def macs(self) -> int:
        """Count the multiply-adds of the kept weights, and of what no pruning reaches."""
        return sum(layer.macs for layer in self.layers) + self.rest_macs


@dataclass(frozen=True)
class Option:
    """One way to prune a layer, as the search sees it. Equal rules of several variants are one option."""

    rate: float
    ms: float
    macs: int


@dataclass(frozen=True)
class Table:
    """Everything that one forecast measured; the first variant is the dense network.

    `settings` are those of every variant's recipe, without its compression and group; `inputs` are the network's
    input shapes by name. Layers that the compiler merges into others, or drops, have no times: they are `left_out`.
    """

    model: str
    threads: int
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    variants: tuple[Variant, ...]
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def dense(self) -> Variant:
        """Return the network as it came."""
        return self.variants[0]

    @property
    def groups(self) -> tuple[int, ...]:
        """List the groups that were measured."""
        return tuple(sorted({variant.group for variant in self.variants if not variant.dense}))

    def of_group(self, group: int) -> tuple[Variant, ...]:
        """List the dense network and the variants of one group, by compression."""
        return tuple(variant for variant in self.variants if variant.dense or variant.group == group)

    def recipe(self, variant: Variant) -> Recipe:
        """Return the recipe that a pruned variant was made by.

        Raises: RecipeError when the table's settings are no recipe.
        """
        return make_recipe(self.settings, variant.compression, variant.group)

    def options(self, group: int) -> dict[str, list[Option]]:
        """List what can be chosen for each layer, dense first; times of equal rules are pooled."""
        seen: dict[str, dict[float, list[LayerTime]]] = {}
        for variant in self.of_group(group):
            for layer in variant.layers:
                seen.setdefault(layer.name, {}).setdefault(layer.rate, []).append(layer)
        return {
            name: [
                Option(rate, median(layer.ms for layer in times), times[0].macs)
                for rate, times in sorted(rates.items())
            ]
            for name, rates in seen.items()
        }

    def rest_ms(self, group: int) -> float:
        """Return the time that stays whatever the rates are."""
        return median(variant.rest_ms for variant in self.of_group(group))

    def as_json(self) -> dict[str, Any]:
        """Return the document of a table's file."""
        variants = [
            asdict(variant) | {"samples_ms": [round(sample, 4) for sample in variant.samples_ms]}
            for variant in self.variants
        ]
        return {"kind": KIND, "format": FORMAT} | asdict(replace(self, variants=())) | {"variants": variants}

    @classmethod
    def from_json(cls, document: Any) -> "Table":
        """Read what `as_json` wrote.

        Raises: PconvError when the document is no table, or of another format.
        """
        if not isinstance(document, Mapping) or document.get("kind") != KIND:
            raise PconvError(
                "this is no table of a forecast; write one with pconv forecast MODEL --json FILE."
            )
        if document.get("format") != FORMAT:
            raise PconvError(
                f"format {document.get('format')!r} of the table is unknown; allowed {FORMAT}. "
                "Measure it again with this version of pconv."
            )
        try:
            variants = tuple(_variant(entry) for entry in document["variants"])
            settings, described = dict(document["settings"]), dict(document["machine"])
            inputs = {name: tuple(shape) for name, shape in document.get("inputs", {}).items()}
            table = cls(
                str(document["model"]), _positive(document["threads"], "threads"), settings, described, variants,
                inputs, tuple(map(str, document.get("left_out", ()))),
            )  # fmt: skip
            whole = table.dense.dense and len(variants) > 1
            if whole:
                _check_alike(table)
        except RecipeError as error:
            raise PconvError(f"the table's settings are no recipe ({error}); measure it again.") from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise PconvError(f"the table is damaged ({error}); measure it again.") from error
        if not whole:
            raise PconvError(
                "the table needs the dense network first and a pruned one after it; measure it again."
            )
        return table

    @classmethod
    def load(cls, path: Path) -> "Table":
        """Read a table from its file.

        Raises: PconvError when the file cannot be read or is no table; the message begins with the path.
        """
        try:
            return cls.from_json(json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise PconvError(f"{path}: cannot read the table ({error.strerror}).") from error
        except (ValueError, RecursionError) as error:
            raise PconvError(f"{path}: this is no JSON ({error}).") from error
        except PconvError as error:
            raise PconvError(f"{path}: {error}") from error


def make_recipe(settings: Mapping[str, Any], compression: float, group: int) -> Recipe:
    """Fill a compression and a group into the settings that all variants share.

    Raises: RecipeError for a setting that is not allowed.
    """
    return Recipe.from_dict({**settings, "compression_rate": compression, "group": group})


def _variant(entry: Mapping[str, Any]) -> Variant:
    layers: Sequence[Mapping[str, Any]] = entry["layers"]
    made = tuple(LayerTime(**layer) for layer in layers)
    for layer in made:
        if not all(_is_amount(value) for value in (layer.rate, layer.ms, layer.macs)):
            raise TypeError(f"layer {layer.name}: its rate, ms and macs are finite numbers, none below 0")
        if not isinstance(layer.name, str):
            raise TypeError(f"layer {layer.name}: its name is a text")
    variant = Variant(**{**entry, "layers": made, "samples_ms": tuple(entry["samples_ms"])})
    amounts = variant.median_ms, variant.rest_ms, variant.rest_macs
    if not all(map(_is_amount, amounts)) or not variant.median_ms:
        raise TypeError("a variant's median_ms, rest_ms and rest_macs are finite numbers, the median above 0")
    if not (_is_amount(variant.compression) and variant.compression >= DENSE_RATE):
        raise TypeError("a variant's compression is a finite number, at least 1")
    _positive(variant.group, "a variant's group")
    return variant


def _check_alike(table: Table) -> None:
    """Check that the dense network is dense, and that all variants are of the same layers and of a recipe.

    Raises: TypeError, RecipeError.
    """
    names = [layer.name for layer in table.dense.layers]
    for variant in table.variants:
        if [layer.name for layer in variant.layers] != names:
            raise TypeError("its variants are of different layers")
        table.recipe(variant)
    if any(layer.rate != DENSE_RATE for layer in table.dense.layers):
        raise TypeError("a layer of the dense network has another rate than 1")


def _positive(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"{what}: {value!r} is no whole number above 0")
    return value


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= float(value) < math.inf
