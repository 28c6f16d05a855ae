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

    Raises: at that call, PconvError when torch cannot compile it; on a CPU it needs a C++ compiler.
    """
    fast = torch.compile(loss)

    def call(images: Tensor, labels: Tensor) -> Tensor:
        try:
            found: Tensor = fast(images, labels)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise PconvError(
                f"--compile: torch could not compile the network: {_first_line(error)} On a CPU it needs a C++ "
                "compiler (Debian: g++; or name one in CXX). Or leave --compile out."
            ) from error
        return found

    return call


def _first_line(error: Exception) -> str:
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if line.endswith(".") else f"{line}."
