"""What outlives an execution does not change by it: globals, closures, defaults, attributes of classes."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum
from functools import cache, cached_property, lru_cache
from io import StringIO
from itertools import count
from threading import Lock
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np
import pytest

from swaplab.explore import Holds, Program, ProgramError, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, Work, WorkQueue, call_rcu, queue_work, rcu_barrier

LIST = [0]
DICT: dict[str, Any] = {"inner": [0]}
SET: set[int] = set()
QUEUE: deque[int] = deque([0])
SPACE = SimpleNamespace(v=0)
COUNT = count()
NUMBER = 0
EXIT = os._exit
ARRAY = np.zeros(1)
MUTEX = Lock()
MADE = object()
STREAM = StringIO()
CONTEXT = ContextVar("CONTEXT", default=0)
PUSH = LIST.append


class Plain:
    """Not shared."""

    v = 0
    values: list[int] = []  # noqa: RUF012


PLAIN = Plain()
WEAK = ref(PLAIN)


class Counting:
    """A task with a state."""

    n = 0

    def __call__(self, _: System) -> None:
        self.n += 1


class Slotted:
    """Keeps what it has in slots."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Deeper(list[int]):
    """A list with an attribute."""

    n = 0


class Colour(Enum):
    """With what can change."""

    RED = [1]  # noqa: RUF012


SLOTTED = Slotted()
DEEPER = Deeper()
CALLABLE = Counting()


@cache
def kept() -> list[int]:
    return [0]


@lru_cache(maxsize=3)
def kept_few(_: int) -> list[int]:
    return [0]


class System(Shared):
    """A number."""

    items = [0]  # noqa: RUF012

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


def set_by_module(_: System) -> None:
    sys.modules[__name__].MADE = object()  # type: ignore[attr-defined]


def set_in_import(_: System) -> None:
    import gc

    gc.swaplab = 1  # type: ignore[attr-defined]


class Computing(Shared):
    """Computes something once, whoever comes first."""

    v = 0

    @cached_property
    def twice(self) -> int:
        return 2 * self.v


class Ending:
    """Does something when it is collected."""

    def __del__(self) -> None:
        pass


class Failing(Exception):  # noqa: N818
    """Is raised again and again."""


FAILING = Failing(1)


def set_in_alias(_: System) -> None:
    module = gc
    module.swaplab = 1  # type: ignore[attr-defined]


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
    "exit": (lambda _: EXIT(0), r"EXIT is os._exit: a program that uses it ends the process"),
    "attribute of a function": (lambda _: setattr(write, "n", 1), "write is given attributes by a task"),
    "instance as a task": (CALLABLE, "CPU0|a variable around run, a Counting, was changed by a task"),
    "slots": (lambda _: setattr(SLOTTED, "n", SLOTTED.n + 1), "SLOTTED, a Slotted, was changed by a task"),
    "attribute of a list": (lambda _: setattr(DEEPER, "n", DEEPER.n + 1), "DEEPER, a Deeper, was changed by a task"),
    "member": (lambda _: setattr(Colour.RED, "n", 1), "Colour.RED is given an attribute n"),
    "value of a member": (lambda _: Colour.RED.value.append(1), "Colour.RED, a Colour, was changed by a task"),
    "list of a shared class": (lambda system: system.items.append(1), "System.items, a list, was changed by a task"),
    "cache": (lambda _: kept().append(1), "what .*kept keeps, a list, was changed by a task"),
    "small cache": (lambda _: kept_few(1).append(1), "what .*kept_few keeps, a list, was changed by a task"),
    "environment": (lambda _: os.environ.update(A="1"), "os.environ, a _Environ, may change when it is used"),
    "array of numpy": (lambda _: ARRAY.fill(ARRAY[0] + 1), "ARRAY, a ndarray, was changed by a task"),
    "lock": (lambda _: MUTEX.locked(), "MUTEX, a lock, may change when it is used"),
    "context": (lambda _: CONTEXT.get(), "CONTEXT, a ContextVar, may change when it is used"),
    "hidden generator": (lambda _: random.random(), "random.random.__self__, a Random, may change when it is used"),  # noqa: S311
    "bound method": (lambda _: PUSH(1), "PUSH.__self__, a list, was changed by a task"),
    "vars()": (lambda system: vars(system).get("v"), "vars reaches fields, or what outlives an execution"),
    "vars by its name": (lambda system: getattr(system, "__dict__"), "__dict__ reaches fields, or what"),  # noqa: B009
    "vars": (lambda system: system.__dict__.update(v=1), r"__dict__ reaches fields, .* in a way that nobody sees"),
    "globals()": (lambda _: globals().update(NUMBER=1), "globals reaches fields, or what outlives an execution"),
    "frames": (lambda _: sys._getframe().f_globals, "_getframe reaches fields, or what outlives an execution"),
    "code that is made": (lambda _: exec("NUMBER = 1"), "exec reaches fields, or what outlives an execution"),  # noqa: S102
    "objects of the collector": (lambda _: gc.get_objects(), "get_objects reaches fields, or what outlives"),
    "global by its module": (set_by_module, "MADE, a global of .*test_reach, was changed by a task"),
    "attribute of an imported module": (set_in_import, "gc.swaplab is changed by a task"),
    "weak reference": (lambda _: setattr(WEAK(), "w", 1), "what .*WEAK refers to, a Plain, was changed"),
    "id": (lambda system: id(system) % 2, r"id\(\) is another in every execution"),
    "what a part keeps": (lambda system: setattr(system.n, "_value", 1), "_value is where parts keep what they hold"),
    "attribute of standard output": (lambda _: setattr(sys.stdout, "seen", 1), "what sys.stdout has for attributes"),
    "attribute of a module by another name": (set_in_alias, "swaplab, a global of gc, was changed by a task"),
    "attribute of a module by setattr": (lambda _: setattr(gc, "swaplab", 2), "swaplab, a global of gc, was changed"),
    "cached property": (lambda _: Computing().twice, "Computing.twice, a cached_property, keeps what nobody watches"),
    "finalizer": (lambda _: Ending(), "Ending.__del__ is run when nobody has scheduled it"),
    "arguments of an exception": (
        lambda _: setattr(FAILING, "args", (2,)),
        "FAILING, a Failing, was changed by a task",
    ),
    "text stream": (lambda _: STREAM.write("1"), "STREAM, a StringIO, changes when it is used"),
}


