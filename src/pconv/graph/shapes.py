"""The shapes of a model's inputs: what the caller gives, and what the file says."""

import operator
from collections.abc import Mapping, Sequence
from math import prod
from numbers import Number
from typing import Any

import onnx_ir as ir

from ..errors import ModelError, UnsupportedError
from .nodes import Shape

Inputs = Any  # a shape, an array, or several of them in order or by name

MOST_ELEMS = 2**31 - 1
MOST_DIMENSIONS = 8
"""PCONV_MAX_RANK of runtime/native/pconv.h: what the C ABI has room for."""
OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
FLOATS = (ir.DataType.FLOAT, *OTHER_FLOATS)
"""What is computed as float32, whatever the file says."""


def as_list(inputs: Inputs) -> list[Any]:
    """Split what the caller gave for several inputs; one shape or one array stands for itself."""
    if hasattr(inputs, "shape") or all(isinstance(item, Number) for item in inputs):
        return [inputs]
    return list(inputs)


def as_shape(example: Any) -> Shape:
    """Give the shape of an array, or a shape itself."""
    shape = getattr(example, "shape", example)
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ModelError(
            f"input shape {shape!r} is not usable; give whole sizes of at least 1 such as (1, 3, 224, 224)."
        )
    return sizes


def set_shapes(graph: ir.Graph, inputs: Inputs) -> None:
    """Give a graph's inputs the caller's shapes.

    Raises:
        ModelError: a name or a number of inputs that the model does not have, or a shape of another rank.
    """
    values = {value.name or "": value for value in graph.inputs if value.name not in graph.initializers}
    named = inputs if isinstance(inputs, Mapping) else _by_order(list(values), as_list(inputs))
    for name, example in named.items():
        if name not in values:
            raise ModelError(
                f"input {name}: the model has no such input; its inputs are {', '.join(values)}."
            )
        shape, old = as_shape(example), values[name].shape
        if old is not None and len(old) != len(shape):
            raise ModelError(
                f"input {name}: shape {_text(shape)} has {len(shape)} dimensions; the model's has {len(old)}."
            )
        values[name].shape = ir.Shape(shape)


def _by_order(names: Sequence[str], examples: Sequence[Any]) -> dict[str, Any]:
    if len(names) != len(examples):
        raise ModelError(f"{len(examples)} inputs given; the model has {len(names)}: {', '.join(names)}.")
    return dict(zip(names, examples, strict=True))


def source_batch(inputs: Sequence[ir.Value]) -> int:
    """Give the batch that an export froze into the model, 1 where it is free."""
    sizes = [value.shape[0] for value in inputs if value.shape is not None and len(value.shape)]
    return max((size for size in sizes if isinstance(size, int) and size > 0), default=1)


def is_for_one_sample(inputs: Sequence[ir.Value]) -> bool:
    """Tell whether the model says of every input that its batch is 1."""
    return all(value.shape is not None and len(value.shape) and value.shape[0] == 1 for value in inputs)


def input_shape(value: ir.Value) -> Shape:
    """Give the static shape of an input for one sample.

    Raises:
        ModelError: a size other than the batch is not known.
        UnsupportedError: the input is no float tensor with a batch, or has too many dimensions.
    """
    if isinstance(value.type, (ir.SequenceType, ir.OptionalType, ir.SparseTensorType)):
        raise UnsupportedError(
            f"input {value.name}: it is a {type(value.type).__name__}; allowed: a dense tensor. Change the model."
        )
    if value.dtype is not None and value.dtype not in FLOATS:
        raise UnsupportedError(
            f"input {value.name}: it is {value.dtype.name}; allowed: FLOAT. Cast outside of the model."
        )
    example = f'inputs={{"{value.name}": (1, 3, 224, 224)}}, or --input {value.name}=1,3,224,224'
    if value.shape is None:
        raise ModelError(f"input {value.name}: its shape is not known. Give it: {example}.")
    sizes = list(value.shape)
    if len(sizes) < 2:
        raise UnsupportedError(
            f"input {value.name}: its shape is {_text(sizes)}; allowed: a batch and at least one dimension."
        )
    check_rank(f"input {value.name}", sizes)
    if not all(isinstance(size, int) and size > 0 for size in sizes[1:]):
        raise ModelError(f"input {value.name}: its shape {_text(sizes)} is not fixed. Give it: {example}.")
    shape = (1, *(int(size) for size in sizes[1:] if isinstance(size, int)))
    if prod(shape) > MOST_ELEMS:
        raise UnsupportedError(
            f"input {value.name}: a sample of {_text(sizes)} has {prod(shape):,} values; allowed: up to {MOST_ELEMS:,}."
        )
    return shape


def check_rank(what: str, sizes: Sequence[object]) -> None:
    """Check that an input or an output has no more dimensions than a caller can be told of; others may have any.

    Raises: UnsupportedError where it has.
    """
    if len(sizes) > MOST_DIMENSIONS:
        raise UnsupportedError(
            f"{what}: its shape {_text(sizes)} has {len(sizes)} dimensions; allowed: up to {MOST_DIMENSIONS}. "
            "Give it fewer before the export, and reshape it outside of the model."
        )


def _text(sizes: Sequence[object]) -> str:
    return "x".join(str(getattr(size, "value", size) or "?") for size in sizes) or "()"
