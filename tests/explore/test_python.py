"""Programs that use what Python has beside fields and functions: it works, or it is refused by name."""

from __future__ import annotations

import copy
import gc
import os
import sys
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from types import new_class
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np
import pytest

from swaplab.explore import Holds, Program, ProgramError, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, kfree
from swaplab.kernel.sync.bugs import Refused


class Counter(Shared):
    """A counter and its lock."""

    value: int

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.value = 0


@dataclass
class Compared(Shared):
    """One that is equal to others, and has no hash."""

    value: int = 0

    def __post_init__(self) -> None:
        self.lock = SpinLock(self, "lock")


class Sized(Counter):
    """One that is false at first, by a step."""

    def __len__(self) -> int:
        return self.value


class Alike(Counter):
    """One that is equal to everything, and hashed by a step."""

    def __eq__(self, other: object) -> bool:
        return self.value >= 0

    def __hash__(self) -> int:
        return self.value


def locked(counter: Counter) -> None:
    with counter.lock:
        counter.value += 1


def unlocked(counter: Counter) -> None:
    WRITE_ONCE(counter).value = READ_ONCE(counter).value + 1


@pytest.mark.parametrize("every_trace", [False, True])
@pytest.mark.parametrize("kind", [Compared, Sized, Alike])
def test_truth_equality_and_hashes_are_the_programs(kind: type[Counter], every_trace: bool) -> None:
    counted = {"both": lambda counter: counter.value == 2}
    assert isinstance(
        explore(Program("locked", kind, {"A": locked, "B": locked}, counted), every_trace=every_trace), Holds
    )
    broken = explore(Program("unlocked", kind, {"A": unlocked, "B": unlocked}, counted), every_trace=every_trace)
    assert isinstance(broken, Violated)
    assert [each.sentence for each in broken.violations] == ["both"]
    assert f"read {kind.__name__}.value" in str(broken.effort.reordered)


@contextmanager
def section(counter: Counter) -> Iterator[Counter]:
    counter.lock.acquire()
    try:
        yield counter
    finally:
        counter.lock.release()


def caught(counter: Counter) -> None:
    try:
        with section(counter) as inside:
            inside.value += 1
            raise ValueError
    except ValueError:
        pass


def stacked(counter: Counter) -> None:
    with ExitStack() as stack:
        stack.enter_context(section(counter)).value += 1


def matched(counter: Counter) -> None:
    match counter:
        case Counter(value=0):
            pass


def test_blocks_of_contextlib_and_match_are_steps() -> None:
    counted = {"both": lambda counter: counter.value == 2}
    assert isinstance(explore(Program("sections", Counter, {"A": caught, "B": stacked}, counted)), Holds)
    race = explore(Program("match", Counter, {"A": caught, "B": matched}))
    assert isinstance(race, Violated)
    assert [each.kind for each in race.violations] == ["data race"]


@pytest.mark.parametrize("base", [list, dict, set, bytearray, deque, np.ndarray, ValueError])
def test_shared_classes_are_nothing_else(base: type) -> None:
    with pytest.raises(Refused, match=rf"class Both is made by {base.__name__}.__new__"):
        new_class("Both", (Shared, base), exec_body=lambda names: names.update(__annotations__={}))


def dig(counter: Counter, depth: int = 0) -> None:
    WRITE_ONCE(counter).value = depth
    dig(counter, depth + 1)


def too_deep(counter: Counter) -> None:
    with suppress(RecursionError):
        dig(counter)


@dataclass(frozen=True, slots=True)
class Box:
    """Frozen, as far as anybody asks."""

    size: int


class Kind(type(Shared)):  # type: ignore[misc]
    """A class of classes."""

    made = 0


