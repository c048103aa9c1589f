"""Every order of the operations of a program, without any reduction, and how many traces these are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.explore.enumerator.conflicts import Touches, conflict, touches
from tests.explore.enumerator.language import Program
from tests.explore.enumerator.machine import Item, State, Taken, Task, able, begin, ending, is_cyclic, step

__all__ = ["Found", "Outcome", "TooMany", "Traces", "every_order", "every_trace"]

Outcome = tuple[frozenset[tuple[str, object]], tuple[str, ...], frozenset[tuple[Any, Any]]]
"""What became of the tasks, the kinds of bugs, and the world, of the last state of an execution."""
SPOILING = {"use after free", "double free", "list corruption"}
LOCKS = ("a", "b", "m", "X.lock")


class TooMany(Exception):  # noqa: N818
    """A program has more states than are wanted."""


def outcome(state: State) -> Outcome:
    """Return what is to be compared of the last state of an execution."""
    bugs = [*state.bugs, *ending(state), *(["lock-order cycle"] * is_cyclic(state.world["orders"]))]
    tasks = frozenset((name, _status(name, task)) for name, task in state.tasks.items())
    return tasks, tuple(sorted(bugs)), frozenset(filter(None, map(_looked_at, state.world.items())))


def _status(name: str, task: Task) -> object:
    if task.bug:
        return "bug"
    if task.todo:
        return "waits"
    return () if "/" in name else task.seen


def _looked_at(item: tuple[Any, Any]) -> tuple[Any, Any] | None:
    variable, value = item
    if variable in ("q", "u", "orders") or isinstance(value, Item):
        return None
    is_lock = variable in LOCKS or str(variable).endswith(".l")
    return (variable, value is not None) if is_lock else item


@dataclass
class Found:
    """What a program can do.

    Attributes:
        outcomes: of its executions.
        violations: kinds of bugs that are met when no task has done what nobody knows the effect of.
        states: it can be in.
    """

    outcomes: set[Outcome] = field(default_factory=set)
    violations: set[str] = field(default_factory=set)
    states: int = 0


def every_order(program: Program, states_max: int) -> Found:
    """Return what a program can do, state by state.

    Raises:
        TooMany: it has more than `states_max` states.
    """
    found = Found()
    first = begin(program)
    seen = {first.key}
    left = [first]
    _note(found, first, first)
    while left:
        state = left.pop()
        names = able(state)
        if not names:
            found.outcomes.add(outcome(state))
        for name in names:
            after = step(state, name)
            if after.key in seen:
                continue
            seen.add(after.key)
            if len(seen) > states_max:
                raise TooMany
            left.append(after)
            _note(found, state, after)
    found.states = len(seen)
    return found


def _note(found: Found, before: State, state: State) -> None:
    if SPOILING & set(before.bugs):
        return
    found.violations.update(state.bugs)
    if SPOILING & set(state.bugs):
        return
    if is_cyclic(state.world["orders"]):
        found.violations.add("lock-order cycle")
    if not able(state):
        found.violations.update(ending(state))


@dataclass
class Traces:
    """The traces of a program.

    Attributes:
        executions: one of each.
        outcomes: of all.
    """

    executions: list[list[Taken]] = field(default_factory=list)
    outcomes: set[Outcome] = field(default_factory=set)


def every_trace(program: Program, prefixes_max: int) -> Traces:
    """Return the traces of a program.

    A trace is what its operations have in common: of each, whose which it is, and which it comes after because they
    conflict, or are of the same task. Beginnings of executions that are equal so lead to the same state.

    Raises:
        TooMany: there are more than `prefixes_max` beginnings.
    """
    numbers: dict[object, int] = {}
    found = Traces()
    seen: set[frozenset[int]] = set()
    left: list[tuple[State, list[tuple[int, str, Touches]], list[Taken]]] = [(begin(program), [], [])]
    while left:
        state, events, steps = left.pop()
        names = able(state)
        if not names:
            found.executions.append(steps)
            found.outcomes.add(outcome(state))
        for name in names:
            touched = touches(state, name)
            before = frozenset(n for n, other, how in events if other == name or conflict(how, touched))
            number = numbers.setdefault((name, before), len(numbers))
            key = frozenset([number, *(n for n, *_ in events)])
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > prefixes_max:
                raise TooMany
            after = step(state, name)
            left.append((after, [*events, (number, name, touched)], [*steps, Taken(name, state, after)]))
    return found
