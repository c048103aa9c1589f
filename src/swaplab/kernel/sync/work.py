"""Work queues: work runs later, in a task of its own, one after the other where the queue says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from swaplab.kernel.sync.runtime import current
from swaplab.kernel.sync.shared import Part

__all__ = ["Work", "WorkQueue", "queue_work"]


class Work:
    """A call to be made later.

    Args:
        function: to call.
        args: to call it with.

    Attributes:
        queue: where it waits; none for what RCU calls back.
        done: whether it has run.
    """

    __slots__ = ("args", "done", "function", "queue", "token")

    def __init__(self, function: Callable[..., object], *args: Any) -> None:
        self.function = function
        self.args = args
        self.queue: WorkQueue | None = None
        self.done = False
        self.token: object = None

    @property
    def name(self) -> str:
        """How texts call it."""
        return getattr(self.function, "__name__", "work").strip("_")

    def run(self) -> None:
        """Make the call."""
        self.function(*self.args)
        self.done = True


class WorkQueue(Part):
    """A queue whose work runs one after the other, in the order it came: alloc_workqueue() with max_active 1."""

    __slots__ = ("waiting",)

    def __init__(self, name: str) -> None:
        super().__init__(None, name)
        self.waiting: deque[Work] = deque()


def queue_work(queue: WorkQueue, function: Callable[..., object], *args: Any) -> Work:
    """Have a function called on a queue; return what `flush` waits for."""
    work = Work(function, *args)
    work.queue = queue
    current.runtime.queue_work(work)
    return work


def flush(work: Work) -> None:
    """Wait until work has run. May sleep."""
    current.runtime.flush_work(work)
