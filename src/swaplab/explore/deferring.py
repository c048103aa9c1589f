"""What is left for later: grace periods, what RCU calls back, work, and attempts to try again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from swaplab.explore.event import CALLBACKS, WATCH
from swaplab.explore.locks import Locks
from swaplab.explore.objects import insist_alive
from swaplab.explore.parts import BARRIER, CALLED_BACK, FREED_LATER, GRACE_PERIOD
from swaplab.explore.task import After, Ready, Task, Wait
from swaplab.kernel.sync.runtime import ACQUIRE, FULL, LOCK, READ, RMW, WRITE
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["Deferring"]

QUEUED = WRITE | RMW | LOCK
"""To queue on one queue depends on the order, but orders nothing besides the work."""


class Deferring(Locks):
    """Runs what is deferred in tasks of its own."""

    def _reset(self, prefix: int) -> None:
        super()._reset(prefix)
        self._deferred: deque[Work | Deferred] = deque()
        self._queued: dict[WorkQueue, list[Task]] = {}
        self._callbacks: list[Task] = []

    def _run_deferred(self) -> None:
        while self._deferred:
            self._deferred.popleft().run()

    def deferred_to(self, member: str) -> frozenset[int]:
        """Return numbers of the tasks that were made for a queue, or for RCU to call back, by the name of that."""
        queued = (tasks for queue, tasks in self._queued.items() if queue.name == member)
        tasks = self._callbacks if member == CALLBACKS[1] else next(queued, [])
        return frozenset([task.number for task in tasks])

    # RCU

    def _grace_period(self) -> tuple[Ready, After, Wait]:
        """Return whether all sections that have begun by now are over, and the events then before it."""
        waited = [(task, task.sections) for task in self.tasks.values() if task.sections]
        return (
            lambda: all(len(task.ended) >= sections for task, sections in waited),
            lambda: [task.ended[sections - 1] for task, sections in waited],
            Wait(is_grace_period=True),
        )

    def synchronize_rcu(self) -> None:
        """Wait for a grace period."""
        self.might_sleep("synchronize_rcu")
        task = self.task
        if task:
            task.accesses = GRACE_PERIOD
            self._point(task, "synchronize_rcu", None, "")
            self._wait(task, "the end of a grace period", *self._grace_period())

    def call_rcu(self, call: Deferred) -> None:
        """Make a call after a grace period."""
        task = self.task
        if task is None:
            self._refuse_change(f"defers {call.title}")
            self._deferred.append(call)
            return
        self._settle(task)
        self._insist_given(task, call.title, call.function, *call.args)
        task.accesses = CALLED_BACK if call.is_callback else FREED_LATER
        self._point(task, f"call_rcu({call.title})", None, "")
        child = self._spawn(task, call.title, call.run)
        child.is_callback = True
        child.ready, child.after, child.wait = self._grace_period()
        if call.is_callback:
            self._callbacks.append(child)

    def rcu_barrier(self) -> None:
        """Wait until callbacks have run."""
        if self.task is None:
            self._run_deferred()
            return
        self.task.accesses = BARRIER
        self._point(self.task, "rcu_barrier", None, "")
        self._wait(self.task, "the callbacks of RCU", *_ends(self._callbacks))

    # Work

    def queue_work(self, queue: WorkQueue, work: Work) -> bool:
        """Have work done on a queue, after what was queued there before."""
        task = self.task
        self._refuse_change(f"queues {work.label}")
        if task:
            self._settle(task)
            self._insist_given(task, work.title, work.function, *work.args)
            task.accesses = self.parts.touch(work.owner, work.name, FULL) + self.parts.touch(None, queue.name, QUEUED)
            task.operands = (None, work)
            self._point(task, f"queue_work({work.title})", work.owner, work.name)
            insist_alive(work)
            task.result = work.can_be_queued
        if not work.can_be_queued:
            return False
        work._is_pending = True
        if task is None:
            self._deferred.append(work)
            return True
        before = self._queued.setdefault(queue, [])
        child = self._spawn(task, work.title, lambda: self._run_work(work, child))
        # It begins by not being pending any more, which depends on tasks that queue it again or cancel it.
        child.accesses, child.operands = self.parts.touch(work.owner, work.name, FULL), (None, work)
        # Not beside itself, either: kernel/workqueue.c:__queue_work has it go where it still runs.
        child.ready, child.after, child.wait = _ends([*before, *(work.token or ())])
        before.append(child)
        work.token = (*(work.token or ()), child)
        return True

    def _run_work(self, work: Work, task: Task) -> None:
        task.result = task in work.token
        if task.result:
            insist_alive(work)
            work.run()

    def cancel_work(self, work: Work, disable: bool) -> bool:
        """Let pending work not run.

        The task that would run it still begins, and finds nothing to do: so that it is seen to do so before, too.
        """
        self._change(work, "cancel_work_sync" if disable else "cancel_work", FULL)
        work.disabled += disable
        was_pending, work._is_pending = work._is_pending, False
        if self.task:
            self.task.result = was_pending
        if was_pending and self.task is None:
            self._deferred.remove(work)
        elif was_pending:
            work.token = work.token[:-1]
        return was_pending

    def enable_work(self, work: Work) -> None:
        """Let it be queued again."""
        self._change(work, "enable_work", FULL)
        work.disabled -= 1

    def flush_work(self, work: Work) -> None:
        """Wait until work is done."""
        self._change(work, "flush_work", READ | ACQUIRE | LOCK)
        if self.task is None:
            self._run_deferred()
        else:
            self._wait(self.task, f"{work.title} to end", *_ends((work.token or ())[-1:]))

    def flush_workqueue(self, queue: WorkQueue) -> None:
        """Wait until all work on a queue is done."""
        self._change(queue, "flush_workqueue", READ | ACQUIRE | LOCK)
        if self.task is None:
            self._run_deferred()
        else:
            self._wait(self.task, f"the work on {queue.name} to end", *_ends(self._queued.get(queue, [])))

    # Attempts

    def relax(self) -> None:
        """Wait until something has changed that the task has read since its last attempt began.

        To go on it looks at all of that, so it depends on all tasks that change it: each change is tried as the first.
        """
        task = self.task
        if task is None:
            self._run_deferred()
            return

        def wakers() -> int:
            return self.history.changes(task.number, touched, self.depth)

        touched = self.history.touched(task.number, task.since, self.depth)
        task.accesses = tuple((variable, READ | WATCH) for variable in sorted(touched))
        task.wakers, task.ready = wakers, lambda: wakers() != 0
        self._point(task, "cpu_relax", None, "")
        task.wakers = task.ready = None
        task.since = task.last + 1


def _ends(tasks: Sequence[Task]) -> tuple[Ready, After, Wait]:
    """Return whether tasks that there are by now have ended, and their last events."""
    waited = list(tasks)
    return (
        lambda: all(task.done for task in waited),
        lambda: [task.last for task in waited if task.last >= 0],
        Wait(False, frozenset([task.number for task in waited])),
    )
