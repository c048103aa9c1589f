"""Shared objects, as the explorer sees them: made, read, written, operated on and freed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from swaplab.explore.again import AGAIN, is_same
from swaplab.explore.history import FREE, LIFE
from swaplab.explore.ordering import OBJECT_SHIFT
from swaplab.explore.parts import number_of
from swaplab.explore.program import Program
from swaplab.explore.scheduler import Scheduler, Strategy
from swaplab.explore.task import NOTHING, Task
from swaplab.explore.values import NEVER_CHANGES, insist_constant, is_bare, is_fine, told
from swaplab.kernel.sync.bugs import DoubleFree, Refused, UseAfterFree
from swaplab.kernel.sync.runtime import COMMUTE, FULL, PLAIN, READ, WRITE, Conditional, Mode, Several
from swaplab.kernel.sync.shared import Key, Made, Part, Shared

__all__ = ["Objects", "insist_alive", "insist_held"]

INSIDE = ("swaplab.explore.", "swaplab.kernel.sync.")
"""Where the functions are that a task's own, and the system's, call to do something."""

T = TypeVar("T")


class Objects(Scheduler):
    """Watches the objects of a program.

    Attributes:
        objects: all that were made in this execution, those of setup first.
        making: number of the outermost object that is being initialised while the system is set up, 0 for none.
        is_inside: whether the program is running: its setup, a task or an invariant.
        is_checking: whether invariants look, so that nothing may change.
    """

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self._told: list[object] = []
        super().__init__(program, strategy)

    def _reset(self, prefix: int) -> None:
        super()._reset(prefix)
        del self._told[prefix:]
        self._doing = "setup"
        self.is_inside = self.is_checking = False
        self.making = 0
        self._tallies: dict[tuple[str, type[Shared]], list[int]] = {}
        self.objects: list[Shared] = []

    # Making

    def make(self, kind: type[Shared], args: tuple[Any, ...], names: dict[str, Any]) -> Shared:
        """Make an object."""
        thing = kind.__new__(kind)
        self.objects.append(thing)
        if self.task:
            self.task.made += 1
            number = (self.task.number + 1 << OBJECT_SHIFT) + self.task.made
            thing.__dict__["_number"] = number
            self.history.ordering.births[number] = (self.task.number, self.task.last)
            maker = self.task.full_name
        else:
            thing.__dict__["_number"] = len(self.objects)
            maker = ""
        tally = self._tallies.setdefault((maker, kind), [0])
        tally[0] += 1
        made: Made = (tally, tally[0], maker)
        thing.__dict__.update(kind.defaults)
        self._initialise(thing, args, names)
        if self.task:
            insist_held(thing)
        thing.__dict__["_made"] = made
        return thing

    def _initialise(self, thing: Shared, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call ``__init__``; what is made meanwhile is embedded in the object."""
        maker = self.task or self
        whole, number = maker.making, thing.__dict__["_number"]
        if whole:
            self.history.ordering.wholes[number] = whole
        maker.making = whole or number
        try:
            type(thing).__init__(thing, *args, **kwargs)
        finally:
            maker.making = whole

    def _is_made(self, thing: Shared, task: Task) -> bool:
        """Tell whether an object's ``__init__`` has ended; until then its maker's accesses are private."""
        if number_of(thing) >> OBJECT_SHIFT == task.number + 1:
            return False
        raise Refused(
            f"{task.name} uses {thing.label} before its __init__ has ended: let it be found only when it is made"
        )

    def define(self, kind: type[Shared]) -> None:
        """Refuse a class, and what is set on one, while the program runs."""
        if self.is_inside:
            raise Refused(
                f"class {kind.__name__} is defined or changed while the program runs, so that it outlives an execution:"
                " define classes beside the tasks, and keep what changes in fields of objects"
            )

    def enter(self, part: Part) -> None:
        """Note a part that is made."""
        self.parts.enter(part)

    # What may not be

    def _refuse_change(self, what: str) -> None:
        """Refuse it to invariants to do anything but look."""
        if self.is_checking:
            raise Refused(f"{self._doing} {what}, and those after it would see that: an invariant only looks")

    def change(self, thing: Shared, name: str) -> None:
        """Refuse to change what is no field, once the object is made."""
        task = self.task
        if "_made" in thing.__dict__:
            self._refuse_change(f"sets or deletes {thing.label}.{name}")
        if task is None or ("_made" not in thing.__dict__ and not self._is_made(thing, task)):
            return
        raise Refused(
            f"{task.name} sets or deletes {thing.label}.{name}, which is no field that can be watched: annotate it in"
            f" class {type(thing).__name__} (`{name}: int`), or have the task return what it saw"
        )

    def _insist_given(self, task: Task, holder: Part | str, *values: object) -> None:
        """Insist that a task gives nothing to others that could change unseen."""
        for value in values:
            if type(value) in NEVER_CHANGES or is_bare(value):
                continue
            if not is_fine(value):
                _insist_published(task, holder if isinstance(holder, str) else holder.label, value)
            if not isinstance(value, Shared | Part):
                self.outside.give(value)

    # Accesses

    def read(self, thing: Shared, name: str, mode: int) -> Any:
        """Read a field."""
        is_step = self._access(thing, name, mode, "read")
        try:
            value = thing.__dict__[name]
        except KeyError:
            raise AttributeError(f"{thing.label} has no {name} yet") from None
        if is_step:
            self._tell(self.task, "read", (thing, name), value)
        return value

    def write(self, thing: Shared, name: str, mode: int, value: Any) -> None:
        """Write a field."""
        if self.is_checking and "_made" in thing.__dict__:
            self._refuse_change(f"writes {thing.label}.{name}")
        if self.task and type(value) not in NEVER_CHANGES and "_made" in thing.__dict__:
            self._insist_given(self.task, f"{thing.label}.{name}", value)
        if self._access(thing, name, mode, "write"):
            self._tell(self.task, "write", (thing, name), value)
        thing.__dict__[name] = value

    def look(self, thing: Shared) -> None:
        """Look whether an object is alive."""
        self._access(thing, LIFE, READ, "read")

    def _access(self, thing: Shared, name: str, mode: int, what: str) -> bool:
        """Take a step that touches a field; return whether it was one, and not part of setup or of the making."""
        task = self.task
        if task is None or ("_made" not in thing.__dict__ and not self._is_made(thing, task)):
            return False
        if not self._again(task, what, thing, name):
            task.accesses = self.parts.touch(thing, name, mode)
            task.caller = _caller()
            self._point(task, what, thing, name)
            if mode & READ and (things := _pointed(thing.__dict__.get(name))):
                self.history.ordering.points(task.last, things)
        if "_freed" in thing.__dict__:
            raise UseAfterFree(f"{thing.label}{'.' * bool(name)}{name} is used after it was freed")
        return True

    def _tell(self, task: Task | None, what: str, target: Part | tuple[Shared, str], value: object) -> None:
        """Compare what a task is told, or stores, with what it was when the same was done before."""
        if task is None:
            return
        number, now = task.last, value if type(value) in NEVER_CHANGES else told(value)
        if number >= self.prefix:
            self._told.extend([None] * (number - len(self._told)))
            self._told.append(now)
            return
        before = self._told[number]
        if is_same(before, now):
            return
        name = target.label if isinstance(target, Part) else f"{target[0].label}.{target[1]}"
        raise Refused(
            f"{task.name}: {what} {name} comes to {now!r}, and came to {before!r} when the same was done before:"
            f" {AGAIN}"
        )

    def free(self, thing: Shared) -> None:
        """End the life of an object."""
        task = self.task
        self._refuse_change(f"frees {thing.label}")
        if task:
            task.accesses = self.parts.touch(thing, LIFE, WRITE | FREE)
            self._point(task, "kfree", thing, LIFE)
        if "_freed" in thing.__dict__:
            raise DoubleFree(f"{thing.label} is freed twice")
        thing.__dict__["_freed"] = True

    def step(self, part: Part, mode: Mode, what: str, do: Callable[..., T], *args: Any) -> T:
        """Do one atomic operation."""
        task, owner = self.task, part.owner
        if self.is_checking and _is_change(part, mode, args):
            self._refuse_change(f"does {what} to {part.label}")
        if task is None or (owner is not None and "_made" not in owner.__dict__ and not self._is_made(owner, task)):
            return do(part, *args)
        if args:
            self._insist_given(task, part, *args)
        is_new = not self._again(task, what, owner, part.name)
        if is_new:
            # Those race only with what __init__ has stored, where their own names will do.
            task.caller = what if isinstance(mode, Conditional) or mode == FULL else _caller()
            task.operands = (do, part, *args)
            if isinstance(mode, Conditional):
                mode, fails = mode
                task.fails = lambda: fails(part, *args)
            if not isinstance(mode, int):
                task.moving = (part, mode, args)
                self._point(task, what, owner, part.name)
                task.moving = None
            else:
                task.accesses = self.parts.touch(owner, part.name, mode)
                if mode & WRITE and isinstance(part, Key):
                    task.accesses += self.parts.touch(owner, part.whole.name, COMMUTE | mode & PLAIN)
                self._point(task, what, owner, part.name)
            task.fails = None
        if isinstance(mode, Several):
            for each, _ in mode.parts(part, *args):
                insist_alive(each)
        else:
            insist_alive(part)
        task.result = found = do(part, *args)
        self._tell(task, what, part, (*args, found) if args else found)
        if is_new and (things := _pointed(found)):
            self.history.ordering.points(task.last, things)
        return found

    def barrier(self, what: str) -> None:
        """Enter a memory barrier, which touches nothing."""
        task = self.task
        if task and not self._again(task, what, None, ""):
            task.accesses = NOTHING
            self._point(task, what, None, "")

    def peek(self, part: Part) -> None:
        """Refuse it to tasks, since it would not be seen."""
        if self.task:
            raise Refused(f"{self.task.name} looks into {part.label}, or changes it, unseen: use one of its operations")

    def poke(self, part: Part) -> None:
        """Refuse it to tasks, and to invariants."""
        self._refuse_change(f"changes {part.label}")
        self.peek(part)

    def fails(self, kind: str) -> bool:
        """Nothing fails."""
        return False

    def _change(self, part: Part, what: str, mode: int) -> None:
        """Take a step that touches a part."""
        task = self.task
        if mode & WRITE:
            self._refuse_change(f"does {what} to {part.label}")
        if task:
            self._settle(task)
            task.accesses, task.operands = self.parts.touch(part.owner, part.name, mode), (None, part)
            self._point(task, what, part.owner, part.name)
            insist_alive(part)


