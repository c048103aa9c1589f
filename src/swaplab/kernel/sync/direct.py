"""One thread: nothing waits, what is deferred runs when it is asked for, and misuse is still noticed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from swaplab.kernel.sync.bugs import Deadlock, LockMisuse, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import Block, use
from swaplab.kernel.sync.shared import Shared, poison
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["Direct"]

T = TypeVar("T")


def _never(kind: str) -> bool:
    return False


class Direct:
    """Runs everything in the calling thread.

    Args:
        fails: which allocations, compressions and device accesses to fail, by kind; none by default.

    Attributes:
        atomic: spinlocks held, and RCU read sections and callbacks begun.
    """

    step = None

    def __init__(self, fails: Callable[[str], bool] = _never) -> None:
        self.fails = fails
        self.atomic = 0
        self.pending: deque[Work | Deferred] = deque()
        self.acquire, self.release = self.lock_block = self._lock_block()
        self.rcu_block = self._rcu_block()

    def _lock_block(self) -> Block:
        """Functions, not methods, since to call one by the other would take as long as what it does."""

        def acquire(lock: Lock) -> None:
            """Take a lock, which must be free: there is no task to wait for.

            Raises:
                Deadlock: it is held.
                SleepInAtomic: it is a mutex, and the caller must not sleep.
            """
            if lock._holder is not None:
                raise Deadlock(f"{lock.label} is taken again by its holder")
            if lock.sleeps:
                self.might_sleep(lock.label)
            else:
                self.atomic += 1
            lock._holder = self

        def release(lock: Lock, _kind: object = None, _error: object = None, _traceback: object = None) -> None:
            """Give a lock back.

            Raises:
                LockMisuse: it is not held.
            """
            if lock._holder is None:
                raise LockMisuse(f"{lock.label} is unlocked, but not locked")
            lock._holder = None
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
        if lock._holder is not None:
            return False
        lock._holder = self
        self.atomic += not lock.sleeps
        return True

    def synchronize_rcu(self) -> None:
        """There is no reader, where one may sleep."""
        self.might_sleep("synchronize_rcu")

    def call_rcu(self, call: Deferred) -> None:
        """Leave it to `drain`."""
        self.pending.append(call)

    def rcu_barrier(self) -> None:
        """Run everything up to the last callback."""
        self._run_to(lambda each: isinstance(each, Deferred) and each.is_callback)

    def queue_work(self, queue: WorkQueue, work: Work) -> bool:
        """Leave it to `drain`."""
        if not work.can_be_queued:
            return False
        work._is_pending, work.token = True, queue
        self.pending.append(work)
        return True

    def cancel_work(self, work: Work, disable: bool) -> bool:
        """Forget it."""
        was_pending, work._is_pending = work._is_pending, False
        work.disabled += disable
        if was_pending:
            self.pending.remove(work)
        return was_pending

    def enable_work(self, work: Work) -> None:
        """Let it be queued again."""
        work.disabled -= 1

    def flush_work(self, work: Work) -> None:
        """Run everything up to it."""
        self._run_to(lambda each: each is work)

    def flush_workqueue(self, queue: WorkQueue) -> None:
        """Run everything up to the last that is on the queue."""
        self._run_to(lambda each: isinstance(each, Work) and each.token is queue)

    def _run_to(self, is_last: Callable[[Work | Deferred], bool]) -> None:
        last = max((number for number, each in enumerate(self.pending) if is_last(each)), default=-1)
        for _ in range(last + 1):
            if self.pending:  # what runs may have waited for more itself
                self._run_next()

    def _run_next(self) -> None:
        each = self.pending.popleft()
        is_callback = isinstance(each, Deferred)
        self.atomic += is_callback
        try:
            each.run()
        finally:
            self.atomic -= is_callback

    def drain(self) -> None:
        """Run all that was deferred, in the order it came, and what that defers in turn."""
        self.might_sleep("drain")
        while self.pending:
            self._run_next()

    def barrier(self, what: str) -> None:
        """There is one thread."""

    def relax(self) -> None:
        """Let what is deferred go on.

        Raises:
            Deadlock: there is nothing, so that trying again is of no use.
        """
        if not self.pending or self.atomic:
            raise Deadlock("a loop waits for somebody else, and there is nobody")
        self._run_next()

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep.

        Raises:
            SleepInAtomic: a spinlock is held, or an RCU read section or callback was begun.
        """
        if self.atomic:
            raise SleepInAtomic(f"{what} may sleep, but a spinlock is held or an RCU section or callback was begun")

    def peek(self, part: object) -> None:
        """There is no other task."""

    poke = peek

    def free(self, thing: Shared) -> None:
        """Poison it."""
        poison(thing)


use(Direct())
