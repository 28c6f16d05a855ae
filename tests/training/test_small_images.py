"""Small images are convolved as products: the same values and gradients as torch's convolution, and nothing else is."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pconv.training.small_images import SmallImages, small_images_as_products

CPU = torch.device("cpu")


def gradients(convolution: nn.Conv2d, images: Tensor, upstream: Tensor, mode: bool) -> list[Tensor]:
    """Give the output and the gradients of the images and of all parameters, of a pass in bf16."""
    convolution.zero_grad()
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        if mode:
            with SmallImages():
                output = convolution(images)
            assert output.grad_fn.name() != "ConvolutionBackward0"
        else:
            output = convolution(images)
            assert output.grad_fn.name() == "ConvolutionBackward0"
    output.backward(upstream.to(output.dtype))
    found = [output, images.grad, *(parameter.grad for parameter in convolution.parameters())]
    assert all(value is not None for value in found)
    return [value.detach().float() for value in found if value is not None]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "size", [(4, 4), (2, 2), (1, 1), (1, 5), (3, 2)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize(("channels", "filters"), [(1, 1), (3, 8), (16, 5)])
def test_values_and_gradients_are_those_of_a_convolution(
    channels: int, filters: int, size: tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=bias)
    images, upstream = torch.randn(6, channels, *size), torch.randn(6, filters, *size)
    expected = gradients(convolution, images, upstream, mode=False)
    found = gradients(convolution, images, upstream, mode=True)
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding=(1, 0)),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    ],
    ids=str,
)
def test_other_convolutions_are_left_alone(convolution: nn.Conv2d) -> None:
    images = torch.randn(2, 4, 4, 4)
    expected = convolution(images)
    with SmallImages():
        assert torch.equal(convolution(images), expected)


def test_larger_images_are_left_alone() -> None:
    convolution, images = nn.Conv2d(4, 4, 3, padding=1), torch.randn(2, 4, 5, 4)
    expected = convolution(images)
    with SmallImages():
        assert torch.equal(convolution(images), expected)


def test_a_caller_may_name_the_arguments() -> None:
    images, weight = torch.randn(2, 4, 4, 4), torch.randn(4, 4, 3, 3)
    expected = functional.conv2d(images, weight, padding=1)
    with SmallImages():
        found = functional.conv2d(input=images, weight=weight, padding=1)
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_products_are_for_cpus_that_multiply_tiles_of_bf16(
    amx: bool, dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    chosen = small_images_as_products(CPU, dtype)
    assert isinstance(chosen, SmallImages) == (amx and dtype is torch.bfloat16)
    assert not isinstance(small_images_as_products(torch.device("cuda"), dtype), SmallImages)


def test_a_frozen_input_or_weight_gets_no_gradient() -> None:
    images, weight = torch.randn(2, 4, 2, 2), torch.randn(3, 4, 3, 3, requires_grad=True)
    with SmallImages():
        loss = functional.conv2d(images, weight, None, 1, 1).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert images.grad is None and weight.grad is not None
