"""What it means that no task can go on."""

from __future__ import annotations

from collections.abc import Iterable

from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import Deadlock, KernelBug, StuckInRetry

__all__ = ["stuck"]


def stuck(tasks: Iterable[Task]) -> KernelBug | None:
    """Return why tasks do not go on of which none can; None if that is as it has to be."""
    tasks = list(tasks)
    waiting = sorted((task for task in tasks if not task.done), key=lambda task: task.number)
    if any(task.crashed for task in tasks):
        # A task that waits for one that is gone is not stuck for a reason of its own.
        waiting = [task for task in waiting if _waits_for_itself(task)]
    elif retrying := [task.name for task in waiting if task.wakers]:
        tries, it = ("tries", "it waits") if len(retrying) == 1 else ("try", "they wait")
        names = " and ".join(retrying)
        return StuckInRetry(f"{names} {tries} again for ever: nobody is left to change what {it} for")
    return Deadlock("; ".join(_waits(task) for task in waiting)) if waiting else None


def _waits_for_itself(task: Task) -> bool:
    met: set[object] = set()
    each: object = task
    while isinstance(each, Task) and each not in met:
        met.add(each)
        each = each.lock._holder if each.lock and not each.done else None
    return each is task


def _waits(task: Task) -> str:
    if task.lock is None:
        return f"{task.name} waits for {task.what}"
    holder = task.lock._holder
    return f"{task.name} waits for {task.lock.label}, held by {holder.name if isinstance(holder, Task) else holder}"
