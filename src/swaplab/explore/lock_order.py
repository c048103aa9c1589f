"""In which order the locks of an execution are taken, by class of lock, as lockdep watches it.

Differs: every execution starts anew, so that its schedule shows the cycle. Where no single execution has both orders,
the search meets the deadlock itself, if there is one.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import LockOrder
from swaplab.kernel.sync.locks import Lock

__all__ = ["LockOrders"]

LockClass = tuple[str, str, int]
"""Class of the object it is part of, member, and nesting order."""


def _class(lock: Lock) -> LockClass:
    return (type(lock.owner).__name__ if lock.owner else "", lock.name, lock.order)


class _Nesting(NamedTuple):
    """Somebody took a lock with another held."""

    task: str
    held: str
    lock: str

    def __str__(self) -> str:
        return f"{self.task} takes {self.lock} with {self.held} held"


class LockOrders:
    """Orders seen so far in an execution: by class of a lock that was held, those taken then, and who did it first."""

    def __init__(self) -> None:
        self._after: dict[LockClass, dict[LockClass, _Nesting]] = {}

    def take(self, task: Task, lock: Lock) -> None:
        """Note that a task takes a lock with those that it holds.

        Raises:
            LockOrder: another order was seen before, or nothing says which order is right.
        """
        second = _class(lock)
        for held, _ in task.held:
            first = _class(held)
            after = self._after.setdefault(first, {})
            if second in after:
                continue
            nesting = _Nesting(task.name, held.label, lock.label)
            if first == second:
                raise LockOrder(f"{nesting}: they are of one class, and nothing says which of them comes first")
            if others := self._way(second, first):
                raise LockOrder(", and ".join(str(each) for each in sorted([nesting, *others])))
            after[second] = nesting

    def _way(self, start: LockClass, wanted: LockClass) -> list[_Nesting]:
        """Return the nestings that lead from one class to another, the shortest way; none if there is no way."""
        ways: dict[LockClass, list[_Nesting]] = {start: []}
        reached = deque([start])
        while reached and wanted not in ways:
            first = reached.popleft()
            for second, nesting in self._after.get(first, {}).items():
                if second not in ways:
                    ways[second] = [*ways[first], nesting]
                    reached.append(second)
        return ways.get(wanted, [])
