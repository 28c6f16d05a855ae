"""What a compiled model takes and gives, read from its manifest; the same for every kind of device."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pconv.errors import InputError
from pconv.runtime.tensors import Array, TensorInfo, as_input, bind_inputs


class Signature:
    """A model's inputs and outputs; compiled for one sample, run on any number where all have that in front."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.inputs = _infos(manifest["inputs"])
        self.outputs = _infos(manifest["outputs"])
        self.fold = int(manifest.get("fold", 1))
        self.batched = all(info.shape[:1] == (1,) for info in self.inputs + self.outputs)

    def prepare(self, arrays: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Array], int]:
        """Return the checked inputs and how many samples they hold.

        Raises: InputError when an array is missing, too many, or of the wrong dtype or shape.
        """
        values = bind_inputs(self.inputs, arrays, named)
        inputs = [as_input(info, v, self.batched) for info, v in zip(self.inputs, values, strict=True)]
        sizes = {len(array) for array in inputs} if self.batched else {1}
        if len(sizes) > 1:
            said = ", ".join(f"{i.name} {len(a)}" for i, a in zip(self.inputs, inputs, strict=True))
            raise InputError(f"the inputs hold different numbers of samples ({said}); give all the same.")
        return inputs, sizes.pop() if sizes else 1

    def empty_outputs(self, batch: int) -> list[Array]:
        """Return arrays for the outputs of `batch` samples."""
        shapes = ((batch, *info.shape[1:]) if self.batched else info.shape for info in self.outputs)
        return [np.empty(shape, np.float32) for shape in shapes]

    def typed(self, outputs: Sequence[Array]) -> tuple[NDArray[Any], ...]:
        """Return what a run wrote as floats in the types that the model gives its outputs.

        Integers are whole numbers in floats, which these hold exactly up to 2 to the 24.
        """
        return tuple(_typed(array, info.dtype) for array, info in zip(outputs, self.outputs, strict=True))

    def random_inputs(self) -> list[Array]:
        """Draw inputs of one sample, or of as many as run side by side, always the same ones."""
        random = np.random.default_rng(0)
        count = self.fold if self.batched else 1
        shapes = [(count * info.shape[0], *info.shape[1:]) for info in self.inputs]
        return [random.standard_normal(shape, np.float32) for shape in shapes]


def _infos(tensors: Sequence[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(t["name"], tuple(t["shape"]), t.get("values", t["dtype"])) for t in tensors)


def _typed(array: Array, dtype: str) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.kind in "iu":  # narrower integers are the last bits of wide ones
        return array.astype(np.int64).astype(kind, copy=False)
    return array.astype(kind, copy=False)