class Odd(Counter, metaclass=Kind):
    """One of them."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box(0)


def count_on_the_metaclass(odd: Any) -> None:
    WRITE_ONCE(odd).value = 1
    type(type(odd)).made += 1  # type: ignore[attr-defined]


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "copy": (copy.copy, "Odd is copied"),
    "deepcopy": (copy.deepcopy, "Odd is copied"),
    "getstate": (lambda odd: odd.__getstate__()["value"], "Odd is copied"),
    "reduce": (lambda odd: odd.__reduce__(), "Odd is copied"),
    "a slot": (lambda odd: type(odd.box).size.__set__(odd.box, 1), "__set__ reaches fields"),
    "a metaclass": (count_on_the_metaclass, "Kind.made, a int, was changed by a task"),
    "a weak reference": (lambda odd: weakref.ref(odd)() is odd, "asks whether something is still alive"),
    "a weak dict": (lambda odd: weakref.WeakValueDictionary({1: odd}), "asks whether something is still alive"),
    "collecting": (lambda odd: gc.collect(), "is of the garbage collector"),
    "time": (lambda odd: time.monotonic_ns() & 1, "does not come to the same again"),
    "uuid": (lambda odd: uuid.uuid4().int, "does not come to the same again"),
    "urandom": (lambda odd: os.urandom(1)[0] == 3, "does not come to the same again"),
    "recursion": (too_deep, "calls itself so deep that no step can be taken"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_goes_past_fields_is_refused(way: str) -> None:
    task, sentence = REFUSED[way]

    def other(odd: Counter) -> int:
        return READ_ONCE(odd).value

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    try:
        with pytest.raises(ProgramError, match=sentence):
            explore(Program("past", Odd, {"A": task, "B": other}))
    finally:
        sys.setrecursionlimit(limit)
        Kind.made = 0


numbers = iter(range(1000))


def numbered() -> Counter:
    counter = Counter()
    counter.number = next(numbers)  # type: ignore[attr-defined]
    return counter


def test_setup_makes_the_same_again() -> None:
    with pytest.raises(ProgramError, match=r"Counter \(object 1\)\.number is \d, and was \d when the same was done"):
        explore(Program("numbered", numbered, {"A": locked, "B": locked}))


@lru_cache
def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@lru_cache
def kept(_number: int) -> list[int]:
    return []


def with_a_cache(counter: Counter) -> None:
    with counter.lock:
        counter.value += fibonacci(5)


def with_what_is_kept(counter: Counter) -> None:
    with counter.lock:
        kept(1).append(counter.value)


def test_caches_are_fine_that_keep_what_never_changes() -> None:
    assert isinstance(explore(Program("cache", Counter, {"A": with_a_cache, "B": locked})), Holds)
    with pytest.raises(ProgramError, match=r"what .*kept keeps, a list, was changed by a task"):
        explore(Program("cache", Counter, {"A": with_what_is_kept, "B": locked}))


S = TypeVar("S")


class Typed(Shared, Generic[S]):
    """Annotated as those do that do not import annotations from the future."""

    __annotations__ = {"value": int, "lock": Final[SpinLock], "kind": ClassVar[str]}
    kind = "typed"

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.value = 0


def make_typed(typed: Counter) -> None:
    kfree(Typed[int]())
    locked(typed)


def test_annotations_are_those_of_typing() -> None:
    assert Typed.fields == ("value",)
    assert isinstance(explore(Program("typed", Typed[int], {"A": make_typed, "B": locked})), Holds)


def test_fields_are_no_properties() -> None:
    with pytest.raises(Refused, match=r"class Hidden makes value a property, and it is a field"):
        new_class("Hidden", (Counter,), exec_body=lambda names: names.update(__annotations__={}, value=property()))


class Sliced(Counter):
    """What never changes, with something in it that does."""

    def __init__(self) -> None:
        super().__init__()
        self.slice: object = slice([], None)


def test_slices_hold_what_they_hold() -> None:
    with pytest.raises(ProgramError, match=r"Sliced\.slice holds a list"):
        explore(Program("slice", Sliced, {"A": locked, "B": locked}))


def at_the_end(counter: Counter, cycle: list[object]) -> Iterator[None]:
    try:
        yield
    finally:
        WRITE_ONCE(counter).value = len(cycle)


def leave_garbage(counter: Counter) -> None:
    cycle: list[object] = []
    cycle.append(at_the_end(counter, cycle))
    next(cycle[0])  # type: ignore[call-overload]


MANY = 3 * gc.get_threshold()[0]


def allocate(counter: Counter) -> int:
    kept = [[number] for number in range(MANY)]
    return len(kept) - MANY + READ_ONCE(counter).value


def write_two(counter: Counter) -> None:
    WRITE_ONCE(counter).value = 2


def test_garbage_does_nothing_in_the_middle_of_an_execution() -> None:
    garbage = Program(
        "garbage",
        Counter,
        {"A": leave_garbage, "B": allocate, "C": write_two},
        {"written by nobody but C": lambda counter, told: told["B"] in (0, 2) and counter.value == 2},
    )
    assert isinstance(explore(garbage, every_trace=True), Holds)
