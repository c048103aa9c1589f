"""In which order the locks of an execution are taken, by class of lock, as lockdep watches it.

Differs: every execution starts anew, so that its schedule shows the cycle. Where no single execution has both orders,
the search meets the deadlock itself, if there is one.
"""

from __future__ import annotations

from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import LockOrder
from swaplab.kernel.sync.locks import Lock

__all__ = ["LockOrders"]

LockClass = tuple[str, str, int]
"""Class of the object it is part of, member, and nesting order."""


def _class(lock: Lock) -> LockClass:
    return (type(lock.owner).__name__ if lock.owner else "", lock.name, lock.order)


class LockOrders:
    """Orders seen so far in an execution."""

    def __init__(self) -> None:
        self._after: dict[LockClass, set[LockClass]] = {}

    def take(self, task: Task, lock: Lock) -> None:
        """Note that a task takes a lock with those that it holds.

        Raises:
            LockOrder: another order was seen before.
        """
        second = _class(lock)
        for held, _ in task.held:
            first = _class(held)
            after = self._after.setdefault(first, set())
            if second in after:
                continue
            if first == second or self._is_after(first, second):
                raise LockOrder(
                    f"{task.name} takes {lock.label} with {held.label} held, and elsewhere the other way round"
                )
            after.add(second)

    def _is_after(self, wanted: LockClass, start: LockClass) -> bool:
        reached, found = [start], {start}
        while reached:
            new = self._after.get(reached.pop(), set()) - found
            found |= new
            reached += new
        return wanted in found