@pytest.fixture(autouse=True)
def _left_alone() -> Iterator[None]:
    yield
    vars(gc).pop("swaplab", None)
    FAILING.args = (1,)


@pytest.mark.parametrize("name", CHANGING)
def test_what_changes_is_refused(name: str) -> None:
    task, message = CHANGING[name]

    def run(system: System) -> None:
        write(system)
        task(system)

    with pytest.raises(ProgramError, match=message):
        explore(Program("mine", System, {"CPU0": run, "CPU1": write}))


def test_what_only_stands_for_a_module_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "standing", SimpleNamespace(lock=Lock()))
    test_what_changes_is_refused("global by its module")


def test_what_changes_for_a_while_is_refused() -> None:
    def run(system: System) -> None:
        LIST.append(1)
        write(system)
        LIST.pop()

    with pytest.raises(ProgramError, match="LIST, a list, was changed by a task"):
        explore(Program("mine", System, {"CPU0": run, "CPU1": run}))
    LIST[1:] = []


def test_a_module_that_is_kept_does_not_change() -> None:
    def run(worker: Worker) -> None:
        worker.keeps.swaplab = 1  # type: ignore[attr-defined]
        write(worker)

    with pytest.raises(ProgramError, match="swaplab, a global of gc, was changed by a task"):
        explore(Program("mine", lambda: Worker(gc.collect), {"CPU0": run, "CPU1": run}))


def test_what_does_not_change_is_fine() -> None:
    def run(system: System) -> int:
        seen = []
        seen.append(LIST[0] + DICT["inner"][0] + SPACE.v + Plain.v + len(QUEUE))
        return READ_ONCE(system).v

    assert isinstance(explore(Program("mine", System, {"CPU0": run, "CPU1": write})), Holds)


def by_rcu(system: System, call: Callable[[], None]) -> None:
    call_rcu(call)
    write(system)
    rcu_barrier()


def in_a_field(system: System, call: Callable[[], None]) -> None:
    WRITE_ONCE(system).v = (call,)  # type: ignore[assignment]
    call()


@pytest.mark.parametrize("give", [by_rcu, in_a_field])
@pytest.mark.parametrize("is_own", [True, False])
def test_variables_around_what_is_given_away_do_not_change(give: Callable[..., None], is_own: bool) -> None:
    def run(system: System) -> int:
        seen = 0

        def call() -> None:
            nonlocal seen
            seen += is_own

        give(system, call)
        write(system)
        seen += not is_own
        write(system)
        return seen

    with pytest.raises(ProgramError, match=r"seen, a variable around .*call, is changed while others may use it"):
        explore(Program("mine", System, {"CPU0": run, "CPU1": write}))


def test_variables_around_what_is_given_away_may_stay() -> None:
    def run(system: System) -> None:
        seen = system
        by_rcu(system, lambda: write(seen))

    assert isinstance(explore(Program("mine", System, {"CPU0": run, "CPU1": write})), Holds)


class Worker(System):
    """Has work that keeps a state."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.work = Work(self, "work", call)
        self.keeps = gc
        self.queue = WorkQueue("queue")


def counting() -> Callable[[], object]:
    seen = 0

    def call() -> None:
        nonlocal seen
        seen += 1

    return call


@pytest.mark.parametrize("call", [lambda: grow(System()), counting()])
def test_work_is_looked_at(call: Callable[[], object]) -> None:
    def run(worker: Worker) -> None:
        queue_work(worker.queue, worker.work)

    with pytest.raises(ProgramError, match=r"(LIST, a list, was|seen is) changed by a task"):
        explore(Program("mine", lambda: Worker(call), {"CPU0": run, "CPU1": run}))
