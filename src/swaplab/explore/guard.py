"""What a program must not do while it is explored, and where it does so."""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from types import FrameType, SimpleNamespace
from typing import Any, Protocol

from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.shared import Part

__all__ = ["FOLDERS", "guarded", "program_frames", "refusing_exit", "where"]

FOLDERS = (Path(__file__).parent, Path(sys.modules[Part.__module__].__file__ or "").parent)
"""Of what runs a program, and of the primitives that it is made of."""
THREAD = "starts a thread, whose steps nobody would see: let it be a task, or queue work"
FORBIDDEN: tuple[tuple[Any, str, str], ...] = (
    (os, "_exit", "ends the process by os._exit, with whatever is not said yet"),
    (sys.modules[os.name], "_exit", "ends the process by os._exit, with whatever is not said yet"),
    (os, "fork", "forks, and nobody would see what the other process does"),
    (_thread, "start_new_thread", THREAD),
    (threading, "_start_new_thread", THREAD),
)


class Inside(Protocol):
    """Knows whether a program is running."""

    is_inside: bool


@contextmanager
def guarded(explorer: Inside) -> Iterator[None]:
    """Refuse what ends the process, and what runs beside it, if a program does so inside the block."""

    def guard(original: Callable[..., Any], sentence: str) -> Callable[..., Any]:
        def call(*args: Any, **names: Any) -> Any:  # noqa: ANN401
            if explorer.is_inside:
                raise Refused(f"the program {sentence}")
            return original(*args, **names)

        return call

    originals = [getattr(module, name) for module, name, _ in FORBIDDEN]
    for (module, name, sentence), original in zip(FORBIDDEN, originals, strict=True):
        setattr(module, name, guard(original, sentence))
    try:
        yield
    finally:
        for (module, name, _), original in zip(FORBIDDEN, originals, strict=True):
            setattr(module, name, original)


@contextmanager
def refusing_exit() -> Iterator[None]:
    """Refuse what ends the process while a program is loaded."""
    with guarded(SimpleNamespace(is_inside=True)):
        yield


def program_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the program, or of the system, from the innermost on."""
    while frame:
        if Path(frame.f_code.co_filename).parent not in FOLDERS:
            yield frame
        frame = frame.f_back


def where(error: BaseException, otherwise: Callable[..., object]) -> str:
    """Return the line of the program at which something was raised; that of a function if it was at none of its own."""
    frames = extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if Path(each.filename).parent not in FOLDERS), None)
    if frame:
        return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    code = getattr(otherwise, "__code__", None) or getattr(getattr(otherwise, "__init__", None), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}, in {code.co_name}" if code else repr(otherwise)
