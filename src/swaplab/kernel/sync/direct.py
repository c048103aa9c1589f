"""One thread: nothing waits, what is deferred runs when it is asked for, and misuse is still noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from swaplab.kernel.sync.bugs import Deadlock, LockMisuse, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import Block, use
from swaplab.kernel.sync.shared import Shared, poison
from swaplab.kernel.sync.work import Work

__all__ = ["Direct"]

T = TypeVar("T")


def _never(kind: str) -> bool:
    return False


class Direct:
    """Runs everything in the calling thread.

    Args:
        fails: which allocations, compressions and device accesses to fail, by kind; none by default.

    Attributes:
        atomic: spinlocks held and RCU read sections begun.
    """

    step = None

    def __init__(self, fails: Callable[[str], bool] = _never) -> None:
        self.fails = fails
        self.atomic = 0
        self.pending: deque[Work] = deque()
        self.acquire, self.release = self.lock_block = self._lock_block()
        self.rcu_block = self._rcu_block()

    def _lock_block(self) -> Block:
        """Functions, not methods, since to call one by the other would take as long as what it does."""

        def acquire(lock: Lock) -> None:
            """Take a lock, which must be free: there is nobody to wait for.

            Raises:
                Deadlock: it is held.
                SleepInAtomic: it is a mutex, and the caller must not sleep.
            """
            if lock.holder is not None:
                raise Deadlock(f"{lock.label} is taken again by its holder")
            if lock.sleeps:
                self.might_sleep(lock.label)
            else:
                self.atomic += 1
            lock.holder = self

        def release(lock: Lock, _kind: object = None, _error: object = None, _traceback: object = None) -> None:
            """Give a lock back.

            Raises:
                LockMisuse: it is not held.
            """
            if lock.holder is None:
                raise LockMisuse(f"{lock.label} is released, but not held")
            lock.holder = None
            if not lock.sleeps:
                self.atomic -= 1

        return acquire, release

    def _rcu_block(self) -> Block:
        def begin(_section: object) -> None:
            self.atomic += 1

        def end(_section: object, _kind: object, _error: object, _traceback: object) -> None:
            self.atomic -= 1

        return begin, end

    def try_acquire(self, lock: Lock) -> bool:
        """Take a lock if it is free."""
        if lock.holder is not None:
            return False
        lock.holder = self
        self.atomic += not lock.sleeps
        return True

    def synchronize_rcu(self) -> None:
        """Nobody reads, where one may sleep."""
        self.might_sleep("synchronize_rcu")

    def call_rcu(self, work: Work) -> None:
        """Leave it to `drain`."""
        self.pending.append(work)

    def queue_work(self, work: Work) -> None:
        """Leave it to `drain`."""
        self.pending.append(work)

    def flush_work(self, work: Work) -> None:
        """Run everything up to it."""
        self.might_sleep("flush_work")
        while not work.done and self.pending:
            self.pending.popleft().run()

    def drain(self) -> None:
        """Run all that was deferred, in the order it came, and what that defers in turn."""
        self.might_sleep("drain")
        while self.pending:
            self.pending.popleft().run()

    def relax(self) -> None:
        """Let what is deferred go on.

        Raises:
            Deadlock: there is nothing, so that trying again is of no use.
        """
        if not self.pending or self.atomic:
            raise Deadlock("a loop waits for somebody else, and there is nobody")
        self.pending.popleft().run()

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep.

        Raises:
            SleepInAtomic: a spinlock is held, or an RCU read section was begun.
        """
        if self.atomic:
            raise SleepInAtomic(f"{what} may sleep, but a spinlock is held or an RCU section was begun")

    def free(self, thing: Shared) -> None:
        """Poison it."""
        poison(thing)


use(Direct())
