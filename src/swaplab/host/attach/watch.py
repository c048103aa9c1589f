"""Look at processes for a while: clear, look after growing intervals, and again.

A look says how many pages were used since they were cleared, so each cycle gives the beginning of a curve, and longer
cycles more of it. Of cycles 1, 2, 3, ... each has the length of the first times the largest power of two that divides
its number: half of them have one length, a quarter two, so that each length gets as much time. Looking costs processor
time, and the process may wait for it: a cycle goes on until that is one percent of it. In the first cycle, number 0,
one look finds out what looking takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
from msgspec.structs import replace

from swaplab.errors import InputError
from swaplab.host.attach.proc import GONE, Clock, Identity, Look, clear, identity, look
from swaplab.host.attach.samples import SAMPLES, Attached, Life
from swaplab.host.processes import PROC, Process
from swaplab.text import shown

__all__ = [
    "LEVEL_SECONDS",
    "OCTAVE",
    "SECONDS_MAX",
    "AccessedBits",
    "Kernel",
    "Watched",
    "longest_level",
    "watch",
    "window_of",
]

LEVEL_SECONDS: Final = 1 / 64
"""The shortest window, of level 0."""
OCTAVE: Final = 4
"""So many levels are between a window and one that is twice as long."""
BUDGET: Final = 0.01
LOOKS: Final = 4
"""Two looks are at least so many times as far apart as one takes."""
CYCLES_MIN: Final = 4
"""So many times the longest window fits into a recording."""
CYCLE_OCTAVES: Final = 5
"""The longest cycle is so many times twice as long as the shortest, so that one fits into a recording."""
SECONDS_MAX: Final = 30 * 86400.0
GRACE: Final = 10.0
"""Seconds that a service may take to start again."""
POLL: Final = 1.0
NAMED: Final = 3
LEVELS: Final = 128


class Kernel(Protocol):
    """What a process is looked at with.

    Attributes:
        method: what that is, for people.
    """

    method: str

    def clear(self, pid: int) -> None:
        """See `proc.clear`."""

    def look(self, pid: int) -> Look:
        """See `proc.look`."""

    def identity(self, pid: int) -> Identity:
        """See `proc.identity`."""

    def now(self) -> float:
        """See `proc.Clock`."""

    def cost(self) -> float:
        """See `proc.Clock`."""

    def wait(self, until: float) -> str:
        """See `proc.Clock`."""


class AccessedBits(Clock):
    """What every kernel has: accessed bits, counted by mapping. It takes no root."""

    def __init__(self, method: str = "accessed bits by mapping", proc: Path = PROC) -> None:
        self.method = method
        self._proc = proc

    def clear(self, pid: int) -> None:
        """See `proc.clear`."""
        clear(pid, self._proc)

    def look(self, pid: int) -> Look:
        """See `proc.look`."""
        return look(pid, self._proc)

    def identity(self, pid: int) -> Identity:
        """See `proc.identity`."""
        return identity(pid, self._proc)


class Watched(NamedTuple):
    """What came of it.

    Attributes:
        attached: the samples.
        ended_by: why it ended: a signal, the time, or that nothing is left.
        unreadable: names of processes that may not be looked at.
        huge: share of the memory that is in huge pages.
    """

    attached: Attached
    ended_by: str
    unreadable: Sequence[str]
    huge: float


class _Known(NamedTuple):
    number: int
    identity: Identity


def longest_level(seconds: float) -> int:
    """Return the level of the longest window of a recording of so many seconds."""
    return OCTAVE * max(0, math.floor(math.log2(max(seconds / CYCLES_MIN / LEVEL_SECONDS, 1.0))))


def window_of(level: int) -> float:
    """Return the seconds of a level's window."""
    return LEVEL_SECONDS * math.exp2(level / OCTAVE)


def levels_for(took: float) -> list[int]:
    """Return the levels of a cycle, ascending, if a look takes so many seconds of processor time.

    There is one for each octave as soon as they are far enough apart, and all as soon as that costs next to nothing.
    """
    found: list[int] = []
    for level in range(LEVELS):
        step = OCTAVE if level % OCTAVE == 0 else 1
        room = window_of(level) - (window_of(level - step) if level else 0.0)
        if room >= took * (LOOKS if step > 1 else 1 / BUDGET):
            found.append(level)
    return found


