"""What a kernel would report of itself: the bugs that the runtimes notice while they run a system.

A runner of a system may have them noted as they are made (`noted_in`): a task that catches one does not undo it.

```
Refused                 a program does what nobody could watch
KernelBug
├── UseAfterFree        an object is used that was freed
├── DoubleFree          and one is freed again
├── NullDereference     something is read or called through a pointer that is null
├── ListCorruption      a list entry is added twice, or removed from no list
├── LockMisuse          a lock is released that is not held, or taken again by its holder
├── SleepInAtomic       what may sleep is called under a spinlock or inside an RCU section
├── Deadlock            nothing can run, and something is waiting
├── StuckInRetry        the same, and what waits retries for ever
├── LockOrder           two locks are taken in both orders
├── DataRace            two unordered accesses to a plain field, one of them a write
├── Leak                an object that nobody can reach any more was not freed
├── Warning             a WARN_ON of the kernel
└── Broken              an invariant of the scenario
```
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "Broken",
    "DataRace",
    "Deadlock",
    "DoubleFree",
    "KernelBug",
    "KernelWarning",
    "Leak",
    "ListCorruption",
    "LockMisuse",
    "LockOrder",
    "Noted",
    "NullDereference",
    "Refused",
    "SleepInAtomic",
    "StuckInRetry",
    "UseAfterFree",
    "noted_in",
]

_notes: list[list[Any]] = []


class Noted(Exception):  # noqa: N818
    """An error that stays noted even if it is caught; its text is one sentence with the names of the objects."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(sentence)
        if _notes:
            _notes[-1].append(self)


@contextmanager
def noted_in(notes: list[Any]) -> Iterator[None]:
    """Have every `Noted` appended to a list as it is made, inside the block."""
    _notes.append(notes)
    try:
        yield
    finally:
        _notes.pop()


class Refused(Noted):
    """A program does something that cannot be watched: its text says what, and what to do instead."""


class KernelBug(Noted):
    """A bug of the system that runs, not of what runs it."""

    title = "bug"


class UseAfterFree(KernelBug):
    """An object was used after it was freed."""

    title = "use after free"


class DoubleFree(KernelBug):
    """An object was freed twice."""

    title = "double free"


class NullDereference(KernelBug):
    """A member was accessed through a null pointer, which is what None is here."""

    title = "null dereference"


class ListCorruption(KernelBug):
    """A list entry was added while on a list, or two tasks changed a list at once."""

    title = "list corruption"


class LockMisuse(KernelBug):
    """A lock was released by a task that does not hold it, or taken again by its holder."""

    title = "lock misuse"


class SleepInAtomic(KernelBug):
    """Something that may sleep was called where nothing may."""

    title = "sleeping in atomic context"


class Deadlock(KernelBug):
    """Tasks wait for each other."""

    title = "deadlock"


class StuckInRetry(KernelBug):
    """A task repeats itself, waiting for something that no task will do."""

    title = "stuck in a retry loop"


class LockOrder(KernelBug):
    """Two locks are taken in both orders, so that a deadlock is only a matter of time."""

    title = "lock-order cycle"


class DataRace(KernelBug):
    """Two unordered accesses to one plain field, as KCSAN would report them."""

    title = "data race"


class Leak(KernelBug):
    """An object that was allocated is neither freed nor reachable."""

    title = "leak"


class KernelWarning(KernelBug):
    """A WARN_ON."""

    title = "warning"


class Broken(KernelBug):
    """An invariant does not hold."""

    title = "invariant broken"
