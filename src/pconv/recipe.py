"""The recipe: what to prune, how much, in which shapes; a small TOML file or an object.

Owns the settings, their validation, and the step from rates to exact keep counts per layer. Sees layers only
as `LayerInfo`, which the torch side and the ONNX side both build; refuses to look at weights.
"""

import json
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any, Literal

from pconv.errors import RecipeError, did_you_mean
from pconv.patterns import KERNEL, LIBRARY_NAMES, PATTERN_RATE, SHRINKING
from pconv.sparsity import GROUPS

Kind = Literal["conv", "depthwise", "fc"]
Sharing = Literal["shape", "connectivity"]
FIRST_MAX_CHANNELS = 4  # a "first" layer reads an image: grey, RGB or RGBA
DENSE = "dense"
PATTERN = "pattern"
SHAPE = "shape"
CONNECTIVITY = "connectivity"
CHANNEL_BLOCKS = (1, 4)


@dataclass(frozen=True)
class LayerInfo:
    """Describe one prunable layer to a recipe.

    Shapes: shape is that of the weights, [oc, ic / conv groups, kh, kw] or [out, in]
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    is_first: bool = False
    aliases: tuple[str, ...] = ()  # other names that a recipe may use for it
    conv_groups: int = 1  # of a convolution: their filters read different channels

    @property
    def names(self) -> tuple[str, ...]:
        """List the name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Give (kh, kw), or (1, 1) for a fully connected layer."""
        return self.shape[2:] or (1, 1)


@dataclass(frozen=True)
class LayerRule:
    """Say what one layer keeps: `keep` kernels per filter, each in a shape of `patterns` (None = whole).

    `group` filters share connectivity and, with sharing "shape", shapes too: consecutive ones, or with `permute`
    those most alike, always within one of the `conv_groups` of a convolution. `channel_block` consecutive input
    channels share both.
    """

    shape: tuple[int, ...]
    keep: int
    patterns: str | None = None
    group: int = 1
    sharing: Sharing = "shape"
    permute: bool = False
    channel_block: int = 1
    conv_groups: int = 1

    @property
    def dense(self) -> bool:
        """Say whether the layer stays as it is."""
        return self.patterns is None and self.keep == self.shape[1]

    @property
    def keep_blocks(self) -> int:
        """Count the blocks of input channels that a filter keeps; of few channels the one block is not full."""
        return -(-self.keep // self.channel_block)

    @property
    def compression_rate(self) -> float:
        """Give total / kept, after rounding to whole kernels."""
        return self.shape[1] / self.keep * (PATTERN_RATE if self.patterns else 1.0)


@dataclass(frozen=True)
class Recipe:
    """Hold the settings of one pruning run.

    patterns          library of 3x3 shapes; "shrinking-k" for methods that train in phases
    compression_rate  total / kept weights of each 3x3 layer (patterns give 2.25 of it, connectivity the rest)
                      and of each larger kernel (connectivity only)
    rate_1x1, rate_fc the same for 1x1 convolutions and fully connected layers; None = compression_rate
    group             filters that share connectivity and shapes; those of two groups of a convolution, such as
                      depthwise ones, read different channels and never share
    sharing           what they share: "shape" (and connectivity), or "connectivity" alone
    permute           group the filters of a convolution most alike instead of neighbours; costs nothing when
                      compiled, because FKR finds groups wherever their filters stand
    channel_block     input channels that share connectivity and shapes: 4 for integer dot products
    fc_group          output rows that share the kept inputs. Ours: the weights of a fully connected layer are
                      streamed once, as vectors of rows, so blocks cost no speed and single weights would
    first             the first layer (it reads an image of at most 4 channels): "pattern" keeps every
                      kernel, "dense" every weight. Ours: connectivity would cut whole colours, and left dense
                      its multiply-adds would weigh too much at 8x; so "pattern"
    depthwise         3x3 depthwise layers: "pattern" or "dense"; one kernel per filter, nothing to cut
    layers            rate, or "dense", for layers by name; wins over everything else
    exclude           glob patterns of layers that stay dense

    Raises: RecipeError for a value that is not allowed.
    Source: PCONV (arXiv 1909.05073), PatDNN (arXiv 2001.00138).
    """

    patterns: str = "scp8"
    compression_rate: float = 8.0
    rate_1x1: float | None = None
    rate_fc: float | None = None
    group: int = 1
    sharing: Sharing = "shape"
    permute: bool = False
    channel_block: int = 1
    fc_group: int = 16
    first: Literal["pattern", "dense"] = "pattern"
    depthwise: Literal["pattern", "dense"] = "pattern"
    layers: Mapping[str, float | Literal["dense"]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_choice("patterns", self.patterns, (*LIBRARY_NAMES, *SHRINKING))
        _require_choice("sharing", self.sharing, (SHAPE, CONNECTIVITY))
        _require_choice("permute", self.permute, (False, True))
        _require_choice("channel_block", self.channel_block, CHANNEL_BLOCKS)
        _require_choice("first", self.first, (PATTERN, DENSE))
        _require_choice("depthwise", self.depthwise, (PATTERN, DENSE))
        _require_choice("group", self.group, sorted(GROUPS))
        _require_choice("fc_group", self.fc_group, sorted(GROUPS))
        _require_rate("compression_rate", self.compression_rate)
        for key in ("rate_1x1", "rate_fc"):
            if getattr(self, key) is not None:
                _require_rate(key, getattr(self, key))
        if not isinstance(self.layers, Mapping) or not all(isinstance(name, str) for name in self.layers):
            raise RecipeError(
                f'layers: {self.layers!r} is no table of names; allowed: layer names with a rate or "dense"'
            )
        for name, rate in self.layers.items():
            if rate != DENSE:
                _require_rate(f"layers.{name}", rate, ', or "dense"')
        if not isinstance(self.exclude, list | tuple) or not all(
            isinstance(glob, str) for glob in self.exclude
        ):
            raise RecipeError(
                f'exclude: {self.exclude!r} is no list of names; allowed e.g. ["layer1.*", "fc"]'
            )
        object.__setattr__(self, "exclude", tuple(self.exclude))
        object.__setattr__(self, "layers", dict(self.layers))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Recipe":
        """Make a recipe from plain values.

        Raises: RecipeError for an unknown key or a value that is not allowed.
        """
        known = [item.name for item in fields(cls)]
        for key in settings:
            if key not in known:
                raise RecipeError(f"{key}: unknown key;{_hint(key, known)} allowed: {', '.join(known)}")
        return cls(**settings)

    @classmethod
    def loads(cls, text: str) -> "Recipe":
        """Read a recipe from TOML text.

        Raises: RecipeError when the text is no TOML, or not a recipe.
        """
        try:
            settings = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # TOMLDecodeError, and a number of thousands of digits
            raise RecipeError(f"not valid TOML: {error}") from error
        return cls.from_dict(settings)

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe from a TOML file.

        Raises: RecipeError when the file cannot be read or is not a recipe; the message begins with the path.
        """
        try:
            return cls.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise RecipeError(f"{path}: cannot read the recipe ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path}: no text in UTF-8; allowed: a recipe in TOML") from error
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from error

    def dumps(self) -> str:
        """Write the recipe as TOML text that `loads` reads back as an equal recipe."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        layers = values.pop("layers")
        lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        if layers:
            lines += ["", "[layers]", *(f"{_toml(name)} = {_toml(rate)}" for name, rate in layers.items())]
        return "\n".join(lines) + "\n"


def plan_layers(recipe: Recipe, infos: Sequence[LayerInfo]) -> dict[str, LayerRule]:
    """Turn a recipe into a rule for every layer.

    Raises: RecipeError when the recipe names an unknown layer, or asks a layer for an impossible rate.
    """
    known = [name for info in infos for name in info.names]
    some = _some([info.name for info in infos])  # an alias beside each name would look like twice the layers
    for name in recipe.layers:
        if name not in known:
            raise RecipeError(f"layers.{name}: the model has no such layer;{_hint(name, known)}{some}")
    for glob in recipe.exclude:
        if not any(fnmatchcase(name, glob) for name in known):
            raise RecipeError(f'exclude: "{glob}" matches no layer;{_hint(glob, known)}{some}')
    return {info.name: _plan_layer(recipe, info) for info in infos}


def leave_dense(*names: str) -> str:
    """Say how layers are left dense: by the options of a command, and by a recipe."""
    globs = tuple(escape(name) for name in names)
    options = " ".join(f"--exclude {shlex.quote(one)}" for one in globs)
    which = "it" if len(names) == 1 else "them"
    return f"Leave {which} dense with {options}, in a recipe with exclude = {_toml(globs)}."


def _plan_layer(recipe: Recipe, info: LayerInfo) -> LayerRule:
    dense = LayerRule(info.shape, info.shape[1])
    own = next((recipe.layers[name] for name in info.names if name in recipe.layers), None)
    if own is None and any(fnmatchcase(name, glob) for name in info.names for glob in recipe.exclude):
        return dense
    rate = _general_rate(recipe, info) if own is None else _as_rate(own)
    if rate == 1.0 or (own is None and info.kind == "conv" and info.shape[:1] + info.kernel == (1, 1, 1)):
        return dense  # one filter of single weights is no load, and may be a constant, as what decodes YOLOv8's boxes
    if info.kind == "depthwise" and own is not None:
        _require_depthwise(info, rate)
    if info.kind == "depthwise" or (own is None and info.is_first):
        choice = recipe.depthwise if info.kind == "depthwise" else recipe.first
        if info.kernel != KERNEL or (own is None and choice == DENSE):
            return dense
        return _rule(recipe, info, 1.0, recipe.patterns)
    if info.kernel == KERNEL:
        if rate < PATTERN_RATE:
            advice = f" {leave_dense(info.name)}" if own is None else ""
            raise RecipeError(
                f"{info.name} (3x3): compression_rate {rate:g} is impossible, patterns alone give 2.25; "
                f"allowed 1 (dense) or at least 2.25.{advice}"
            )
        return _rule(recipe, info, rate / PATTERN_RATE, recipe.patterns)
    return _rule(recipe, info, rate, None)


def _left_dense(recipe: Recipe, info: LayerInfo) -> str:
    """Say how a layer that cannot be pruned so is left dense: its own rate goes before `exclude`."""
    own = next((name for name in info.names if name in recipe.layers), None)
    return (
        leave_dense(info.name)
        if own is None
        else f'Or give it the rate "dense" in layers, by its name {own}.'
    )


def _rule(recipe: Recipe, info: LayerInfo, kernel_rate: float, patterns: str | None) -> LayerRule:
    ic, block = info.shape[1], recipe.channel_block
    keep = max(block, int(ic / kernel_rate / block + 0.5) * block)
    if keep >= ic:  # whole: a last block that is not full does no harm
        keep = ic
    elif ic % block:
        raise RecipeError(
            f"{info.name}: {ic} input channels do not divide into blocks of {block}; allowed with "
            f"channel_block = 1. {_left_dense(recipe, info)}"
        )
    group = recipe.fc_group if info.kind == "fc" else recipe.group
    permute = recipe.permute and info.kind != "fc"
    return LayerRule(info.shape, keep, patterns, group, recipe.sharing, permute, block, info.conv_groups)


def _require_depthwise(info: LayerInfo, rate: float) -> None:
    if info.kernel != KERNEL or rate != PATTERN_RATE:
        also = "2.25 (pattern) or " if info.kernel == KERNEL else ""
        raise RecipeError(
            f"{info.name} (depthwise {'x'.join(map(str, info.kernel))}): rate {rate:g} is impossible, "
            f'a filter has one kernel; allowed {also}"dense".'
        )


def _as_rate(value: float | str) -> float:
    return 1.0 if isinstance(value, str) else value


def _general_rate(recipe: Recipe, info: LayerInfo) -> float:
    specific = recipe.rate_fc if info.kind == "fc" else recipe.rate_1x1 if info.kernel == (1, 1) else None
    return recipe.compression_rate if specific is None else specific


def _require_choice(key: str, value: Any, allowed: Iterable[Any]) -> None:
    allowed = list(allowed)
    if type(value) is not type(allowed[0]) or value not in allowed:  # 4.0 and True are no counts
        texts = [str(item) for item in allowed]
        wrong = (
            f"no {type(allowed[0]).__name__};"
            if str(value) in texts
            else f"unknown;{_hint(str(value), texts)}"
        )
        raise RecipeError(f"{key}: {value!r} is {wrong} allowed: {', '.join(texts)}")


def _require_rate(key: str, value: Any, also: str = "") -> None:
    plain = _plain(value)
    fine = isinstance(plain, int | float) and not isinstance(plain, bool)
    if not fine or not 1 <= plain <= sys.float_info.max:
        quotes = '. A name with dots needs quotes, as in "layer1.0.conv1" = 4' * isinstance(value, Mapping)
        raise RecipeError(
            f"{key}: {value!r} is no compression rate; allowed: a number, total / kept, of at least 1{also}{quotes}"
        )


def _hint(word: str, known: Iterable[Any]) -> str:
    near = did_you_mean(word, known)
    return f" {near}" if near else ""


def _some(known: Sequence[str]) -> str:
    shown = ", ".join(known[:8])
    return f" its layers: {shown}{', ...' if len(known) > 8 else ''}"


def _plain(value: Any) -> Any:
    """Give one of numpy's numbers as Python's own."""
    return value.item() if getattr(value, "shape", None) == () else value


def _toml(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, str):  # TOML's strings are JSON's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value).lower() if isinstance(value, bool) else repr(value)
