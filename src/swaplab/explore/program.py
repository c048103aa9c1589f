"""What is explored: a system, the tasks that run on it, and what has to hold in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from swaplab.errors import SwaplabError

__all__ = ["Program", "ProgramError", "insist_sound", "wanted"]

S = TypeVar("S")
NO_ASSERTIONS = "python -O leaves out the assertions that programs and invariants are made of: run without it"


class ProgramError(SwaplabError):
    """The program is at fault, not the system it explores: it never ends, or does not do the same thing twice."""


@dataclass(frozen=True)
class Program(Generic[S]):
    """A system, tasks and invariants.

    Attributes:
        name: what texts call it.
        setup: makes the system anew for every execution; nothing else runs meanwhile, and what it defers runs first.
        tasks: called with the system, each in a task of its own, by the name of its CPU or thread.
        invariants: called with the system when all tasks are done, by the sentence that is false where one returns
            False or fails an assertion. They return True or False, and nothing else. One that takes two arguments is
            given what each task has returned, too, by the task's name: None of one that crashed.
        control: the same with a safeguard removed, which has to break: if it does not, then that this one holds says
            nothing.
    """

    name: str
    setup: Callable[[], S]
    tasks: Mapping[str, Callable[[S], object]]
    invariants: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    control: Program[S] | None = None


def insist_sound(program: Program[Any]) -> None:
    """Insist on tasks that can be run, in a Python that checks what it is told to.

    Raises:
        ProgramError: there are none, one is no function, or Python was told to leave assertions out.
    """
    if not __debug__:
        raise ProgramError(NO_ASSERTIONS)
    if not program.tasks:
        raise ProgramError(f"{program.name}: expected at least one task, found none")
    for name, task in program.tasks.items():
        if not callable(task):
            raise ProgramError(f"{program.name}: expected of task {name} a function, found {task!r}")
        if inspect.isgeneratorfunction(task) or inspect.iscoroutinefunction(task) or inspect.isasyncgenfunction(task):
            raise ProgramError(
                f"{program.name}: expected of task {name} a function that does it all when it is called, found one that"
                " returns a generator or a coroutine, of which nothing would be run"
            )


def wanted(check: Callable[..., object]) -> int:
    """Return how many arguments an invariant takes: the system, and what the tasks have returned."""
    taken = inspect.signature(check).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(sum(each.kind in positional and each.default is each.empty for each in taken), 2) or 1
