"""What is said of a bug says what it takes to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Final

import pytest

from swaplab.explore import Program, ProgramError, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Array, Mutex, Shared, SpinLock
from swaplab.kernel.sync.atomic import PercpuRef


class Inode(Shared):
    """Something of which there are several."""

    name: Final[str]
    size: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = SpinLock(self, "lock")
        self.ref = PercpuRef(self, "ref", lambda: None)


class System(Shared):
    """Three locks of their own, and two of one class."""

    def __init__(self) -> None:
        self.a, self.b, self.c = SpinLock(None, "a"), SpinLock(None, "b"), SpinLock(None, "c")
        self.mutex = Mutex(None, "mutex")
        self.counts: Array[int] = Array(None, "counts", bytearray(2))
        self.one, self.two = Inode("one"), Inode("two")


Body = Callable[[System], object]


def sentences(tasks: Mapping[str, Body]) -> list[str]:
    verdict = explore(Program("said", System, tasks))
    assert isinstance(verdict, Violated), verdict
    return [f"{each.kind}: {each.sentence}" for each in verdict.violations]


def nest(outer: str, inner: str) -> Body:
    def run(system: System) -> None:
        with getattr(system, outer), getattr(system, inner):
            pass

    return run


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_lock_orders_say_who_takes_what(order: tuple[int, ...]) -> None:
    tasks = [("CPU0", nest("a", "b")), ("CPU1", nest("b", "a"))]
    assert ("lock-order cycle: CPU0 takes b with a held, and CPU1 takes a with b held") in sentences(
        dict(tasks[n] for n in order)
    )


def test_a_cycle_of_three() -> None:
    tasks = {"CPU0": nest("a", "b"), "CPU1": nest("b", "c"), "CPU2": nest("c", "a")}
    assert (
        "lock-order cycle: CPU0 takes b with a held, and CPU1 takes c with b held, and CPU2 takes a with c held"
    ) in sentences(tasks)


def test_one_class_in_one_order_says_only_that() -> None:
    def run(system: System) -> None:
        with system.one.lock, system.two.lock:
            pass

    assert (
        "lock-order cycle: CPU0 takes Inode two.lock with Inode one.lock held: they are of one class, and nothing says"
        " which of them comes first"
    ) in sentences({"CPU0": run})


def test_unlocks_that_are_unbalanced() -> None:
    def release(system: System) -> None:
        system.mutex.release()

    def keep(system: System) -> None:
        system.mutex.acquire()

    assert "lock misuse: CPU0 unlocks mutex, which is not locked" in sentences({"CPU0": release})
    assert "lock misuse: CPU0 ends with mutex held: an unlock is missing" in sentences({"CPU0": keep})


@pytest.mark.parametrize("mark", [READ_ONCE, WRITE_ONCE])
def test_a_field_that_is_none(mark: Callable[[Inode], Inode]) -> None:
    def read(system: System) -> None:
        mark(system.one).siez  # type: ignore[attr-defined]  # noqa: B018

    def write(system: System) -> None:
        mark(system.one).siez = 1  # type: ignore[attr-defined]

    for task in (read, write):
        message = r"Inode has no shared field siez: its annotations name size \(.*test_sentences.py, line \d+, in"
        with pytest.raises(ProgramError, match=message):
            explore(Program("typo", System, {"CPU0": task}))


def test_a_field_that_is_not_set_yet() -> None:
    with pytest.raises(ProgramError, match="Inode one has no size yet"):
        explore(Program("early", System, {"CPU0": lambda system: READ_ONCE(system.one).size}))


def test_a_count_below_zero() -> None:
    def put_twice(system: System) -> None:
        system.one.ref.kill()
        system.one.ref.put()
        system.one.ref.put()

    assert sentences({"CPU0": put_twice})[0].startswith("warning: Inode one.ref ")


@pytest.mark.parametrize("mark", [lambda array: array, WRITE_ONCE])
def test_a_count_in_an_array_below_zero(mark: Callable[[Array[int]], Array[int]]) -> None:
    def put(system: System) -> None:
        mark(system.counts)[1] = system.counts[1] - 1

    assert "warning: counts[1] is set to -1, and holds 0 to 255" in sentences({"CPU0": put})
