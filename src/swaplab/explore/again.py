"""Holds a program to what it did before, when the same was done, or the same in an order that makes no difference.

A search runs one of such orders and leaves out the rest. A difference shows that tasks share unwatched state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from swaplab.explore.history import Event, History
from swaplab.explore.program import ProgramError
from swaplab.explore.task import CHILDREN_MAX, Task
from swaplab.explore.values import told

__all__ = ["AGAIN", "OTHERWISE", "Follow", "another_order", "insist_same", "is_same", "outcome"]

AGAIN = "tasks and setup have to do the same again, so no time, no random numbers, and nothing that outlives them"
BEFORE = "when the same was done before"
OTHERWISE = "when operations that have nothing in common were done in another order"
WHY = {
    BEFORE: AGAIN,
    OTHERWISE: (
        "tasks share something that nobody watches, or use time or random numbers: keep what they share in fields and"
        " parts of Shared objects"
    ),
}


class Follow:
    """A strategy that follows a list of tasks, and gives the execution up where that is not possible.

    Args:
        choices: numbers of tasks, in turn.
    """

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = choices

    def pick(self, explorer: Any) -> Task | None:  # noqa: ANN401
        """Return whose turn it is."""
        depth = explorer.depth
        task = explorer.tasks.get(self.choices[depth]) if depth < len(self.choices) else None
        return task if task and task.can_run else None


def another_order(history: History) -> list[int]:
    """Return tasks in an order that keeps dependent operations in order, and otherwise switches tasks often."""
    waiting: dict[int, list[int]] = {}
    for number, event in reversed([*enumerate(history.events)]):
        waiting.setdefault(event.task, []).append(number)
    turns = sorted(waiting, reverse=True)
    choices, done = [], 0
    while turns:
        task = next(each for each in turns if not history.pasts[waiting[each][-1]] & ~(done | 1 << waiting[each][-1]))
        done |= 1 << waiting[task].pop()
        choices.append(task)
        turns.remove(task)
        turns += [task] * bool(waiting[task])
    return choices


def outcome(tasks: Iterable[Task], events: Iterable[Event], results: Sequence[object]) -> dict[str, object]:
    """Return what tasks have done, were told and have returned, by what texts call that; the same in any order.

    Args:
        tasks: that ran.
        events: of the execution, in order.
        results: by event, what it has stored or was told, as far as there is anything.
    """
    found = {f"what {task.name} returns": told(task.told) for task in tasks if task.number < CHILDREN_MAX}
    steps: Counter[int] = Counter()
    for event, result in zip_longest(events, results):
        steps[event.task] += 1
        who = event.name if event.task < CHILDREN_MAX else f"{event.name} ({event.task})"
        found[f"step {steps[event.task]} of {who}, {event.what} {event.target}".rstrip()] = result
    return found


def insist_same(program: str, before: dict[str, object], after: dict[str, object], when: str = BEFORE) -> None:
    """Insist that an execution that is run again comes to the same.

    Args:
        program: its name.
        before: what it came to.
        after: what it has come to now.
        when: it came to what it did before.

    Raises:
        ProgramError: it does not.
    """
    for what in before | after:
        was, now = before.get(what), after.get(what)
        if now != was and not _is_nan(now, was):
            raise ProgramError(f"{program}: {what} is {now!r}, and was {was!r} {when}: {WHY[when]}")


def is_same(before: object, now: object) -> bool:
    """Tell whether a value is what it was before, of the same type."""
    return (before == now and type(before) is type(now)) or _is_nan(before, now)


def _is_nan(before: object, now: object) -> bool:
    """Tell whether two values only differ since they are, or hold, what is no number and unequal to itself."""
    return type(before) is type(now) and isinstance(now, float | tuple) and repr(before) == repr(now)
