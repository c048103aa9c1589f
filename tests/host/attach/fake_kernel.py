"""A machine whose processes touch known pages at known times, and that is looked at as the real one is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from swaplab.host.attach.proc import Identity, Look
from swaplab.host.processes import Process

COST = 1e-4


class FakeProcess:
    """Pages and when they are touched.

    Args:
        time: seconds, ascending.
        page: which page is touched then.
        pages: how many there are, all from the start.
        start: seconds from which it is there.
        end: seconds until it is there.
    """

    def __init__(
        self, time: NDArray[np.float64], page: NDArray[np.int64], pages: int, start: float = 0.0, end: float = 1e9
    ) -> None:
        self.time, self.page, self.pages, self.start, self.end = time, page, pages, start, end
        self.cleared = 0.0
        self.name = "app"


class FakeKernel:
    """The clock goes on when it is waited for, and when something is looked at."""

    method = "made up"

    def __init__(self, processes: dict[int, FakeProcess], signal_at: float = 1e9) -> None:
        self.processes, self.signal_at = processes, signal_at
        self.time = 0.0
        self.looks = 0
        self.refused: set[int] = set()
        self.on_look: Callable[[], None] = lambda: None

    def _found(self, pid: int) -> FakeProcess:
        process = self.processes[pid]
        if not process.start <= self.time < process.end:
            raise ProcessLookupError
        return process

    def choose(self) -> list[Process]:
        there = [pid for pid, process in self.processes.items() if process.start <= self.time < process.end]
        return [Process(pid, 1, "app", "/app", True) for pid in there]

    def clear(self, pid: int) -> None:
        if pid in self.refused:
            raise PermissionError
        self._found(pid).cleared = self.time

    def look(self, pid: int) -> Look:
        process = self._found(pid)
        first, last = np.searchsorted(process.time, (process.cleared, self.time))
        used = len(np.unique(process.page[first:last]))
        self.time += COST
        self.looks += 1
        self.on_look()
        return Look(process.pages, used, 0.0, 0.0)

    def identity(self, pid: int) -> Identity:
        process = self._found(pid)
        return Identity(round(process.start * 100), 7, process.name, self.time / 2)

    def now(self) -> float:
        return self.time

    def cost(self) -> float:
        return self.looks * COST

    def wait(self, until: float) -> str:
        self.time = max(self.time, min(until, self.signal_at))
        return "SIGINT" if self.time >= self.signal_at else ""
