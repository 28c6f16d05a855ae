"""Arrays as a compiled model takes them: checked, float32, dense; copied only where that is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import InputError

Array = NDArray[np.float32]
MAX_BATCH = 2**31 - 1
"""What an int of C counts."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a model: its name, its shape for one sample, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{list(self.shape)}"


def bind_inputs(infos: Sequence[TensorInfo], args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Return the call's arrays in the model's order of inputs.

    Raises: InputError when one is missing, unknown or given twice.
    """
    names = [info.name for info in infos]
    wanted = f"allowed {', '.join(map(str, infos))}"
    if len(args) > len(infos):
        raise InputError(f"{len(args)} inputs were given, the model has {len(infos)}; {wanted}.")
    given = dict(zip(names, args, strict=False))
    for name, value in named.items():
        if name not in names:
            raise InputError(f"input {name!r} is unknown; {wanted}.")
        if name in given:
            raise InputError(f"input {name!r} was given twice, by position and by name; give it once.")
        given[name] = value
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"input {missing[0]!r} is missing; {wanted}.")
    return [given[name] for name in names]


def as_input(info: TensorInfo, value: Any, batched: bool) -> Array:
    """Return `value` as a C-contiguous float32 array, the same memory where it is one already.

    Shapes: that of `info`, where the first dimension may be any N >= 1 if `batched`.
    Raises: InputError when it is no array, has another dtype or shape, or too many samples.
    """
    array = _as_array(info, value)
    if array.dtype != np.float32:
        raise InputError(
            f"input {info.name!r}: dtype {array.dtype}, allowed float32. Pass x.astype(np.float32)."
        )
    expected = ("N", *info.shape[1:]) if batched else info.shape
    fits = array.ndim == len(info.shape) and array.shape[batched:] == info.shape[batched:] and array.size > 0
    if not fits:
        allowed = ", ".join(map(str, expected))
        many = " with N >= 1" if batched else ""
        hint = " Add the batch dimension: x[None]." if array.shape == info.shape[1:] and batched else ""
        raise InputError(f"input {info.name!r}: shape {array.shape}, allowed ({allowed}){many}.{hint}")
    if batched and len(array) > MAX_BATCH:
        raise InputError(
            f"input {info.name!r}: {len(array)} samples are too many; allowed up to {MAX_BATCH}. Run it in "
            "smaller parts."
        )
    return np.require(array, requirements=["C", "ALIGNED"])


def _as_array(info: TensorInfo, value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except (TypeError, RuntimeError, ValueError, BufferError) as error:
        raise InputError(
            f"input {info.name!r}: this {type(value).__name__} gives no array ({error}). Pass one in the "
            "CPU's memory; of a torch tensor, x.detach().cpu().float()."
        ) from error
    raise InputError(
        f"input {info.name!r}: a {type(value).__name__} is not an array; allowed numpy arrays and CPU "
        "tensors. Pass np.asarray(x, np.float32)."
    )
