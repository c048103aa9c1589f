"""Ends a step that never ends: one that computes, or waits, for too long without a watched operation."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from swaplab.explore.guard import program_frames

__all__ = ["COMPUTES", "WAITS", "limit", "watchdog"]

SECONDS_MAX = 10.0
"""Of processor time that a step may take."""
LOOKS = 10
"""How often to look meanwhile. A task that computed nothing at all of these waits: a stopped process does not look."""
IDLE = 0.01
"""The part of the time between two looks that a waiting task may have computed."""
TELLS = 5
"""How often a step that does not end is told to."""
COMPUTES, WAITS = "computes", "waits"


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
def watchdog(
    progress: Callable[[], object], tell: Callable[[str, str], object], abandon: Callable[[], object]
) -> Iterator[None]:
    """Raise `Endless` in the thread that enters the block when it goes on without any progress.

    Only a process's main thread is interrupted where it waits, and only there is what catches everything abandoned.

    Args:
        progress: returns what changes with every step; None while there is no need to look.
        tell: called before with what it does, `COMPUTES` or `WAITS`, and the line where.
        abandon: called in the thread if it goes on after it was told so `TELLS` times.
    """
    thread = threading.get_ident()
    clock = time.pthread_getcpuclockid(thread)
    is_main = threading.current_thread() is threading.main_thread()
    is_over = threading.Event()
    told = 0

    def look() -> None:
        last, since, before, idle = progress(), time.clock_gettime(clock), 0.0, 0
        while not is_over.wait(SECONDS_MAX / LOOKS):
            now, spent = progress(), time.clock_gettime(clock)
            idle = idle + 1 if spent - before < IDLE * SECONDS_MAX / LOOKS else 0
            before = spent
            if now is None or now != last:
                last, since, idle = now, spent, 0
            elif spent - since > SECONDS_MAX or idle > LOOKS:
                tell(WAITS if idle else COMPUTES, _line(sys._current_frames()[thread]))
                # Again and again, should it be caught.
                if is_main:
                    signal.pthread_kill(thread, signal.SIGALRM)
                else:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Endless))

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        nonlocal told
        told += 1
        if told % TELLS == 0:
            abandon()
        raise Endless

    watcher = threading.Thread(target=look, daemon=True)
    handler = signal.signal(signal.SIGALRM, end) if is_main else None
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        if is_main:
            signal.signal(signal.SIGALRM, handler)
