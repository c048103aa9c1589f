"""Runs a program, and stays until it and all that it made have ended.

``python -IS supervise.py ORDERS REPORTS DESCRIPTOR,... COMMAND...``
What loses its parent becomes a child of this process (PR_SET_CHILD_SUBREAPER), so that daemons are waited for, and what
is to be ended is found. It reads from the descriptor ORDERS: a byte asks all to end, and kills them if they do not;
when nobody can write there any more, all are killed. It writes to REPORTS the exit status that subprocess would tell,
and the seconds of processor time that all have taken.
Only the standard library is at hand here.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

__all__ = ["main"]

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # include/uapi/linux/prctl.h, 6.12
GRACE_SECONDS = 10.0
ASK_AGAIN_SECONDS = 2.0
POLL_SECONDS = 0.2
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str], passed: tuple[int, ...]) -> int:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in TERMINAL_SIGNALS}

    def prepare() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler == signal.SIG_IGN else signal.SIG_DFL)

    return subprocess.Popen(command, pass_fds=passed, preexec_fn=prepare).pid  # noqa: PLW1509, S603


def _parents() -> dict[int, int]:
    """Parent of each process there is."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError), open(f"/proc/{entry.name}/stat", "rb") as file:  # noqa: PTH123
                found[int(entry.name)] = int(file.read().rpartition(b")")[2].split()[1])
    return found


def _descendants() -> set[int]:
    parents, found = _parents(), {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


class _Ending:
    """Asks processes to end, and kills them when it is time."""

    def __init__(self) -> None:
        self._deadline = math.inf
        self._asked: dict[int, float] = {}

    def order(self, *, may_ask: bool) -> None:
        """Begin; kill at once if that was begun already, or nothing may be asked."""
        at_once = not may_ask or self._deadline < math.inf
        self._deadline = 0.0 if at_once else time.monotonic() + GRACE_SECONDS

    def go_on(self) -> None:
        """Signal those that are there now: some are made meanwhile, and valgrind loses a signal before an exec."""
        now = time.monotonic()
        if self._deadline == math.inf:
            return
        for process in _descendants():
            if now > self._deadline or now > self._asked.get(process, 0.0):
                with suppress(OSError):
                    os.kill(process, signal.SIGKILL if now > self._deadline else signal.SIGTERM)
                self._asked[process] = now + ASK_AGAIN_SECONDS


def _reap() -> dict[int, int] | None:
    """Wait status of what has ended; None if nothing is left."""
    ended = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            ended[found[0]] = found[1]
        return ended
    return ended or None


def _supervise(program: int, orders: int) -> int:
    """Stay until nothing is left; return the program's status."""
    status, ending = 0, _Ending()
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    while (ended := _reap()) is not None:
        status = ended.get(program, status)
        ready, _, _ = select.select([woken, orders], [], [], POLL_SECONDS)
        if woken in ready:
            os.read(woken, 4096)
        if orders in ready:
            ending.order(may_ask=bool(os.read(orders, 1)))
        ending.go_on()
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Run the command; see above."""
    orders, reports, passed, *command = sys.argv[1:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    program = _start(command, tuple(map(int, filter(None, passed.split(",")))))
    status = _supervise(program, int(orders))
    with suppress(BrokenPipeError):  # the reader is gone
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(int(reports), f"{status} {used.ru_utime + used.ru_stime}".encode())


if __name__ == "__main__":
    main()
