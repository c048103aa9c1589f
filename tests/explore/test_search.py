"""No execution is left out, and none is called a proof that leaves some out; in every order of naming the tasks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

import swaplab
from swaplab.explore import (
    Bounded,
    FewPreemptions,
    Holds,
    PriorityWalk,
    Program,
    RandomWalk,
    Search,
    Verdict,
    Violated,
    explore,
    parallel,
    search,
)
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared, SpinLock, relax


class Some(Shared):
    """Three flags, a lock and a counter."""

    x: int
    y: int
    z: int

    def __init__(self) -> None:
        self.x = self.y = self.z = 0
        self.lock = SpinLock(self, "lock")
        self.n = Atomic(self, "n")


Task = Callable[[Some], object]


def read(some: Some, names: str) -> list[int]:
    return [getattr(READ_ONCE(some), name) for name in names]


def write(name: str) -> Task:
    return lambda some: setattr(WRITE_ONCE(some), name, 1)


def trylock_and_write(some: Some) -> None:
    if some.lock.try_acquire():
        WRITE_ONCE(some).y = 1
        some.lock.release()


def lock(some: Some) -> None:
    with some.lock:
        pass


def named(tasks: tuple[Task, ...], **arguments: Any) -> Verdict:
    program = Program("tasks", Some, {f"t{n}": task for n, task in enumerate(tasks)}, **arguments)
    return explore(program, every_trace=True)


def reader(some: Some) -> dict[str, list[int]]:
    return {"reader": read(some, "yxz")}


def reader_and_writer(some: Some) -> dict[str, list[int]]:
    seen = read(some, "zzz")
    WRITE_ONCE(some).y = 1
    return {"both": seen}


@pytest.mark.parametrize("tasks", [*permutations([write("x"), write("z"), reader, reader_and_writer])])
def test_a_race_of_old_events_is_reversed_for_what_came_since(tasks: tuple[Task, ...]) -> None:
    def is_not(_: Some, told: dict[str, Any]) -> bool:
        seen = {who: what for each in told.values() if each for who, what in each.items()}
        return seen != {"reader": [0, 0, 1], "both": [0, 1, 1]}

    verdict = named(tasks, invariants={"one outcome is left": is_not})
    assert isinstance(verdict, Violated)
    assert verdict.effort.executions == 26


@pytest.mark.parametrize("tasks", [*permutations([write("y"), lambda some: read(some, "y"), trylock_and_write, lock])])
def test_try_locks(tasks: tuple[Task, ...]) -> None:
    verdict = named(tasks)
    assert isinstance(verdict, Holds)
    assert verdict.effort.executions == 14


def wait_for_either(some: Some) -> None:
    if any(read(some, "xy")):
        return
    relax()
    assert READ_ONCE(some).x


@pytest.mark.parametrize("tasks", [*permutations([write("x"), write("y"), wait_for_either])])
def test_whatever_wakes_a_task(tasks: tuple[Task, ...]) -> None:
    assert isinstance(named(tasks), Violated)


def increment(some: Some) -> None:
    while True:
        old = some.n.read()
        if some.n.cmpxchg(old, old + 1) == old:
            return
        relax()


def read_twice(some: Some) -> None:
    while read(some, "xx") != [1, 1]:
        relax()


def seqcount_reader(some: Some) -> None:
    while True:
        before = some.n.read()
        seen = read(some, "xy")
        if some.n.read() == before and before % 2 == 0:
            assert seen[0] == seen[1]
            return
        relax()


def seqcount_writer(some: Some) -> None:
    some.n.add_return(1)
    WRITE_ONCE(some).x = 1
    WRITE_ONCE(some).y = 1
    some.n.add_return(1)


RETRYING: dict[str, tuple[Task, ...]] = {
    "two increment": (increment, increment),
    "three increment": (increment, increment, increment),
    "a field is read twice": (read_twice, write("x")),
    "seqcount": (seqcount_reader, seqcount_writer),
}


@pytest.mark.parametrize("tasks", RETRYING.values(), ids=RETRYING)
def test_who_reads_again_before_it_relaxes_is_not_stuck(tasks: tuple[Task, ...]) -> None:
    for order in permutations(tasks):
        assert isinstance(named(order), Holds)


def test_who_waits_for_nobody_is_stuck() -> None:
    verdict = named((read_twice, write("y")))
    assert isinstance(verdict, Violated)
    assert [each.kind for each in verdict.violations] == ["stuck in a retry loop"]


@pytest.mark.parametrize("name", ["three increment", "seqcount"])
def test_the_verdict_does_not_depend_on_the_number_of_processes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "ALONE", 5)
    monkeypatch.setattr(parallel, "TURN", 2)
    program = Program(
        name,
        Some,
        {f"t{n}": task for n, task in enumerate((*RETRYING[name], write("z"), lambda some: read(some, "zxz")))},
        {"z was seen": lambda some: some.n.value > 3},
    )
    verdicts = [explore(program, every_trace=True, processes=processes) for processes in (1, 2, 3)]
    assert isinstance(verdicts[0], Violated)
    assert verdicts[0].effort.executions > 20
    assert verdicts[1:] == verdicts[:1] * 2


def lose(some: Some) -> None:
    WRITE_ONCE(some).x = READ_ONCE(some).x + 1


@pytest.mark.parametrize("search", [RandomWalk(1, 1), PriorityWalk(1, 1, 2, 4), FewPreemptions(0)])
def test_a_search_that_leaves_something_out_proves_nothing(search: Search) -> None:
    program = Program("lost update", Some, {"t0": lose, "t1": lock}, {"one was counted": lambda some: True})
    verdict = swaplab.explore(program, search)
    assert isinstance(verdict, Bounded)
    assert verdict.limit


def test_all_that_breaks_is_found() -> None:
    """What the first task breaks does not hide what the others do."""

    def fail(some: Some) -> None:
        WRITE_ONCE(some).x = 1
        raise AssertionError("always")

    def fail_if_set(some: Some) -> None:
        assert not READ_ONCE(some).x, "x is set"
        assert READ_ONCE(some).y, "y is not set"

    verdict = named((fail, fail_if_set, write("y")))
    assert isinstance(verdict, Violated)
    assert {each.sentence for each in verdict.violations} == {"always", "x is set", "y is not set"}
    assert not verdict.limit
    assert all(each.fewest for each in verdict.violations)
    assert [len(each.steps) for each in verdict.violations if each.sentence == "x is set"] == [2]


def test_the_first_alone_is_no_list() -> None:
    verdict = explore(Program("tasks", Some, {"t0": lose, "t1": lose}, {"two": lambda some: False}), first=True)
    assert isinstance(verdict, Violated)
    assert verdict.effort.executions == 1
    assert verdict.limit
    assert not verdict.violations[0].fewest


def test_what_breaks_in_a_large_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MORE", 20)
    monkeypatch.setattr(parallel, "ALONE", 5)
    program = Program("large", Some, {f"t{n}": increment for n in range(3)}, {"three": lambda some: False})
    alone, shared = (explore(program, every_trace=True, processes=processes) for processes in (1, 2))
    assert isinstance(alone, Violated)
    assert alone.limit == "20 executions that broke nothing new"
    assert alone.effort.executions == 21
    assert not alone.violations[0].fewest
    assert shared == alone


def test_what_else_breaks_is_known_though_not_every_trace_was_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MORE", 80)  # more than observations, less than traces
    program = Program("large", Some, {f"t{n}": increment for n in range(3)}, {"three": lambda some: False})
    verdict = explore(program)
    assert isinstance(verdict, Violated)
    assert not verdict.limit
    assert not verdict.violations[0].fewest
