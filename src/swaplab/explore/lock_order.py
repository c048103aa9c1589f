"""In which order the locks of an execution are taken, by class of lock, as lockdep watches it.

Differs: every execution starts anew, so that its schedule shows the cycle. Where no single execution has both orders,
the search meets the deadlock itself, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import LockOrder
from swaplab.kernel.sync.locks import Lock

__all__ = ["LockOrders"]

LockClass = tuple[str, str, int]
"""Class of the object it is part of, member, and nesting order."""


class _Taken(NamedTuple):
    """A lock that was taken with another held.

    Attributes:
        task: the one that took it.
        lock: which.
        held: the other.
        event: that took it.
    """

    task: Task
    lock: Lock
    held: Lock
    event: int

    @property
    def text(self) -> str:
        """What was done."""
        return f"{self.task.name} takes {self.lock.label} with {self.held.label} held"

    @property
    def rank(self) -> tuple[int, str, int]:
        """Of those of one kind, the least stands for all."""
        return self.task.number, self.text, self.event


def _class(lock: Lock) -> LockClass:
    return ("" if lock.owner is None else type(lock.owner).__name__, lock.name, lock.order)


def _sentence(taken: list[_Taken]) -> str:
    if len(taken) == 1:
        return f"{taken[0].text}: they are of one class, and nothing says which of them comes first"
    return ", and ".join(sorted(each.text for each in taken))


class LockOrders:
    """Orders seen in an execution: by class of a held lock, those taken then, and by which task."""

    def __init__(self) -> None:
        self._after: dict[LockClass, dict[LockClass, list[_Taken]]] = {}

    def take(self, task: Task, lock: Lock) -> None:
        """Note that a task takes a lock with those that it holds."""
        second = _class(lock)
        for held, _ in task.held:
            after = self._after.setdefault(_class(held), {})
            after.setdefault(second, []).append(_Taken(task, lock, held, task.last))

    def cycles(self) -> Iterator[tuple[LockOrder, list[int]]]:
        """Return the ways in which a lock of some class was taken inside itself, with the events that show each."""
        for first in sorted(self._after):
            for second in sorted(self._after[first]):
                path = self._path(second, first)
                # Each cycle is found from all of its classes: the least tells.
                if path is not None and first == min(path):
                    steps = zip([first, *path], path, strict=False)
                    taken = [min(self._after[a][b], key=lambda each: each.rank) for a, b in steps]
                    yield LockOrder(_sentence(taken)), [each.event for each in taken]

    def _path(self, start: LockClass, end: LockClass) -> list[LockClass] | None:
        """Return the shortest way from one class to another, both included; none if there is none."""
        paths = [[start]]
        met = {start}
        for path in paths:
            if path[-1] == end:
                return path
            for following in sorted(self._after.get(path[-1], {}).keys() - met):
                met.add(following)
                paths.append([*path, following])
        return None
