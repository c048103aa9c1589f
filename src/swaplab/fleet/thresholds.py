"""Which age to call cold: the one at which little comes back, and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.fleet.histograms import Rows
from swaplab.linux.page import PAGE_SIZE

__all__ = ["OVERALL", "Aim", "Finding", "Loser", "Tally", "findings"]

JOBS_MAX: Final = 1 << 20
OVERALL: Final = ""
"""The class of all machines together."""


class Aim(NamedTuple):
    """The conditions on a threshold.

    Attributes:
        promotions: most pages that come back in a minute, as a share of the working set.
        share: of each job's time, and of the jobs of a class, in which that has to hold.
        ratio: that compressible pages are compressed by, where a row does not say it.
        compressible: share of the pages that compress, likewise.
    """

    promotions: float
    share: float
    ratio: float
    compressible: float


class _Key(NamedTuple):
    kind: str
    machine: str
    job: str


class Tally:
    """What is kept of all rows: for each job, by threshold, the time that it has too many promotions and what is saved.

    It takes 16 bytes for each job and age. A row counts for the time since the job's row before.
    """

    def __init__(self, ages: Sequence[int], aim: Aim) -> None:
        self.ages = list(ages)
        self.aim = aim
        self.keys: dict[_Key, int] = {}
        bins = len(ages) - 1
        self.first = np.empty(0)
        self.last = np.empty(0)
        self.seconds = np.empty(0)
        self.pages = np.empty(0)
        self.over = np.empty((0, bins))
        self.saved = np.empty((0, bins))

    def add(self, rows: Rows) -> None:
        """Count some rows.

        Raises:
            InputError: a job's time does not go on, or there are too many jobs.
        """
        number = self._number(rows)
        seconds = self._elapsed(rows, number)
        young = rows.cold[:, 0]
        cold = rows.cold[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        back = rows.promotions[:, ::-1].cumsum(axis=1)[:, ::-1]
        minutes = np.maximum(seconds, 1e-9)[:, None] / 60
        ratio = np.where(np.isnan(rows.ratio), self.aim.ratio, rows.ratio)
        compressible = np.where(np.isnan(rows.compressible), self.aim.compressible, rows.compressible)
        gain = compressible * (1 - 1 / ratio) * PAGE_SIZE * seconds
        too_many = back > (self.aim.promotions * young)[:, None] * minutes
        np.add.at(self.seconds, number, seconds)
        np.add.at(self.pages, number, rows.cold.sum(axis=1) * seconds)
        np.add.at(self.over, number, too_many * seconds[:, None])
        np.add.at(self.saved, number, cold * gain[:, None])

    def threshold(self, number: int) -> int | None:
        """Return the seconds of a threshold; None for the one behind the last."""
        return self.ages[number + 1] if number + 1 < len(self.ages) else None

    def _number(self, rows: Rows) -> NDArray[np.int64]:
        """Number each row's job, and make room for new ones."""
        keys = map(_Key, rows.kind, rows.machine, rows.job)
        number = np.array([self.keys.setdefault(key, len(self.keys)) for key in keys], np.int64)
        if len(self.keys) > JOBS_MAX:
            raise InputError(f"{rows.place.path}: job", f"at most {JOBS_MAX} jobs in all", "more")
        more = len(self.keys) - len(self.seconds)
        room = max(more, len(self.seconds)) if more > 0 else 0
        for name in ("first", "last", "seconds", "pages", "over", "saved"):
            array = getattr(self, name)
            fill = np.nan if name in ("first", "last") else 0.0
            setattr(self, name, np.concatenate([array, np.full((room, *array.shape[1:]), fill)]))
        return number

    def _elapsed(self, rows: Rows, number: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the seconds since the row before of the same job; of the first one none."""
        order = np.argsort(number, kind="stable")
        jobs, time = number[order], rows.time[order]
        is_first = np.append(True, jobs[1:] != jobs[:-1])
        before = np.where(is_first, self.last[jobs], np.append(np.nan, time[:-1]))
        elapsed = np.empty(len(time))
        elapsed[order] = time - before
        if (elapsed <= 0).any():
            row = int((elapsed <= 0).argmax())
            expected = "a time after that of the job's row before"
            raise rows.place.error(row, "time", expected, f"{rows.time[row]:g} of {rows.job[row]}")
        is_last = np.append(jobs[1:] != jobs[:-1], True)
        self.first[jobs[is_first]] = np.fmin(self.first[jobs[is_first]], time[is_first])
        self.last[jobs[is_last]] = time[is_last]
        return np.nan_to_num(elapsed)


class Loser(NamedTuple):
    """A job with too many promotions at the threshold of its class.

    Attributes:
        over: share of its time in which it has too many.
        needs: seconds that would do; None where none do.
    """

    kind: str
    machine: str
    job: str
    over: float
    needs: int | None


class Finding(NamedTuple):
    """The threshold of a class.

    Attributes:
        kind: the class; `OVERALL` for all.
        machines: how many.
        jobs: how many were seen long enough to be told.
        threshold: seconds; None where none keeps what is aimed for.
        memory: bytes that they have, in the mean over time.
        saved: bytes that the threshold would save, likewise.
        by_machine: shares of its memory that each machine would save, ascending.
        losers: worst first.
    """

    kind: str
    machines: int
    jobs: int
    threshold: int | None
    memory: float
    saved: float
    by_machine: NDArray[np.float64]
    losers: list[Loser]


def findings(tally: Tally) -> list[Finding]:
    """Return what to set for each class, by name, and last for all of them."""
    keys = list(tally.keys)
    kinds = sorted({key.kind for key in keys})
    told = [number for number in range(len(keys)) if tally.seconds[number] > 0]
    classes = [(kind, [number for number in told if keys[number].kind == kind]) for kind in kinds]
    if kinds != [OVERALL]:
        classes.append((OVERALL, told))
    return [_finding(tally, kind, keys, np.array(numbers, np.int64)) for kind, numbers in classes if numbers]


def _finding(tally: Tally, kind: str, keys: Sequence[_Key], numbers: NDArray[np.int64]) -> Finding:
    over = tally.over[numbers] / tally.seconds[numbers, None]
    keeps = over <= 1 - tally.aim.share + 1e-12
    needs = np.where(keeps.any(axis=1), keeps.argmax(axis=1), over.shape[1])
    at = int(np.sort(needs)[_rank(len(needs), tally.aim.share)])
    is_set = at < over.shape[1]
    saved = tally.saved[numbers, at] if is_set else np.zeros(len(numbers))
    losers = [_loser(tally, keys[numbers[i]], float(over[i, at]), int(needs[i])) for i in np.flatnonzero(needs > at)]
    machines = [keys[number].machine or keys[number].job for number in numbers]
    memory, gained = _by_machine(tally, machines, numbers, saved)
    return Finding(
        kind,
        len(memory),
        len(numbers),
        tally.threshold(at),
        float(memory.sum()),
        float(gained.sum()),
        np.sort(gained / np.maximum(memory, 1)),
        sorted(losers, key=lambda each: -each.over),
    )


def _loser(tally: Tally, key: _Key, over: float, need: int) -> Loser:
    return Loser(key.kind, key.machine, key.job, over, tally.threshold(need))


def _by_machine(
    tally: Tally, names: Sequence[str], numbers: NDArray[np.int64], saved: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bytes that each machine has and saves, in the mean over the time in which it was seen."""
    _, machine = np.unique(np.array(names, object), return_inverse=True)
    count = int(machine.max()) + 1
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(first, machine, tally.first[numbers])
    np.maximum.at(last, machine, tally.last[numbers])
    span = last - first
    held = np.bincount(machine, tally.pages[numbers] * PAGE_SIZE, count)
    return held / span, np.bincount(machine, saved, count) / span


def _rank(count: int, share: float) -> int:
    """Place of a percentile among so many, counted from 0: the nearest rank."""
    return max(0, int(np.ceil(share * count - 1e-9)) - 1)
