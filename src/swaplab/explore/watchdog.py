"""Ends a step that never ends: whoever computes for too long without doing anything that is watched."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from swaplab.explore.guard import program_frames

__all__ = ["limit", "watchdog"]

SECONDS_MAX = 10.0
"""Of processor time that a step may take."""
LOOKS = 10
"""How often to look meanwhile."""


class Endless(BaseException):
    """A step takes too long."""


def limit() -> float:
    """Return the seconds of processor time that a step may take."""
    return SECONDS_MAX


def _line(frame: FrameType) -> str:
    """Return the innermost line of the program, or of the system."""
    each = next(program_frames(frame), frame)
    return f"{each.f_code.co_filename}, line {each.f_lineno}, in {each.f_code.co_name}"


@contextmanager
def watchdog(progress: Callable[[], object], tell: Callable[[str], object]) -> Iterator[None]:
    """Raise `Endless` in the thread that enters the block when it goes on computing without any progress.

    Args:
        progress: returns what changes with every step; None while there is no need to look.
        tell: called before with the line that computes.
    """
    thread = threading.get_ident()
    clock = time.pthread_getcpuclockid(thread)
    is_over = threading.Event()

    def look() -> None:
        last, since = progress(), time.clock_gettime(clock)
        while not is_over.wait(SECONDS_MAX / LOOKS):
            now, spent = progress(), time.clock_gettime(clock)
            if now is None or now != last:
                last, since = now, spent
            elif spent - since > SECONDS_MAX:
                tell(_line(sys._current_frames()[thread]))
                # Again and again, should it be caught.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Endless))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
