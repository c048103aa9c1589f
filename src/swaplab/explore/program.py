"""What is explored: a system, the tasks that run on it, and what has to hold in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from swaplab.errors import SwaplabError

__all__ = ["Program", "ProgramError", "insist_sound", "noting", "wanted"]

S = TypeVar("S")
NOT_RUN = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
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
            nothing. It has none itself.

    Raises:
        ProgramError: one of these is something else, or cannot be called like that.
    """

    name: str
    setup: Callable[[], S]
    tasks: Mapping[str, Callable[[S], object]]
    invariants: Mapping[str, Callable[..., bool]] = field(default_factory=dict)
    control: Program[S] | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be run where it is made: later its place in the source would be unknown."""
        if not isinstance(self.name, str) or not self.name:
            raise ProgramError(f"expected of a program's name a text, found {_described(self.name)}")
        _insist_callable(self.name, "setup", self.setup, "a function that takes nothing", 0)
        _insist_named(self.name, "tasks", self.tasks)
        _insist_named(self.name, "invariants", self.invariants)
        for name, task in self.tasks.items():
            _insist_callable(self.name, f"task {name}", task, "a function that takes the system", 1)
            if any(is_kind(task) for is_kind in NOT_RUN):
                raise ProgramError(
                    f"{self.name}: expected of task {name} a function that does it all when it is called, found one"
                    f" that returns a generator or a coroutine, of which nothing would be run: {_described(task)}"
                )
        expected = "a function that takes the system, and may take what the tasks returned"
        for sentence, check in self.invariants.items():
            _insist_callable(self.name, f'invariant "{sentence}"', check, expected, None)
        if self.control is not None and (not isinstance(self.control, Program) or self.control.control):
            raise ProgramError(
                f"{self.name}: expected of control a Program without one, found {_described(self.control)}"
            )
        for note in _notes:
            note(self)


_notes: list[Callable[[Program[Any]], None]] = []


@contextmanager
def noting(note: Callable[[Program[Any]], None]) -> Iterator[None]:
    """Have `note` told of every program that is made inside the block."""
    _notes.append(note)
    try:
        yield
    finally:
        _notes.remove(note)


def insist_sound(program: Program[Any]) -> None:
    """Insist on tasks, and on a Python that checks what it is told to.

    Raises:
        ProgramError: there are none, or Python was told to leave assertions out.
    """
    if not __debug__:
        raise ProgramError(NO_ASSERTIONS)
    if not program.tasks:
        raise ProgramError(f"{program.name}: expected at least one task, found none")


def _insist_named(program: str, what: str, found: object) -> None:
    """Insist on a mapping from texts."""
    if not isinstance(found, Mapping):
        raise ProgramError(
            f"{program}: expected of {what} a mapping from names to functions, found {_described(found)}"
        )
    for name in found:
        if not isinstance(name, str) or not name:
            raise ProgramError(
                f"{program}: expected of {what} a mapping whose keys are texts, found {_described(name)}"
            )


def _insist_callable(program: str, what: str, found: object, expected: str, arguments: int | None) -> None:
    """Insist on what can be called with so many arguments; None for those that an invariant is given."""
    if not callable(found):
        raise ProgramError(f"{program}: expected of {what} {expected}, found {_described(found)}")
    try:
        signature = inspect.signature(found)
    except ValueError:  # a builtin has no signature
        return
    try:
        signature.bind(*[None] * (wanted(found) if arguments is None else arguments))
    except TypeError as error:
        raise ProgramError(f"{program}: expected of {what} {expected}, found {_described(found)}: {error}") from None


def _described(found: object) -> str:
    """Return what was found: a plain value as it is, a function with its place, of all else the type."""
    if found is None or isinstance(found, bool | int | float | str):
        return repr(found)
    if isinstance(found, Program):
        return f"a program with one, {found.name}"
    made = found.__init__ if isinstance(found, type) else found  # type: ignore[misc]  # its own, not a subclass's
    code = getattr(made, "__code__", None)
    name = getattr(found, "__qualname__", f"something of the type {type(found).__name__}")
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else name


def wanted(check: Callable[..., object]) -> int:
    """Return how many arguments an invariant takes: the system, and what the tasks have returned."""
    try:
        taken = inspect.signature(check).parameters.values()
    except ValueError:
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(sum(each.kind in positional and each.default is each.empty for each in taken), 2) or 1
