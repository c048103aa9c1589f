"""Locks and RCU read sections: what a task holds, and where it must not sleep."""

from __future__ import annotations

from typing import Any

from greenlet import GreenletExit

from swaplab.explore.lock_order import LockOrders
from swaplab.explore.objects import Objects, insist_alive
from swaplab.explore.parts import READER
from swaplab.explore.program import Program
from swaplab.explore.scheduler import Strategy
from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import KernelBug, LockMisuse, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import ACQUIRE, FULL, LOCK, RELEASE, RMW, WRITE, Block

__all__ = ["Locks"]

TAKE = WRITE | RMW | ACQUIRE | LOCK
GIVE = WRITE | RELEASE | LOCK


class Locks(Objects):
    """Locks, and read sections.

    Attributes:
        lock_block: what ``with`` does on a lock.
        rcu_block: and on `rcu`.
        lock_orders: in which the locks of this execution were taken.
    """

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self.lock_block, self.rcu_block = self._blocks()
        super().__init__(program, strategy)

    def _reset(self, prefix: int) -> None:
        super()._reset(prefix)
        self.lock_orders = LockOrders()

    def _blocks(self) -> tuple[Block, Block]:
        """What ``with`` does. A task that crashes keeps its locks, and stays in its read sections.

        Whether somebody catches an exception further out is not known yet. So what it leaves is given back when the
        task goes on.
        """

        def leave_lock(lock: Lock, kind: type[BaseException] | None, *_error: object) -> None:
            if kind is None or not self.task:
                self.release(lock)
            elif not issubclass(kind, KernelBug | GreenletExit):
                self._notes.append(lambda: self.release(lock))

        def leave_rcu(_section: object, kind: type[BaseException] | None, *_error: object) -> None:
            if kind is None:
                self.rcu_read_unlock()
            elif not issubclass(kind, KernelBug | GreenletExit):
                self._notes.append(self.rcu_read_unlock)

        return (lambda lock: self.acquire(lock), leave_lock), (lambda _: self.rcu_read_lock(), leave_rcu)  # noqa: PLW0108

    def acquire(self, lock: Lock) -> None:
        """Take a lock."""
        task = self.task
        if task is None:
            self._refuse_change(f"takes {lock.label}")
            lock._holder = self
            return
        if lock.sleeps:
            self.might_sleep(lock.label)
        what = "mutex_lock" if lock.sleeps else "spin_lock"
        if not self._again(task, what, lock.owner, lock.name):
            self._announce(task, lock)
            task.lock = lock
            self._point(task, what, lock.owner, lock.name)
            task.lock = None
        insist_alive(lock)
        self.lock_orders.take(task, lock)
        self._hold(task, lock)

    def try_acquire(self, lock: Lock) -> bool:
        """Take a lock if it is free."""
        task = self.task
        if task is None:
            self._refuse_change(f"takes {lock.label}")
            lock._holder = lock._holder or self
            return lock._holder is self
        self._settle(task)
        self._announce(task, lock)
        task.fails = lambda: lock._holder is not None
        self._point(task, "mutex_trylock" if lock.sleeps else "spin_trylock", lock.owner, lock.name)
        task.fails = None
        insist_alive(lock)
        if lock._holder is not None:
            return False
        self._hold(task, lock)
        task.result = True
        return True

    def _announce(self, task: Task, lock: Lock) -> None:
        task.operands = (None, lock)
        task.accesses = self.parts.touch(lock.owner, lock.name, TAKE)
        if not lock.sleeps and not task.atomic:
            task.accesses += READER

    def _hold(self, task: Task, lock: Lock) -> None:
        lock._holder = task
        task.held.append((lock, task.last))
        if not lock.sleeps:
            self._enter_section(task)

    def release(self, lock: Lock) -> None:
        """Give a lock back."""
        task = self.task
        if task is None:
            self._refuse_change(f"releases {lock.label}")
            lock._holder = None
            return
        self._settle(task)
        what = "mutex_unlock" if lock.sleeps else "spin_unlock"
        if lock._holder is not task:
            self._change(lock, what, FULL)
            raise LockMisuse(f"{task.name} unlocks {lock.label}, which {self._held_by(lock)}")
        held = task.held[-1]
        if held[0] is not lock:
            held = next(each for each in task.held if each[0] is lock)
        if not self._again(task, what, lock.owner, lock.name):
            task.accesses, task.opener = self.parts.touch(lock.owner, lock.name, GIVE), held[1]
            task.operands = (None, lock)
            self._point(task, what, lock.owner, lock.name)
            task.opener = -1
        insist_alive(lock)
        lock._holder = None
        task.held.remove(held)
        if not lock.sleeps:
            self._leave_section(task)

    @staticmethod
    def _held_by(lock: Lock) -> str:
        if lock._holder is None:
            return "is not locked"
        return f"{lock._holder.name} holds" if isinstance(lock._holder, Task) else "was locked in setup"

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep."""
        task = self.task
        if task is None:
            return
        self._settle(task)
        if task.atomic:
            held = [lock.label for lock, _ in task.held if not lock.sleeps]
            raise SleepInAtomic(f"{task.name} may sleep in {what} inside {', '.join(held) or 'an RCU read section'}")
        if task.is_callback:
            raise SleepInAtomic(f"{task.name} may sleep in {what}, but RCU calls it back where nothing may")

    # Read sections

    @staticmethod
    def _enter_section(task: Task) -> None:
        task.sections += not task.atomic
        task.atomic += 1

    @staticmethod
    def _leave_section(task: Task) -> None:
        task.atomic -= 1
        if not task.atomic:
            task.ended.append(task.last)

    def rcu_read_lock(self) -> None:
        """Begin a read section."""
        task = self.task
        if task:
            self._settle(task)
            if not task.atomic:
                task.accesses = READER
                self._point(task, "rcu_read_lock", None, "")
            self._enter_section(task)

    def rcu_read_unlock(self) -> None:
        """End it. No operation: it orders nothing but what waits for it, which cannot see how long it takes."""
        if self.task:
            self._settle(self.task)
            self._leave_section(self.task)
