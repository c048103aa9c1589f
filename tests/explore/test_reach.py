"""What outlives an execution does not change by it: globals, closures, defaults, attributes of classes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from swaplab.explore import Holds, Program, ProgramError, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared

LIST = [0]
DICT: dict[str, Any] = {"inner": [0]}
SET: set[int] = set()
QUEUE: deque[int] = deque([0])
SPACE = SimpleNamespace(v=0)
COUNT = count()
NUMBER = 0
EXIT = os._exit


class Plain:
    """Not shared."""

    v = 0
    values: list[int] = []  # noqa: RUF012


class System(Shared):
    """A number."""

    v: int

    def __init__(self) -> None:
        self.v = 0

    def add(self) -> None:
        Plain.values.append(1)


def write(system: System) -> None:
    WRITE_ONCE(system).v = 1


def grow(_: System) -> None:
    LIST.append(1)


def deep(_: System) -> None:
    DICT["inner"][0] += 1


def set_global(_: System) -> None:
    global NUMBER  # noqa: PLW0603
    NUMBER += 1


def set_class(_: System) -> None:
    Plain.v += 1


def called(system: System) -> None:
    system.add()


def helper(_: System) -> None:
    grow(_)


def default(_: System, seen: list[int] = []) -> None:  # noqa: B006
    seen.append(1)


def around() -> Callable[[System], None]:
    seen: list[int] = []
    return lambda system: seen.append(system.v)


def nonlocal_() -> Callable[[System], None]:
    seen = 0

    def run(_: System) -> None:
        nonlocal seen
        seen += 1

    return run


CHANGING: dict[str, tuple[Callable[..., object], str]] = {
    "list": (grow, r"LIST, a list, was changed by a task"),
    "by a function": (helper, r"LIST, a list, was changed by a task"),
    "by a method": (called, r"Plain.values, a list, was changed by a task"),
    "inside a dict": (deep, r"DICT, a dict, was changed by a task"),
    "set": (lambda _: SET.add(len(SET)), r"SET, a set, was changed by a task"),
    "deque": (lambda _: QUEUE.append(1), r"QUEUE, a deque, was changed by a task"),
    "instance": (lambda _: setattr(SPACE, "v", SPACE.v + 1), r"SPACE, a SimpleNamespace, was changed by a task"),
    "iterator": (lambda _: next(COUNT), r"COUNT, a count, changes when it is used"),
    "global": (set_global, r"NUMBER is changed by a task: .*test_reach.py, line \d+, in set_global"),
    "class": (set_class, r"Plain.v.* was changed by a task"),
    "default": (default, r"a default of default, a list, was changed by a task"),
    "closure": (around(), r"seen, a variable around <lambda>, a list, was changed by a task"),
    "nonlocal": (nonlocal_(), r"seen is changed by a task: .*in run"),
    "exit": (lambda _: EXIT(0), r"EXIT ends the process"),
    "vars": (lambda system: system.__dict__.update(v=1), r"__dict__ reaches fields in a way that nobody sees"),
}


@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_is_refused(name: str) -> None:
    task, message = CHANGING[name]

    def run(system: System) -> None:
        write(system)
        task(system)

    with pytest.raises(ProgramError, match=message):
        explore(Program("mine", System, {"CPU0": run, "CPU1": write}))


def test_what_does_not_change_is_fine() -> None:
    def run(system: System) -> int:
        seen = []
        seen.append(LIST[0] + DICT["inner"][0] + SPACE.v + Plain.v + len(QUEUE))
        return READ_ONCE(system).v

    assert isinstance(explore(Program("mine", System, {"CPU0": run, "CPU1": write})), Holds)
