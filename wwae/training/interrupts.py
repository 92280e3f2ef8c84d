"""Ctrl-C that is not lost.

Python raises ``KeyboardInterrupt`` wherever it is at that moment. In what it calls back, such as the end of an object, it prints
the error and goes on: a training that was interrupted there would run on for hours.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["keeping_interrupts", "raise_if_interrupted"]

_came = False


@contextmanager
def keeping_interrupts() -> Iterator[None]:
    """Inside, an interrupt is raised as ever, and again by :func:`raise_if_interrupted` until the block is left.

    It changes nothing outside the main thread, or where somebody handles the signal already.
    """
    global _came
    _came = False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _note)
    except ValueError:  # only the main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _came = False


def raise_if_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` if one came."""
    if _came:
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    signal.default_int_handler(number, frame)