class _Watch:
    """The state of `watch`.

    Attributes:
        lives: all so far.
        known: those that go on, by process.
        rows: of `SAMPLES`.
        unreadable: names of processes that may not be looked at, by id.
        cycle: number of the present one, from 1.
        levels: of looks in a cycle.
        least: level of the last look of the shortest cycles.
    """

    def __init__(self, kernel: Kernel, seconds: float) -> None:
        self.kernel = kernel
        self.began, self.spent_before = kernel.now(), kernel.cost()
        self.end_at = self.began + seconds
        self.longest = longest_level(seconds)
        self.lives: list[Life] = []
        self.known: dict[int, _Known] = {}
        self.rows: list[tuple[int, int, int, float, float, float, float, float]] = []
        self.unreadable: dict[int, str] = {}
        self.cycle = self.least = 0
        self.levels = [0]
        self.huge = self.resident = 0.0

    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.kernel.now() - self.began

    def spent(self) -> float:
        """Seconds of processor time since the beginning."""
        return self.kernel.cost() - self.spent_before

    def meet(self, processes: Sequence[Process]) -> None:
        """Note which programs there are now."""
        for pid in self.known.keys() - {process.pid for process in processes}:
            self._end(pid)
        for process in processes:
            if process.pid not in self.unreadable and not self._goes_on(process.pid):
                self._begin(process)

    def _begin(self, process: Process) -> None:
        with suppress(*GONE):
            now = self.kernel.identity(process.pid)
            start = self.passed() if self.rows else 0.0
            self.known[process.pid] = _Known(len(self.lives), now)
            self.lives.append(Life(process.pid, shown(now.name), process.cgroup, start, None, 0.0))

    def _goes_on(self, pid: int) -> bool:
        """Whether a process has the program still that we know of; note what it took, or that it has ended."""
        known = self.known.get(pid)
        if known is None:
            return False
        try:
            now = self.kernel.identity(pid)
        except GONE:
            now = None
        if now is None or now.program != known.identity.program:
            self._end(pid)
            return False
        took = now.processor - known.identity.processor
        self.lives[known.number] = replace(self.lives[known.number], processor=took)
        return True

    def _end(self, pid: int) -> None:
        known = self.known.pop(pid)
        self.lives[known.number] = replace(self.lives[known.number], end=self.passed())

    def clear(self) -> dict[int, float]:
        """Clear all; return when that was, by process."""
        times: dict[int, float] = {}
        for pid in list(self.known):
            before = self.kernel.now()
            with self._excused(pid):
                self.kernel.clear(pid)
                times[pid] = (before + self.kernel.now()) / 2
        return times

    def look(self, level: int, cleared: dict[int, float]) -> None:
        """Look at all that were cleared; forget those that are not the same any more."""
        for pid, since in list(cleared.items()):
            before = self.kernel.now()
            found = None
            with self._excused(pid):
                found = self.kernel.look(pid)
            middle = (before + self.kernel.now()) / 2
            # What has just ended has no memory, and what has just been executed was not cleared.
            if found is None or not found.resident + found.swapped or not self._goes_on(pid):
                del cleared[pid]
                continue
            counts = (found.resident, min(found.referenced, found.resident), found.swapped)
            self.rows.append((self.known[pid].number, self.cycle, level, middle - self.began, middle - since, *counts))
            self.huge += found.huge
            self.resident += found.resident

    @contextmanager
    def _excused(self, pid: int) -> Iterator[None]:
        """Pass over a process that has ended, or that may not be looked at."""
        try:
            yield
        except GONE:
            self._end(pid)
        except PermissionError:
            self.unreadable[pid] = f"{self.lives[self.known.pop(pid).number].name} ({pid})"

    def calibrate(self) -> str:
        """Find out what looking takes; return what ended the recording, or nothing."""
        before = self.spent()
        cleared = self.clear()
        if ended_by := self.wait(self.kernel.now() + LEVEL_SECONDS):
            return ended_by
        self.look(0, cleared)
        self.levels = levels_for((self.spent() - before) / 2)
        self.least = max(self.levels[0], self.longest - OCTAVE * CYCLE_OCTAVES)
        return ""

    def look_on(self, told: Callable[[float, int], None]) -> str:
        """Go through a cycle; return what ended the recording, or nothing."""
        self.cycle += 1
        started = self.kernel.now()
        cleared = self.clear()
        last = min(self.longest, self.least + OCTAVE * _twos(self.cycle))
        for level in self.levels:
            due = started + window_of(level)
            if due < self.kernel.now() and level > self.levels[0]:
                continue  # too late for this one
            if ended_by := self.wait(due):
                return ended_by
            self.look(level, cleared)
            told(self.passed(), len(self.rows))
            is_cheap = self.spent() <= BUDGET * self.passed()
            if not cleared or (level >= last and is_cheap and level % OCTAVE == 0):
                break
        return ""

    def wait(self, until: float) -> str:
        """Wait for a time; return what ended the recording before, or nothing."""
        return self.kernel.wait(min(until, self.end_at)) or "--duration" * (until > self.end_at)


def _twos(number: int) -> int:
    """How many times a number is even."""
    return (number & -number).bit_length() - 1


def watch(
    choose: Callable[[], Sequence[Process]],
    seconds: float,
    kernel: Kernel,
    told: Callable[[float, int], None] = lambda seconds, samples: None,
) -> Watched:
    """Watch processes until the time is over, a signal comes, or none has been there for a while.

    Args:
        choose: which processes; asked again in each cycle.
        seconds: how long.
        kernel: what to look with.
        told: seconds and samples so far, after every look.

    Raises:
        InputError: nothing was there to be looked at, or nothing that may be.
    """
    state = _Watch(kernel, seconds)
    seen = kernel.now()
    ended_by = ""
    while not ended_by:
        state.meet([process for process in choose() if process.has_memory])
        if state.known:
            ended_by = state.look_on(told) if state.rows else state.calibrate()
            seen = kernel.now()
        elif kernel.now() - seen >= GRACE or not state.rows:
            ended_by = "the end of all processes"
        else:
            ended_by = state.wait(kernel.now() + POLL)
    _check(state)
    samples = np.array(state.rows, SAMPLES)
    if state.cycle and (samples["cycle"] > 0).any():
        samples = samples[samples["cycle"] > 0]
    samples = samples[np.argsort(samples["life"], kind="stable")]
    attached = Attached(kernel.method, state.passed(), state.spent(), state.lives, samples)
    return Watched(attached, ended_by, list(state.unreadable.values()), state.huge / max(state.resident, 1.0))


def _check(state: _Watch) -> None:
    if state.rows:
        return
    if state.unreadable:
        names = ", ".join(list(state.unreadable.values())[:NAMED])
        raise InputError("processes", "at least one that this user may look at: its own, or any as root", names)
    raise InputError("processes", "at least one with anonymous memory, for longer than a moment", "none")
