"""How processes end: on signals all alike, and children with their parents."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

__all__ = [
    "ENDING",
    "Ended",
    "apart",
    "become_worker",
    "die_with_parent",
    "end_on_signals",
    "guarded",
    "holding_signals",
    "run",
    "signal_of",
    "uninterrupted",
    "with_parent",
]

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h, 6.12
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OF_A_TERMINAL = 1.0
"""Seconds after which what has interrupted this process has not come from a terminal, which interrupts its group."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class Ended(KeyboardInterrupt):
    """What ends a process that got SIGINT, SIGTERM or SIGHUP."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"ended by {signal.Signals(number).name}")


def end_on_signals() -> None:
    """Have SIGTERM and SIGHUP end this process as ctrl-C does, in silence, unless who started it had them ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    if _held.depth:
        _held.number = number
        return
    # What a signal leaves half made may fail to be unmade, in other threads too.
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    raise Ended(number)


class _Held:
    """A signal that waits until what is being done is done.

    Attributes:
        depth: of `uninterrupted` blocks that we are in.
        number: of the signal, 0 if none came.
    """

    depth = 0
    number = 0


_held = _Held()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have a signal that would end this process, after `end_on_signals`, do so at the end of the block.

    Raises:
        Ended: by a signal that came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():  # where signals raise nothing
        yield
        return
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1
        number = _held.number
        if number and not _held.depth:
            _held.number = 0
            raise Ended(number)


def signal_of(error: KeyboardInterrupt) -> int:
    """Return the signal that an interrupt comes from."""
    return error.number if isinstance(error, Ended) else signal.SIGINT


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, however that comes; at once if it has already.

    A child calls it first. The kernel means the parent's thread that started the child: that one has to outlive it.
    """
    _LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def with_parent() -> Callable[[], None]:
    """Return what a child of this process runs first (``preexec_fn``), so that it does not outlive it."""
    return partial(die_with_parent, os.getpid())


@contextmanager
def holding_signals() -> Iterator[None]:
    """Have signals that would end us wait until the block is left.

    Processes that are started inside hold them as well, until they `become_worker`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def become_worker(parent: int) -> None:
    """Have this process end with its parent, and leave to that what is sent to the whole group: it says what it was."""
    die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def apart(work: Callable[[], int]) -> int:
    """Return the status that some work returns, which is done in a process of its own.

    Whatever ends that process meanwhile, nobody takes it for the end of the work. Signals that end this process are
    passed on. Nothing that the work has left for the end of a process is done.

    Raises:
        ChildProcessError: the process was ended before the work was.
    """
    told, tells = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if not child:
        die_with_parent(parent)
        status = work()
        os.write(tells, bytes([status]))
        os._exit(status)
    os.close(tells)
    try:
        code = os.waitstatus_to_exitcode(_wait(child))
        os.set_blocking(told, False)  # somebody else may have it open
        with suppress(BlockingIOError):
            if said := os.read(told, 1):
                return said[0]
    finally:
        os.close(told)
    raise ChildProcessError(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}")


def _wait(child: int) -> int:
    """Wait for a process to end, and return how it did; what interrupts this process is to interrupt that."""
    try:
        return os.waitpid(child, 0)[1]
    except KeyboardInterrupt as interrupt:
        deadline = time.monotonic() + OF_A_TERMINAL
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status
            time.sleep(OF_A_TERMINAL / 100)
        os.kill(child, signal_of(interrupt))
        return _wait(child)


def run(
    command: Sequence[str], directory: Path | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without input; return its status and what it printed.

    Args:
        directory: where it is run and keeps temporary files, so that they go with it if the command is killed.
        seconds: after which it is killed.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it was killed.
    """
    return subprocess.run(  # noqa: S603
        command,
        cwd=directory,
        env=os.environ | {"TMPDIR": str(directory)} if directory else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
        check=False,
        preexec_fn=with_parent(),
    )


@contextmanager
def guarded(clean_up: Callable[[], None]) -> Iterator[None]:
    """Have another process call `clean_up` if this one ends inside the block without a chance to do it itself."""
    end, ours = os.pipe()
    begun, begins = os.pipe()
    guard = os.fork()
    if not guard:
        os.close(ours)
        _guard(end, begins, clean_up)
    os.close(end)
    os.close(begins)
    os.read(begun, 1)
    os.close(begun)
    try:
        yield
    finally:
        with suppress(OSError):  # nobody has killed the guard, or there is none to tell
            os.write(ours, b"done")
        os.close(ours)
        os.waitpid(guard, 0)


def _guard(end: int, begins: int, clean_up: Callable[[], None]) -> None:
    """Say that it has begun, wait for a word that all went well, and clean up if its writer ends without one.

    It never returns.
    """
    try:
        os.setsid()  # what is sent to a group is not sent to its guard
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.write(begins, b"begun")
        os.close(begins)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nowhere, standard)
        if not os.read(end, 1):
            clean_up()
    finally:
        os._exit(0)
