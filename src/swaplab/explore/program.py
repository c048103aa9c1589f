"""What is explored: a system, the tasks that run on it, and what has to hold in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from swaplab.errors import SwaplabError

__all__ = ["Program", "ProgramError"]

S = TypeVar("S")


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
            False or fails an assertion.
        control: the same with a safeguard removed, which has to break: if it does not, then that this one holds says
            nothing.
    """

    name: str
    setup: Callable[[], S]
    tasks: Mapping[str, Callable[[S], object]]
    invariants: Mapping[str, Callable[[S], object]] = field(default_factory=dict)
    control: Program[S] | None = None
