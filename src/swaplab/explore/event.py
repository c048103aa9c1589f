"""The steps of an execution, and what they touch."""

from __future__ import annotations

from dataclasses import dataclass

from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE
from swaplab.kernel.sync.shared import Shared

__all__ = ["CALLBACKS", "FREE", "KIND", "LIFE", "RCU", "WATCH", "Accesses", "Event", "Variable"]

Variable = tuple[int, str]
"""Object number and member; an object's own life is the member without a name."""
Accesses = tuple[tuple[Variable, int], ...]
LIFE = ""
RCU: Variable = 0, "rcu"
"""What beginnings of read sections and of grace periods touch."""
CALLBACKS: Variable = 0, "rcu callbacks"
"""What leaving something to RCU touches, and waiting for it."""
KIND = READ | WRITE | COMMUTE
WATCH = 1 << 17
"""Waits for a change of what was read before: a read that is no access of its own, so that it races with nothing."""
FREE = 1 << 16
"""Ends the life of an object: a write to it, on which whatever is done to any of its members depends."""


@dataclass(slots=True, eq=False)
class Event:
    """One step of an execution.

    Attributes:
        task: index of the task that made it.
        previous: its event before, -1 if there is none.
        accesses: what it touched, and how.
        opener: for the release of a lock, the event that took it; -1 for others.
        waits: whether it takes a lock, and could not while another task held it.
        moves: whether how it touches something depends on the state,
        roams: or even what it touches.
        before: bits of the events it depends on, as far as they are of the same task or it waited for them.
        what, owner, member: the operation, the number of the object it is done to, 0 for none, and what of that.
        name: of the task.
        thing: the object it is done to.
        function: that does it.
        fails: whether it is a conditional operation that fails.
        points: numbers of the objects that it reads pointers to.
        wakers: for one that waits for a change, bits of the changes, one of which has to come before it.
        races: earlier events that this one could be swapped with.
    """

    task: int
    previous: int
    accesses: Accesses
    opener: int
    waits: bool
    moves: bool
    roams: bool
    before: int
    what: str
    owner: int
    member: str
    name: str
    thing: Shared | None = None
    function: str = ""
    fails: bool = False
    points: tuple[int, ...] = ()
    wakers: int = 0
    races: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """Its name in texts: the task, the operation and the variable."""
        return f"{self.name}: {self.what} {self.target}".rstrip()

    @property
    def target(self) -> str:
        """How texts call what it is done to."""
        if self.thing is None:
            return self.member
        return f"{self.thing.label}.{self.member}" if self.member else self.thing.label
