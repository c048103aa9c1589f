"""What a program must not do while it is explored, and where it does so.

It must not leave: end the process, replace it, or go on in another. Nor may it use what others change, or what outlives
an execution. Python tells its audit hooks of most of that, whichever way it is done; of the rest it is made to.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import atexit
import gc
import os
import posix
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from traceback import extract_tb
from types import BuiltinFunctionType, FrameType, FunctionType, SimpleNamespace
from typing import Any, NamedTuple, Protocol

from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.shared import Part

__all__ = ["FOLDERS", "FOREIGN", "OURS", "guarded", "insist_seen", "loading", "program_frames", "where"]

FOLDERS = (Path(__file__).parent, Path(sys.modules[Part.__module__].__file__ or "").parent)
"""Of what runs a program, and of the primitives that it is made of."""
FOREIGN = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Where modules are that are no program's."""
OURS = f"{Path(__file__).parents[1]}/"
END = "ends the process by {}, with whatever is not said yet"
FORK = "forks, and nobody would see what the other process does"
PROCESS = "starts a process by {}, and nobody would see what it does"
THREAD = "starts a thread, whose steps nobody would see: let it be a task, or queue work"
SIGNAL = "uses signals, by {}: they come when nobody has scheduled them, and may end the process"
OTHERS = "uses what others change, by {}: it does not follow from the schedule"
FILE = "uses files, by {}: they outlive an execution, and nobody would see their changes"
LEAVING = {
    **dict.fromkeys(("os._exit", "os.abort"), END),
    "os.exec": "replaces the process by {}, with whatever is not said yet",
    **dict.fromkeys(("os.fork", "os.forkpty"), FORK),
    "_thread.start_new_thread": THREAD,
}
"""By the event that tells of it, what is refused even while a file of programs is run."""
REFUSED = LEAVING | {
    **dict.fromkeys(("os.posix_spawn", "os.system", "subprocess.Popen", "_posixsubprocess.fork_exec"), PROCESS),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill", "signal.raise_signal"), SIGNAL),
    **dict.fromkeys(("signal.signal", "signal.alarm", "signal.setitimer"), SIGNAL),
    "atexit.register": "leaves something to do for the end of the process, by {}, when all has been said",
    **dict.fromkeys(("ctypes.dlopen", "ctypes.dlsym", "ctypes.call_function"), "calls C by {}, unseen"),
    **dict.fromkeys(("socket.__new__", "builtins.input", "mmap.__new__"), OTHERS),
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.rmdir"), FILE),
    **dict.fromkeys(("os.link", "os.symlink", "os.truncate", "os.chdir", "os.chmod", "os.utime"), FILE),
    **dict.fromkeys(("os.putenv", "os.unsetenv"), "changes the environment, by {}: it outlives an execution"),
}
"""And while one of the programs runs."""


class _Silent(NamedTuple):
    """A function of which no version of Python tells, or not every one.

    Attributes:
        module, name: where it is found.
        event: that it is made to raise.
        original: the function.
    """

    module: Any
    name: str
    event: str
    original: Callable[..., Any]


def _silent(event: str, *names: str, modules: tuple[Any, ...]) -> list[_Silent]:
    found = [(module, name, getattr(module, name, None)) for module in modules for name in names]
    return [_Silent(module, name, event, original) for module, name, original in found if original]


STARTS = ("start_new_thread", "start_new", "start_joinable_thread", "_start_new_thread", "_start_joinable_thread")
SIGNALS = ("raise_signal", "signal", "alarm", "setitimer")
OF_CHANCE = ("time", "uuid", "secrets")
"""Modules whose functions come to something else each time,"""
RANDOM = ("urandom", "getrandom")
"""and such functions of others."""
SILENT = [
    *_silent("os._exit", "_exit", modules=(os, posix)),
    *_silent("os.abort", "abort", modules=(os, posix)),
    *_silent("_thread.start_new_thread", *STARTS, modules=(_thread, threading)),
    *(each for name in SIGNALS for each in _silent(f"signal.{name}", name, modules=(signal, sys.modules["_signal"]))),
    *_silent("atexit.register", "register", modules=(atexit,)),
    *_silent("_posixsubprocess.fork_exec", "fork_exec", modules=(_posixsubprocess,)),
]


