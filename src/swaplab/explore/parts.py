"""What there is in an execution, by the names that events know it by, and what operations touch of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swaplab.explore.event import CALLBACKS, RCU
from swaplab.explore.history import LIFE, Accesses, Variable
from swaplab.explore.task import Task
from swaplab.explore.values import holds_more
from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, LOCK, READ, RELEASE, STRONG, Several
from swaplab.kernel.sync.shared import Key, Part, Shared
from swaplab.kernel.sync.work import WorkQueue

__all__ = ["BARRIER", "CALLED_BACK", "FREED_LATER", "GRACE_PERIOD", "READER", "Parts", "number_of", "parts_of"]

RESERVED = frozenset((RCU, CALLBACKS, (0, LIFE)))
"""Variables that are no part's."""
READER: Accesses = ((RCU, READ | ACQUIRE | LOCK),)
GRACE_PERIOD: Accesses = ((RCU, COMMUTE | RELEASE | STRONG | LOCK),)
FREED_LATER: Accesses = ((RCU, COMMUTE | RELEASE | LOCK),)
CALLED_BACK: Accesses = (*FREED_LATER, (CALLBACKS, COMMUTE | LOCK))
BARRIER: Accesses = ((CALLBACKS, READ | LOCK),)
OUTSIDE = "was made outside setup and tasks, so that it outlives an execution: make it in setup"


class Parts:
    """The parts of the objects of a program.

    Attributes:
        known: those of this execution, by variable.
    """

    def __init__(self) -> None:
        self.known: dict[Variable, Part] = {}
        self._touched: dict[tuple[int, str, int], Accesses] = {}

    def begin(self) -> None:
        """Begin an execution."""
        self.known = {}

    def enter(self, part: Part) -> None:
        """Note a part; insist that it is the only one of its name, since that is how it is known.

        Raises:
            Refused: there is another, or the part cannot be watched.
        """
        owner = part.owner
        if owner is not None and not isinstance(owner, Shared):
            raise Refused(f"part {part.name} is of a {type(owner).__name__}: its owner has to be Shared, or none")
        if holds_more(type(part)):
            raise Refused(
                f"{part.label} is a {type(part).__name__}, which has attributes beside what its operations watch: give"
                " the class `__slots__ = ()`, and keep them in fields of a Shared object"
            )
        variable = (0 if owner is None else owner.__dict__.get("_number", 0), part.name)
        if owner is not None and part.name in owner.fields:
            raise Refused(
                f"{part.label} is a {type(part).__name__}, and by its annotation a field: leave that out, or make it"
                " Final"
            )
        if variable in self.known or variable in RESERVED:
            raise Refused(f"there is a {part.label} already, and parts are known by their names: give it another")
        self.known[variable] = part

    def touch(self, owner: Shared | None, member: str, mode: int) -> Accesses:
        """Return what an operation on a member touches; the same tuple for the same."""
        key = (0 if owner is None else number_of(owner), member, mode)
        accesses = self._touched.get(key)
        if accesses is None:
            if owner is None and key[:2] not in self.known:
                raise Refused(f"{member} {OUTSIDE}")
            accesses = self._touched[key] = (((key[0], member), mode),)
        return accesses

    def touch_moving(self, part: Part, mode: Several | Callable[[Any], int], args: tuple[object, ...]) -> Accesses:
        """Return what an operation touches that depends on when it is done."""
        if not isinstance(mode, Several):
            return self.touch(part.owner, part.name, mode(part))
        found: Accesses = ()
        for each, how in mode.parts(part, *args):
            if how:
                found += self.touch(each.owner, each.name, how)
            elif each.owner is not None:
                found += self.touch(each.owner, LIFE, READ)
        return tuple(dict.fromkeys(found))


def number_of(thing: Shared) -> int:
    """Return the number that events know an object by."""
    try:
        number: int = thing.__dict__["_number"]
    except KeyError:
        raise Refused(f"{thing.label} {OUTSIDE}") from None
    return number


def parts_of(task: Task) -> list[Part]:
    """Return the parts that a task's next operation would touch now."""
    if not task.operands:
        return []
    _, part, *args = task.operands
    if task.moving and isinstance(mode := task.moving[1], Several):
        return [each for each, _ in mode.parts(part, *args)]
    if isinstance(part, WorkQueue):
        return []
    return [part, part.whole] if isinstance(part, Key) else [part]
