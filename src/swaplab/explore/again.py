"""Holds a program to what it did before, when the same was done."""

from __future__ import annotations

from collections.abc import Iterable

from swaplab.explore.found import Found
from swaplab.explore.program import ProgramError
from swaplab.explore.task import Task
from swaplab.explore.values import told

__all__ = ["AGAIN", "insist_same", "is_same", "outcome"]

AGAIN = "tasks and setup have to do the same again, so no time, no random numbers, and nothing that outlives them"


def outcome(tasks: Iterable[Task], found: list[Found], finished: bool) -> dict[str, object]:
    """Return what an execution comes to."""
    returned = {f"what {task.name} returns": told(task.told) for task in tasks}
    return returned | {
        "what breaks": sorted(f"{each.bug.title}: {each.bug}" for each in found),
        "whether all ends": finished,
    }


def insist_same(program: str, before: dict[str, object], after: dict[str, object]) -> None:
    """Insist that an execution that is run again comes to the same.

    Raises:
        ProgramError: it does not.
    """
    for what, was in before.items():
        now = after.get(what)
        if now != was and not _is_nan(now, was):
            raise ProgramError(f"{program}: {what} is {now!r}, and was {was!r} when the same was done before: {AGAIN}")


def is_same(before: object, now: object) -> bool:
    """Tell whether a value is what it was before, of the same type."""
    return (before == now and type(before) is type(now)) or _is_nan(before, now)


def _is_nan(before: object, now: object) -> bool:
    """Tell whether two values only differ since they are, or hold, what is no number and unequal to itself."""
    return type(before) is type(now) and isinstance(now, float | tuple) and repr(before) == repr(now)
