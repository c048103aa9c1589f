"""The search of observations meets all that the enumerator and the search of traces do, in fewer executions."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Pattern
from typing import Any

import pytest
from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.orders import TooMany
from tests.explore.observations import against_every_order, against_every_trace, findings
from tests.kernel.side_by_side import SWAPPED, machine

from swaplab.explore import EveryObservation, Holds, Program, explore
from swaplab.kernel.machine import Machine
from swaplab.kernel.sync import WRITE_ONCE, Shared, SpinLock
from swaplab.races.museum import exhibits
from swaplab.races.offline import matrix

PROGRAMS = 5
STATES_MAX = 500


@pytest.mark.parametrize("theme", THEMES)
def test_same_as_every_order(theme: str) -> None:
    compared = 0
    for seed in range(PROGRAMS):
        try:
            found = against_every_order(random_program(theme, seed), STATES_MAX)
        except TooMany:
            continue
        compared += 1
        assert not found.differences, "\n".join(found.differences)
    assert compared >= PROGRAMS // 3


def test_what_is_learned_late_counts_at_once() -> None:
    """A step seemed to be nobody else's business; then another task was learned to do what it depends on."""
    assert not against_every_order(LATE, STATES_MAX).differences


LATE = (
    (("list_first", "H"),),
    (
        ("kfree", "A"),
        ("lock", "a", (("node_empty", "A"), ("if", 0, (("list_del", "A"),), ()))),
        ("list_first", "H"),
    ),
    (("lock", "a", (("node_empty", "B"), ("if", 0, (("list_del", "B"),), ()))),),
    (
        ("lock", "a", (("node_empty", "A"), ("if", 0, (("list_del", "A"),), ()))),
        ("lock", "a", (("node_empty", "A"), ("if", 1, (("list_add", "H", "A"),), ()))),
    ),
)


class System(Shared):
    """A lock, and fields."""

    a: int
    b: int
    c: int

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.a = self.b = self.c = 0


def add_to(name: str) -> Callable[[System], None]:
    def run(system: System) -> None:
        with system.lock:
            setattr(system, name, getattr(system, name) + 1)

    return run


def test_orders_that_nobody_sees_are_one() -> None:
    program = Program("apart", System, {name: add_to(name) for name in "abc"})
    assert explore(program, every_trace=True).effort.executions == 6
    verdict = explore(program)
    assert (verdict.effort.executions, verdict.effort.search) == (1, "every observation")
    assert verdict.complete


SAMPLE = [cell.program for cell in matrix() if cell.label.startswith("add, list_lru") and "bare" in cell.label] + [
    program for exhibit in exhibits()[::6] for program in (*exhibit.broken.values(), *exhibit.fixed.values())
]


@pytest.mark.parametrize("program", SAMPLE, ids=lambda program: program.name)
def test_same_as_every_trace(program: Program[Any]) -> None:
    compared = against_every_trace(program)
    assert compared is not None
    assert not compared.differences


def test_an_eighth_of_the_traces() -> None:
    label = "add, list_lru 6.12, lookup tryget, lists at offline"
    program = next(cell.program for cell in matrix() if cell.label == label)
    few, all_of_them = explore(program), explore(program, every_trace=True)
    assert few.complete
    assert all_of_them.complete
    assert few.effort.executions * 8 <= all_of_them.effort.executions


@pytest.mark.parametrize("name", ["swapcache-self-wait: at once", "writeback-vs-slot-reuse: validated"])
def test_what_only_grace_periods_order_carries_over(name: str) -> None:
    """No execution shows that, so every trace is run."""
    program = next(each for exhibit in exhibits() for each in exhibit.fixed.values() if each.name == name)
    verdict = explore(program)
    assert isinstance(verdict, Holds)
    assert not verdict.unsure
    assert "carries over" in verdict.effort.search


def fault_of(path: str) -> Callable[[Machine], object]:
    def fault(system: Machine) -> bytes:
        with system.tree:
            cgroup = system.cgroups[path]
        return cgroup.read(SWAPPED)

    return fault


def test_two_faults_of_a_whole_machine_end() -> None:
    """Every trace of them are more than 28,000."""
    tasks = {"CPU0": fault_of("parent/child"), "CPU1": fault_of("parent")}
    agree = {"all parts of the machine agree": lambda system: system.validate() is None}
    verdict = explore(Program("two faults", machine, tasks, agree), executions_max=100)
    assert isinstance(verdict, Holds)
    assert verdict.effort.search == "every observation"


def lock_last(system: System) -> None:
    system.a = 1
    with system.lock:
        pass


def lock_first(system: System) -> None:
    with system.lock:
        pass
    _ = system.a


def test_a_data_race_that_nobody_observes() -> None:
    """Whether the lock orders the accesses depends on who took it first, which nobody is told."""
    program = Program("race", System, {"CPU0": lock_last, "CPU1": lock_first})
    verdict = explore(program)
    assert findings(verdict) == findings(explore(program, every_trace=True))
    assert {kind for kind, _ in findings(verdict)} == {"data race"}
    assert "every trace" in verdict.effort.search


class Patterned(Shared):
    """A field whose values have no form in which they can be compared between executions."""

    pattern: Pattern[str] | None

    def __init__(self) -> None:
        self.pattern = None


def test_what_cannot_be_compared_is_explored_in_every_trace() -> None:
    tasks = {name: lambda system: setattr(WRITE_ONCE(system), "pattern", re.compile("x")) for name in ("CPU0", "CPU1")}
    program = Program("patterns", Patterned, tasks)
    verdict = explore(program, EveryObservation())
    assert verdict.effort.search.startswith("every trace, as an execution is not what others were: Pattern")
    assert verdict.complete
    assert verdict.effort.executions == explore(program).effort.executions
