"""Spinlocks and mutexes. Take them with ``with``, or by hand where a path drops a lock and takes it again."""

from __future__ import annotations

from swaplab.kernel.sync.runtime import block, current, outside
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Lock", "Mutex", "SpinLock"]


@block("lock_block")
class Lock(Part):
    """A lock, held by no task or by one.

    Args:
        owner: the object it is part of; none for a global lock.
        name: of the member.
        order: of locks of one class that may be held together: lower first, as lockdep's subclasses.

    Attributes:
        holder: of the type that the runtime has for tasks.
        sleeps: whether waiting for it may sleep, and its holder too.
    """

    __slots__ = ("_holder", "order")
    sleeps = False
    holder = outside("_holder")

    def __init__(self, owner: Shared | None, name: str, order: int = 0) -> None:
        Part.__init__(self, owner, name)
        self.order = order
        self._holder: object = None

    def acquire(self) -> None:
        """Wait for it and take it."""
        current.runtime.acquire(self)

    def try_acquire(self) -> bool:
        """Take it if it is free, and tell whether."""
        return current.runtime.try_acquire(self)

    def release(self) -> None:
        """Give it back."""
        current.runtime.release(self)

    def __enter__(self) -> None:
        """`acquire`."""

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """`release`, unless the runner of the system lets an exception end the holder."""


class SpinLock(Lock):
    """spinlock_t: its holder must not sleep. It is an RCU reader too: RCU waits for tasks that cannot be preempted."""

    __slots__ = ()


class Mutex(Lock):
    """struct mutex: taken where one may sleep only. Also what a locked folio is."""

    __slots__ = ()
    sleeps = True