def insist_alive(part: Part) -> None:
    """Insist that what a part is of was not freed."""
    owner = part.owner
    if owner is not None and "_freed" in owner.__dict__:
        raise UseAfterFree(f"{part.label} is used after {owner.label} was freed")


def insist_held(thing: Shared) -> None:
    """Insist that an object's attributes hold what is watched, or never changes."""
    for name, value in thing.__dict__.items():
        if type(value) not in NEVER_CHANGES and name != "_made":
            insist_constant(f"{thing.label}.{name}", value)


def _insist_published(task: Task, holder: str, value: object) -> None:
    """Insist that what a task gives away is watched, or never changes, and that its maker is done with it."""
    thing = value.owner if isinstance(value, Part) else value
    if isinstance(thing, Shared) and "_made" not in thing.__dict__ and "_number" in thing.__dict__:
        raise Refused(
            f"{thing.label} is published by {task.name} before its __init__ has ended: let it be found only when"
            " it is made"
        )
    insist_constant(holder, value)


def _is_change(part: Part, mode: Mode, args: tuple[object, ...]) -> bool:
    """Tell whether an operation changes something, if it is done now."""
    if isinstance(mode, Several):
        return any(how & WRITE for _, how in mode.parts(part, *args))
    if isinstance(mode, Conditional):
        mode = mode.mode
    return bool((mode if isinstance(mode, int) else mode(part)) & (WRITE | COMMUTE))


def _pointed(value: object) -> tuple[int, ...]:
    """Return numbers of the objects that a value points to."""
    if isinstance(value, Shared):
        return (value.__dict__["_number"],)
    if isinstance(value, tuple):
        return tuple(each.__dict__["_number"] for each in value if isinstance(each, Shared))
    return ()


def _caller() -> str:
    """Return which function of the program or of the system does what is about to be done."""
    frame: FrameType | None = sys._getframe(3)
    while frame and frame.f_globals["__name__"].startswith(INSIDE):
        frame = frame.f_back
    return frame.f_code.co_name if frame else ""