class Inside(Protocol):
    """Knows whether a program is running."""

    is_inside: bool


class _Guard(NamedTuple):
    """Whose program is watched, in which thread, and what it may not do."""

    inside: Inside
    thread: int
    refused: Mapping[str, str]


_guards: list[_Guard] = []


@contextmanager
def guarded(inside: Inside, refused: Mapping[str, str] = REFUSED) -> Iterator[None]:
    """Refuse what leaves an execution, whichever way it is done, if a program does so inside the block."""
    _listen()
    _guards.append(_Guard(inside, threading.get_ident(), refused))
    for each in SILENT:
        setattr(each.module, each.name, _telling(each))
    try:
        yield
    finally:
        for each in SILENT:
            setattr(each.module, each.name, each.original)
        _guards.pop()


@contextmanager
def loading() -> Iterator[None]:
    """Refuse what ends the process, or goes on in another, while a file of programs is run."""
    with guarded(SimpleNamespace(is_inside=True), LEAVING):
        yield


def insist_seen(name: str, function: BuiltinFunctionType | FunctionType) -> None:
    """Insist that a function which a program knows by a name of its own is none of those that would not be seen.

    Nor one that comes to something else each time.

    Raises:
        Refused: it is.
    """
    if (function.__module__ in OF_CHANCE or function.__name__ in RANDOM) and function.__name__ != "sleep":
        raise Refused(f"{name} does not come to the same again: have a task choose by what it reads, or have one more")
    if getattr(function, "__self__", None) is gc:
        raise Refused(f"{name} is of the garbage collector: what that does comes when nobody has scheduled it")
    for each in SILENT:
        if function is each.original:
            raise Refused(f"{name} is {each.event}: a program that uses it {REFUSED[each.event].format(each.event)}")


def _telling(silent: _Silent) -> Callable[..., Any]:
    def tell(*args: Any, **names: Any) -> Any:  # noqa: ANN401
        sys.audit(silent.event)
        return silent.original(*args, **names)

    return tell


@cache
def _listen() -> None:
    """Have Python tell `_hear`, from now on: a hook cannot be taken away."""
    sys.addaudithook(_hear)


def _hear(event: str, _: object) -> None:
    if not _guards or event not in REFUSED:
        return
    guard = _guards[-1]
    sentence = guard.refused.get(event)
    if sentence is None or not guard.inside.is_inside or guard.thread != threading.get_ident():
        return
    if event in LEAVING or _is_program(sys._getframe(1)):
        raise Refused(f"the program {sentence.format(event)}")


def _is_program(frame: FrameType | None) -> bool:
    """Tell whether something is done for the program, and not to import a module or by swaplab itself."""
    while frame:
        file = frame.f_code.co_filename
        if file != __file__:
            if file.startswith(("<frozen importlib", OURS)):
                return False
            if not file.startswith((*FOREIGN, "<")):
                return True
        frame = frame.f_back
    return False


def program_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the program, or of the system, from the innermost on."""
    while frame:
        if Path(frame.f_code.co_filename).parent not in FOLDERS:
            yield frame
        frame = frame.f_back


def where(error: BaseException, otherwise: Callable[..., object]) -> str:
    """Return the line of the program at which something was raised; that of a function if it was at none of its own."""
    frames = [each for each in extract_tb(error.__traceback__) if Path(each.filename).parent not in FOLDERS]
    own = [each for each in frames if not each.filename.startswith((*FOREIGN, "<"))]
    for frame in (own or frames)[-1:]:
        return f"{frame.filename}, line {frame.lineno}, in {frame.name}"
    code = getattr(otherwise, "__code__", None) or getattr(getattr(otherwise, "__init__", None), "__code__", None)
    return f"{code.co_filename}, line {code.co_firstlineno}, in {code.co_name}" if code else repr(otherwise)
