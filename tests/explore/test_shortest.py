"""A violation's schedule has the fewest preemptions that there are: running all executions with fewer shows none."""

from __future__ import annotations

from typing import Any

import pytest
from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.translate import translate

from swaplab.explore import FewPreemptions, Program, ProgramError, Verdict, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared, SpinLock

SOUND = ("straight", "trylocks", "xarray", "work")
"""Themes in which nothing breaks."""
SEEDS = 20
BROKEN = 2
EXECUTIONS_MAX = 150
BOUNDED_MAX = 1_000


def kinds(verdict: Verdict, preemptions_max: int) -> set[tuple[str, str]]:
    """What breaks with so few."""
    violations = verdict.violations if isinstance(verdict, Violated) else []
    return {(each.kind, each.sentence) for each in violations if each.preemptions <= preemptions_max}


def explored(program: Program[Any]) -> Verdict | None:
    """The verdict; none if tasks have nothing in common, which is refused."""
    try:
        return explore(program, executions_max=EXECUTIONS_MAX)
    except ProgramError as error:
        if "no two tasks have touched the same" in str(error):
            return None
        raise


@pytest.mark.parametrize("theme", [theme for theme in THEMES if theme not in SOUND])
def test_no_execution_with_fewer_breaks_the_same(theme: str) -> None:
    compared = seed = 0
    while compared < BROKEN and seed < SEEDS:
        generated = random_program(theme, seed)
        seed += 1
        program: Program[Any] = translate(generated, tuple(range(len(generated))))
        verdict = explored(program)
        if not isinstance(verdict, Violated) or verdict.limit:
            continue
        assert all(each.fewest for each in verdict.violations)
        for bound in range(max(each.preemptions for each in verdict.violations) + 1):
            bounded = explore(program, search := FewPreemptions(bound), executions_max=BOUNDED_MAX)
            if search.executions == BOUNDED_MAX:
                break
            assert kinds(verdict, bound) == kinds(bounded, len(generated) * 100), (theme, seed, bound)
            compared += 1
    assert compared


class Counter(Shared):
    """A counter, and another that nobody looks at."""

    v: int

    def __init__(self) -> None:
        self.v = 0
        self.lock = SpinLock(self, "lock")
        self.n = Atomic(self, "n")


def lose(counter: Counter) -> None:
    WRITE_ONCE(counter).v = READ_ONCE(counter).v + 1


def count(counter: Counter) -> None:
    with counter.lock:
        lose(counter)


def test_tasks_that_have_nothing_to_do_with_it() -> None:
    """Their orders are not tried one by one: there are more than anybody could look at."""
    tasks = {"CPU0": lose, "CPU1": lose, "CPU2": count, "CPU3": count}
    others = {f"other{n}": lambda counter: counter.n.add(1) for n in range(20)}
    verdict = explore(Program("many", Counter, {**tasks, **others}, {"all": lambda counter: counter.v == 4}))
    assert isinstance(verdict, Violated)
    (found,) = verdict.violations
    assert (found.preemptions, found.fewest) == (1, True)
