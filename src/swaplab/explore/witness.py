"""An execution as the learned tree takes it: recorded step by step, in terms that outlive its objects."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from swaplab.explore.canonical import canonical, name_of
from swaplab.explore.history import LIFE, Variable
from swaplab.explore.learned import END, Contradiction, Footprint, Learned, Operation, Place, Taken, What
from swaplab.explore.parts import parts_of
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task
from swaplab.kernel.sync.lists import ListHead, ListNode
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import READ
from swaplab.kernel.sync.shared import Element, Elements, Part
from swaplab.kernel.sync.work import Work

__all__ = ["Witness", "announced"]

MISSING = ("missing",)
RAW = 0xFFFF
"""Modes, without what only says how the life of an object ends."""


class Witness:
    """Takes down one execution.

    Args:
        explorer: that runs it, and has come to where this begins.
        learned: what is known, whose numbers are used.

    Attributes:
        steps: taken since.
        met: states of variables when they were met first.
    """

    def __init__(self, explorer: Explorer, learned: Learned) -> None:
        self.explorer = explorer
        self.learned = learned
        self.steps: list[Taken] = []
        self.met: dict[int, int] = {}
        self._able: frozenset[int] = frozenset()
        self._known = set(explorer.tasks)
        self._open: _Open | None = None

    def look(self) -> None:
        """Record the step that is over, and the tasks that can go on now."""
        explorer = self.explorer
        self.finish()
        self._able = frozenset([number for number, task in explorer.tasks.items() if task.can_run])

    def begin(self, task: Task) -> None:
        """Note what a task is about to do."""
        looked = looks(self.explorer, task)
        footprint = self.learned.footprint(tuple([(variable, mode) for variable, mode, _ in looked]))
        is_load = task.what == "read" and not task.operands
        before = self._states(footprint, looked)
        self._open = _Open(task, self._able, is_load, self._roots(task), footprint, looked, before)

    def finish(self) -> None:
        """Take down the step that is over, if there is one."""
        if self._open is None:
            return
        task, able, is_load, roots, footprint, looked, before = self._open
        self._open = None
        after = self._states(footprint, looked)
        if task.crashed:
            bug = next(each.bug for each in reversed(self.explorer.found) if each.event == task.last)
            result: Hashable = ("bug", bug.title, str(bug))
        elif is_load:
            result = before[0]
        else:
            result = canonical(task.result)
        place, fails = self._place(task), self.explorer.history.events[task.last].fails
        waiting = [task, *(self.explorer.tasks[number] for number, _, _ in place.deferred)]
        awaited = tuple((each.number, each.wait.tasks) for each in waiting if each.wait and each.wait.tasks)
        self.steps.append(
            Taken(task.number, able, roots, footprint, before, after, result, task.crashed, awaited, fails, place)
        )

    def places(self) -> list[Place]:
        """Return where the tasks stand."""
        return [self._place(task) for task in self.explorer.tasks.values()]

    def _states(self, footprint: Footprint, looked: list[Looked]) -> tuple[int, ...]:
        return tuple([self._see(number, each) for number, each in zip(footprint.variables, looked, strict=True)])

    def _roots(self, task: Task) -> tuple[int, ...]:
        """Return the states of the parts that an operation is done to, if what it touches depends on them."""
        found: list[int] = []
        for part in roots_of(task):
            found.append(self._state(part))
            if isinstance(part, ListNode) and part._head:
                found += [self.learned.variable(name_of(part._head)), self._state(part._head)]
        return tuple(found)

    def _state(self, part: Part) -> int:
        name = name_of(part)
        return self._see(self.learned.variable(name), (name, 0, part))

    def _see(self, variable: int, looked: Looked) -> int:
        """Return the state of a variable now, and enter it."""
        learned, part = self.learned, looked[2]
        state = learned.state(variable, peek(looked))
        self.met.setdefault(variable, state)
        if isinstance(part, ListHead) and state not in learned.entries:
            learned.lists[variable] = None
            learned.entries[state] = frozenset([learned.variable(name_of(node)) for node in part._nodes()])
        return state

    def _place(self, task: Task) -> Place:
        new = [number for number in self.explorer.tasks if number not in self._known]
        self._known.update(new)
        made = [self.explorer.tasks[number] for number in new]
        deferred = tuple((each.number, self._operation(each), is_grace_period(each)) for each in made)
        held = tuple([self.learned.variable(name_of(lock)) for lock, _ in task.held])
        sections, ended = task.sections, len(task.ended)
        if task.done:
            return Place(END, sections, ended, held if task.crashed else (), task.made, False, deferred)
        label = f"{task.name}: {task.what} {task.target}"
        return Place(self._operation(task), sections, ended, held, task.made, is_grace_period(task), deferred, label)

    def _operation(self, task: Task) -> Operation:
        """Return what a task is about to do."""
        looked = looks(self.explorer, task)
        for each in looked:
            number = self.learned.variable(each[0])
            if number not in self.met:
                self._see(number, each)
        accesses = tuple([(variable, mode) for variable, mode, _ in looked])
        roots = roots_of(task)
        do, key_is_full, arguments = describe(task)
        what = announced(task)
        key = (what, do, arguments, tuple(map(name_of, roots)) or accesses)
        found = self.learned.operations.get(key)
        if found is None:
            footprint = None if roots else self.learned.footprint(accesses)
            found = self.learned.operations[key] = Operation(what, footprint)
            self._characterise(found, task, key_is_full)
        return found

    def _characterise(self, operation: Operation, task: Task, key_is_full: bool) -> None:
        operation.relaxes = task.wakers is not None
        roots = roots_of(task)
        operation.roots = tuple(self.learned.variable(name_of(part)) for part in roots)
        operation.entries = frozenset(
            self.learned.variable(name_of(part)) for part in roots if isinstance(part, ListNode)
        )
        if task.lock is not None:
            operation.lock = self.learned.variable(name_of(task.lock))
            self.learned.free[operation.lock] = self.learned.state(operation.lock, None)
        operation.is_noticed = task.lock is None and task.opener < 0 and task.what != "write"
        operation.is_store = task.what == "write" and not task.operands
        if key_is_full and not operation.is_store:
            operation.effects = {}


class _Open(NamedTuple):
    """A step that is being taken: as of `Taken`, and whether it loads a field."""

    task: Task
    able: frozenset[int]
    is_load: bool
    roots: tuple[int, ...]
    footprint: Footprint
    looked: list[Looked]
    before: tuple[int, ...]


Looked = tuple[Variable, int, Any]
"""A variable that is touched, how, and the part or object that it is of."""


def roots_of(task: Task) -> list[Part]:
    """Return the parts that an operation is done to, if what it touches depends on their states."""
    if not task.moving:
        return []
    return list(dict.fromkeys(each for each in task.operands[1:] if isinstance(each, Part)))


def is_grace_period(task: Task) -> bool:
    """Tell whether a task waits for one."""
    return task.wait is not None and task.wait.is_grace_period


def announced(task: Task) -> What:
    """Return what a task says that it is about to do: the operation, and the object and the member it is done to."""
    return task.what, 0 if task.owner is None else task.owner.__dict__["_number"], task.member


def looks(explorer: Explorer, task: Task) -> list[Looked]:
    """Return what the next operation of a task touches now; also the life of every object that it uses."""
    if task.wakers:
        return []  # it looks at what it has read before
    parts = {name_of(part): part for part in parts_of(task)}
    owners = [*(part.owner for part in parts.values()), task.owner]
    things = {each.__dict__["_number"]: each for each in owners if each is not None}
    found: dict[tuple[Variable, int], Any] = {}
    for variable, mode in explorer.accesses(task):
        thing = parts[variable] if variable in parts else things.get(variable[0], explorer)
        found[variable, mode & RAW] = thing
        if variable[1] != LIFE and variable[0]:
            found[(variable[0], LIFE), READ] = things[variable[0]]
    return [(variable, mode, thing) for (variable, mode), thing in found.items()]


def peek(looked: Looked) -> Hashable:
    """Return the state of a variable now."""
    (_, member), _, thing = looked
    if isinstance(thing, Part):
        return state_of(thing)
    if isinstance(thing, Explorer):
        return thing.deferred_to(member)
    if member == LIFE:
        return "_freed" in thing.__dict__
    return canonical(thing.__dict__[member]) if member in thing.__dict__ else MISSING


def state_of(part: Part) -> Hashable:
    """Return the state of a part now."""
    for kind, look in STATES:
        if isinstance(part, kind):
            return look(part)
    slots = [name for kind in type(part).__mro__ for name in getattr(kind, "__slots__", ())]
    return tuple([canonical(getattr(part, name)) for name in slots if name not in ("owner", "name")])


def _holder(lock: Lock) -> Hashable:
    return lock._holder.number if isinstance(lock._holder, Task) else lock._holder and "setup"


def _work(work: Work) -> Hashable:
    return work._is_pending, work.disabled, tuple(each.number for each in work.token or ())


STATES: tuple[tuple[type[Part], Callable[[Any], Hashable]], ...] = (
    (Lock, _holder),
    (Elements, lambda whole: whole.present()),
    (Work, _work),
    (Element, lambda element: canonical(element.whole.peek(element.key))),
    (ListHead, lambda head: canonical(tuple(head._nodes()))),
    (ListNode, lambda node: node._head is not None),  # on which one, lists say
)


def describe(task: Task) -> tuple[Hashable, bool, Hashable]:
    """Return which function is called, with what, and whether that, with what is touched, says all."""
    if not task.operands:
        return None, task.what in ("read", "kfree", "rcu_read_lock"), ()
    do, part, *args = task.operands
    if do is None:
        return None, isinstance(part, Lock), task.number
    if do.__closure__:
        return None, False, ()
    try:
        return do, True, tuple([canonical(each) for each in args])
    except Contradiction:
        return do, False, ()
