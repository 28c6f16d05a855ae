"""3x3 convolutions of images of a few pixels as matrix products, where a CPU multiplies tiles of bf16 (AMX).

Ours. The last layers of a network for CIFAR-10 have 4x4 or 2x2 pixels: rows too few for a tile where images are
convolved one by one, as torch does it. A product over the whole batch fills the tiles, and is faster by more than what
laying out the patches costs; at 8x8 pixels it is not. docs/training.md says what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MOST_PIXELS = 16


def small_images_as_products(
    device: torch.device, dtype: torch.dtype | None
) -> AbstractContextManager[object]:
    """Return the context in which small images are convolved as products; it does nothing where that is no gain."""
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    gains = device.type == "cpu" and dtype is torch.bfloat16 and has_tiles()
    return SmallImages() if gains else nullcontext()


class SmallImages(TorchFunctionMode):
    """While it is entered, `conv2d` computes what is small and 3x3 in bf16, by `_Product`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.conv2d:
            return _convolve(*args, **kwargs)
        return func(*args, **kwargs)


def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    plain = [_pair(given) for given in (stride, padding, dilation)] == [(1, 1)] * 3 and groups == 1
    small = input.ndim == 4 and input.shape[2] * input.shape[3] <= MOST_PIXELS
    if not (plain and small and weight.shape[2:] == (3, 3)):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    output: Tensor = _Product.apply(input.bfloat16(), weight.bfloat16())  # type: ignore[no-untyped-call]
    return output if bias is None else output + bias.bfloat16()[:, None, None]


def _pair(given: Any) -> Any:
    return given if isinstance(given, str) else (given, given) if isinstance(given, int) else tuple(given)


class _Product(torch.autograd.Function):
    """A 3x3 convolution of stride 1 that keeps the image's size, as a product of its patches and the weights."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        patches = _patches(images)
        ctx.save_for_backward(patches, weight)
        filters, channels = weight.shape[:2]
        return _as_images(patches @ weight.permute(2, 3, 1, 0).reshape(9 * channels, filters), images)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = outputs
        patches, weight = ctx.saved_tensors
        filters, channels = weight.shape[:2]
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(9 * filters, channels)
            of_images = _as_images(_patches(gradient) @ turned, gradient)
        if ctx.needs_input_grad[1]:
            rows = gradient.permute(0, 2, 3, 1).reshape(-1, filters)
            of_weight = (rows.t() @ patches).view(filters, 3, 3, channels).permute(0, 3, 1, 2)
        return of_images, of_weight


def _patches(images: Tensor) -> Tensor:
    """Lay out the 3x3 pixels around each pixel as a row; shapes: [n, channels, h, w] -> [n * h * w, 9 * channels]."""
    count, channels, height, width = images.shape
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifted = [padded[:, top : top + height, left : left + width] for top in range(3) for left in range(3)]
    return torch.cat(shifted, 3).reshape(count * height * width, 9 * channels)


def _as_images(rows: Tensor, like: Tensor) -> Tensor:
    """Return the product's rows as images, channels last in memory."""
    count, _, height, width = like.shape
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)
