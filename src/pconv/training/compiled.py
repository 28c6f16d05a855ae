"""The loss as one compiled function: torch fuses what lies between the convolutions, most of a small network's time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pconv.errors import PconvError

Loss = Callable[[Tensor, Tensor], Tensor]
"""(images, labels) -> loss"""


def compiled(loss: Loss) -> Loss:
    """Compile a loss with all that it calls, at its first call, within a minute; results differ in the last bits.

    Raises: at that call, what the loss itself raises; PconvError when torch cannot compile it; on a CPU it needs a C++
    compiler.
    """
    fast = torch.compile(loss)

    def call(images: Tensor, labels: Tensor) -> Tensor:
        try:
            found: Tensor = fast(images, labels)
        except torch._dynamo.exc.TorchDynamoException as error:
            if _lacks_compiler(error):
                raise _cannot_compile(
                    error, "On a CPU it needs a C++ compiler (Debian: g++; or name one in CXX). Or leave"
                ) from error
            loss(images, labels)  # what is wrong with the network or its images, it says itself
            raise _cannot_compile(error, "Leave") from error
        return found

    return call


def _lacks_compiler(error: Exception) -> bool:
    return isinstance(getattr(error, "inner_exception", None), torch._inductor.exc.InvalidCxxCompiler)


def _cannot_compile(error: Exception, advice: str) -> PconvError:
    return PconvError(
        f"--compile: torch could not compile the network: {_first_line(error)} {advice} --compile out."
    )


def _first_line(error: Exception) -> str:
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if line.endswith(".") else f"{line}."
