"""What runs in an execution: the tasks of the program, and the work that they defer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from greenlet import greenlet

from swaplab.explore.history import Accesses
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import Several
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["CHILDREN_MAX", "NOTHING", "After", "Ready", "Task", "Wait", "origin"]

Ready = Callable[[], bool]
"""Tells whether a task can do its next operation now."""
After = Callable[[], list[int]]
"""Returns the events that its next operation comes after."""

NOTHING: Accesses = ()
CHILDREN_MAX = 1024
"""Of a task. Numbers follow from it, so that a task has the same one in every execution."""


def origin(number: int) -> int:
    """Return the number of the task of the program that a task descends from."""
    while number >= CHILDREN_MAX:
        number = number // CHILDREN_MAX - 1
    return number


class Wait(NamedTuple):
    """What a task waits for.

    Attributes:
        is_grace_period: until all read sections are over that were open when it began to.
        tasks: until these have ended, by number.
    """

    is_grace_period: bool
    tasks: frozenset[int] = frozenset()


class Task:
    """Something that runs: a task of the program, or deferred work.

    Attributes:
        number: the same in every execution.
        name: for texts.
        cpu: name of the task of the program that it descends from.
        done: whether it has ended.
        crashed: whether it has ended with a bug, and so keeps its locks.
        last: its latest event, -1 at first.
        base: bits of the events before its first one, and of those synchronised with it.
        accesses: what the operation that it is about to do touches.
        operands: of an operation on a part: what is called to do it, the part, and arguments.
        result: what its last operation returned.
        wait: what it waits for, or will when it begins; none for a lock, and for a change.
        moving: part, mode and arguments of an operation if what it touches depends on when it is done; none otherwise.
        what, owner, member: the operation, the object that it is done to, and what of that.
        caller: the function that does it.
        fails: whether that fails if it is done now, for one that may; none for others.
        ready: whether it can be done now; none if always.
        lock: which lock it waits for.
        after: events that it comes after because it waits for them.
        opener: for the release of a lock, the event that took it.
        wakers: in a loop that tries again, returns bits of the events that let it; none elsewhere.
        since: the first event that matters to such a loop.
        held: locks, and the events that took them.
        is_callback: whether RCU calls it back, so that it must not sleep.
        atomic: spinlocks and RCU read sections it is in.
        sections: read sections begun so far; a spinlock is one.
        ended: by read section that is over, the latest event then.
        children, made: tasks and objects it has made.
        making: number of the outermost object that it is initialising, 0 for none.
        told: what it returned.
        ends: how often it was told to end, and went on.
    """

    __slots__ = (
        "accesses",
        "after",
        "atomic",
        "base",
        "caller",
        "children",
        "cpu",
        "crashed",
        "done",
        "ended",
        "ends",
        "fails",
        "function",
        "held",
        "is_callback",
        "last",
        "let",
        "lock",
        "made",
        "making",
        "member",
        "moving",
        "name",
        "number",
        "opener",
        "operands",
        "owner",
        "ready",
        "result",
        "sections",
        "since",
        "told",
        "wait",
        "wakers",
        "what",
    )

    def __init__(
        self, number: int, name: str, cpu: str, function: Callable[[], object], base: tuple[int, int] = (0, 0)
    ) -> None:
        self.number, self.name, self.cpu, self.function, self.base = number, name, cpu, function, base
        self.let: greenlet | None = None
        self.done = self.crashed = self.is_callback = False
        self.last = self.opener = -1
        self.accesses: Accesses = NOTHING
        self.moving: tuple[Part, Several | Callable[[Any], int], tuple[object, ...]] | None = None
        self.operands: tuple[Any, ...] = ()
        self.result: object = None
        self.wait: Wait | None = None
        self.what = "start"
        self.owner: Shared | None = None
        self.fails: Callable[[], bool] | None = None
        self.member = self.caller = ""
        self.ready: Ready | None = None
        self.lock: Lock | None = None
        self.after: After | None = None
        self.told: object = None
        self.wakers: Callable[[], int] | None = None
        self.since = self.atomic = self.sections = self.children = self.made = self.making = self.ends = 0
        self.held: list[tuple[Lock, int]] = []
        self.ended: list[int] = []

    @property
    def full_name(self) -> str:
        """What texts call it where its name is not enough: the same in every execution, and no other task's.

        ``CPU0``; ``CPU0/free_work`` for work that CPU0 has deferred, and ``CPU0/free_work.1`` for the next.
        """
        number, path = self.number, list[int]()
        while number >= CHILDREN_MAX:
            path.insert(0, number % CHILDREN_MAX)
            number = number // CHILDREN_MAX - 1
        if not path:
            return self.name
        return f"{self.cpu}/{self.name}{''.join(f'.{each}' for each in path if any(path))}"

    @property
    def can_run(self) -> bool:
        """Whether it has a next operation that can be done now."""
        if self.lock is not None:
            return self.lock._holder is None and not self.done
        return not self.done and (self.ready is None or self.ready())

    @property
    def target(self) -> str:
        """What texts call that to which it is about to do something."""
        if self.owner is None:
            return self.member
        return f"{self.owner.label}.{self.member}" if self.member else self.owner.label
