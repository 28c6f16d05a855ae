"""Owns Ctrl-C: it is remembered, because libraries between swallow KeyboardInterrupt, or make another error of it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_seen = False


@contextmanager
def remembered() -> Iterator[None]:
    """Remember Ctrl-C within the block, which it interrupts as ever. Where a handler stands already, it stays."""
    global _seen
    _seen = False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _remember)
    except ValueError:  # not in the main thread, which alone hears of signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def seen() -> bool:
    """Say whether Ctrl-C was pressed."""
    return _seen


def stop_if_seen() -> None:
    """Interrupt once more where Ctrl-C was swallowed.

    Raises: KeyboardInterrupt.
    """
    if _seen:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    global _seen
    _seen = True
    raise KeyboardInterrupt
