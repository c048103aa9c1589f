"""Work queues: work runs later, in a task of its own, one after the other where the queue says so.

kernel/workqueue.c, 6.12. A work item waits on one queue at most; while it runs it may be queued again, on the same
queue or on another, and then waits for itself. Differs: on the other, where Linux puts it on the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swaplab.kernel.sync.runtime import READ, current, operation, outside
from swaplab.kernel.sync.shared import Part, Shared

__all__ = [
    "Deferred",
    "Work",
    "WorkQueue",
    "cancel_work",
    "cancel_work_sync",
    "flush_work",
    "flush_workqueue",
    "queue_work",
    "title_of",
]


def title_of(function: Callable[..., object]) -> str:
    """Return the name in texts of the task that runs a function."""
    return getattr(function, "__name__", "work").strip("_")


class Deferred:
    """A call to be made later, once: what RCU calls back.

    Args:
        function: to call.
        args: to call it with.
        is_callback: whether rcu_barrier() waits for it; not for what kfree_rcu() frees.
    """

    __slots__ = ("args", "function", "is_callback")

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...], is_callback: bool) -> None:
        self.function = function
        self.args = args
        self.is_callback = is_callback

    @property
    def title(self) -> str:
        """What texts call who runs it."""
        return title_of(self.function)

    def run(self) -> None:
        """Make the call."""
        self.function(*self.args)


class Work(Part):
    """struct work_struct: a call that can be queued, again and again.

    Args:
        owner: the object it is part of, which must not be freed before it runs; none for a global one.
        name: of the member.
        function: to call.
        args: to call it with.

    Attributes:
        is_pending: whether it is queued and has not begun: WORK_STRUCT_PENDING.
        disabled: how many are waiting in `cancel_work_sync`: as long as there are any, it is not queued.
        token: what the runtime remembers of when it was queued.
    """

    __slots__ = ("_is_pending", "args", "disabled", "function", "token")
    is_pending: bool = outside("_is_pending")

    def __init__(self, owner: Shared | None, name: str, function: Callable[..., object], *args: Any) -> None:
        Part.__init__(self, owner, name)
        self.function = function
        self.args = args
        self._is_pending = False
        self.disabled = 0
        self.token: Any = None

    @operation(READ, "work_pending")
    def pending(self) -> bool:
        """work_pending: whether it is queued and has not begun."""
        return self._is_pending

    @property
    def title(self) -> str:
        """What texts call who runs it."""
        return title_of(self.function)

    @property
    def can_be_queued(self) -> bool:
        """Whether it is neither pending nor disabled."""
        return not self._is_pending and not self.disabled

    def run(self) -> None:
        """Make the call. From here on it can be queued again."""
        self._is_pending = False
        self.function(*self.args)


class WorkQueue(Part):
    """A queue whose work runs one after the other, in the order it came: alloc_ordered_workqueue()."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(None, name)


def queue_work(queue: WorkQueue, work: Work) -> bool:
    """Have work done on a queue; False if it is pending already, on whatever queue. What was done so far it sees."""
    return current.runtime.queue_work(queue, work)


def cancel_work(work: Work) -> bool:
    """Take work off its queue, and return whether it was on one. It may be running."""
    return current.runtime.cancel_work(work, False)


def cancel_work_sync(work: Work) -> bool:
    """The same, and wait for it to end if it is running. No task can queue it meanwhile. May sleep."""
    current.runtime.might_sleep("cancel_work_sync")
    was_pending = current.runtime.cancel_work(work, True)
    current.runtime.flush_work(work)
    current.runtime.enable_work(work)
    return was_pending


def flush_work(work: Work) -> None:
    """Wait until work has run that is pending, or else is running. May sleep."""
    current.runtime.might_sleep("flush_work")
    current.runtime.flush_work(work)


def flush_workqueue(queue: WorkQueue) -> None:
    """Wait until everything has run that is on a queue by now. May sleep."""
    current.runtime.might_sleep("flush_workqueue")
    current.runtime.flush_workqueue(queue)
