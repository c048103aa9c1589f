"""Several processes run what one runs, and say the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explore.brute import trace
from tests.explore.test_dpor import TASK, Operation, Thing, make_task, outcome

from swaplab.explore import Program, ProgramError, Violated, explore, parallel
from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.parallel import Helper, Plan, Report
from swaplab.explore.runtime import Explorer
from swaplab.kernel.sync import Atomic, Shared
from swaplab.races.offline import matrix

Seen = list[tuple[object, object]]


def alone(program: Program[Thing], limit: int) -> Seen:
    """Every execution of one process; none if they are more than `limit`."""
    seen: Seen = []
    explorer = Explorer(program, search := OptimalSearch())

    def visit() -> bool:
        seen.append((outcome(explorer), trace(explorer)))
        return len(seen) <= limit

    return seen if search.run(explorer, visit) else []


def note(seen: Seen, explorer: Explorer) -> bool:
    seen.append((outcome(explorer), trace(explorer)))
    return True


class Noting(Helper):
    """Takes down what it runs, and gives work up whenever it may."""

    def __init__(self, seen: Seen, random: Random) -> None:
        self.reports: list[Report] = []
        super().__init__(lambda: random.random() < 0.5, lambda report: self.reports.append(deepcopy(report)))
        self.seen = seen

    def step(self, explorer: Explorer, visit: Callable[[], bool]) -> tuple[bool, bool]:
        found = super().step(explorer, lambda: note(self.seen, explorer))
        self.findings.shortest.clear()  # or it would stop
        return found


def shared(program: Program[Thing], random: Random) -> Seen:
    """Every execution of three processes that hear of each other late, in one process."""
    seen: Seen = []
    explorer = Explorer(program, search := OptimalSearch())
    with explorer.installed():
        is_left, _ = search.step(explorer, lambda: note(seen, explorer))
        plan = Plan()
        path = tuple(node.taken.task for node in search.nodes)
        for depth, node in enumerate(search.nodes if is_left else []):
            plan.add(path[:depth], node, is_taken=depth < len(path) - 1)
        while plan.open:
            late = []
            for _ in range(3):
                if plan.open:
                    path, job = plan.job()
                    explorer.strategy = helper = Noting(seen, random)
                    helper.do(explorer, deepcopy(job))
                    late.append((path, helper.reports))
            random.shuffle(late)
            for path, reports in late:
                for kept, report in zip([path, *(each.path for each in reports)], reports, strict=False):
                    plan.enter(kept, report)
    return seen


@settings(max_examples=50, deadline=None)
@given(st.lists(TASK, min_size=2, max_size=3), st.integers(0, 99))
def test_every_trace_once(tasks: list[list[Operation]], seed: int) -> None:
    program = Program("generated", Thing, {f"t{n}": make_task(each) for n, each in enumerate(tasks)})
    expected = alone(program, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "TURN", 1)
        found = shared(program, Random(seed)) if expected else []  # noqa: S311
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


@pytest.mark.parametrize(
    ("label", "breaks"),
    [
        ("add, list_lru feared, lookup tryget, lists at offline", True),
        ("add, list_lru 6.12, lookup tryget, lists at offline", False),
        ("removal, list_lru 6.13, lookup rcu, lists at offline", False),
    ],
)
def test_the_same_verdict(label: str, breaks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    program = next(cell.program for cell in matrix() if cell.label == label)
    monkeypatch.setattr(parallel, "ALONE", 20)
    verdict = explore(program, every_trace=True)
    assert explore(program, every_trace=True, processes=3) == verdict
    assert verdict.effort.executions > 20
    assert isinstance(verdict, Violated) == breaks


class Pair(Shared):
    """Two counters."""

    def __init__(self) -> None:
        self.counters = (Atomic(self, "a"), Atomic(self, "b"))


def flip(pair: Pair) -> None:
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)  # a number that outlives it
    for _ in range(5):
        pair.counters[sys.getrecursionlimit() > 3150].add_return(1)


def test_a_program_that_is_at_fault() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    with pytest.raises(ProgramError, match="is not what it was when the same was done before"):
        explore(Program("outlives", Pair, {"t0": flip, "t1": flip}), every_trace=True, processes=2)
    sys.setrecursionlimit(before)
