"""A null pointer that is followed is a bug of the system; any other missing attribute is one of the program."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from swaplab.explore import Holds, Program, ProgramError, Violated, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Shared,
    data_race,
    rcu_assign_pointer,
    rcu_dereference,
    smp_load_acquire,
    smp_store_release,
)


class Stock(Shared):
    """Caches a pointer."""

    cached: Any

    def __init__(self) -> None:
        self.cached = self


def drain(stock: Stock) -> None:
    WRITE_ONCE(stock).cached = None


def check_and_use(stock: Stock) -> None:
    if READ_ONCE(stock).cached:
        READ_ONCE(stock).cached.label.strip()


def drain_and_write(stock: Stock) -> None:
    drain(stock)
    WRITE_ONCE(READ_ONCE(stock).cached).cached = None


def test_null_is_followed_where_the_check_is_not_the_use() -> None:
    assert isinstance(explore(Program("null", Stock, {"CPU0": check_and_use})), Holds)
    verdict = explore(Program("null", Stock, {"CPU0": check_and_use, "CPU1": drain}))
    assert isinstance(verdict, Violated)
    (found,) = verdict.violations
    assert (found.kind, found.preemptions) == ("null dereference", 1)
    assert found.sentence == "CPU0 follows a null pointer to its label"


def test_null_is_not_written_through() -> None:
    verdict = explore(Program("null", Stock, {"CPU0": drain_and_write}))
    assert isinstance(verdict, Violated)
    assert [each.sentence for each in verdict.violations] == ["CPU0 follows a null pointer to its cached"]


def test_what_a_program_misspells_is_its_own_fault() -> None:
    with pytest.raises(ProgramError, match="colour"):
        explore(Program("null", Stock, {"CPU0": lambda stock: stock.colour}))


MARKS: list[Callable[[Any], Any]] = [
    READ_ONCE,
    WRITE_ONCE,
    smp_load_acquire,
    smp_store_release,
    rcu_dereference,
    rcu_assign_pointer,
    data_race,
]
FOLLOWS: dict[str, Callable[[Any], object]] = {
    "cached": lambda marked: marked.cached,
    "other": lambda marked: setattr(marked, "other", 1),
    "element 3": lambda marked: marked[3],
    "element 4": lambda marked: marked.__setitem__(4, 1),
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("name", FOLLOWS)
def test_a_marked_access_through_null_is_found_even_if_caught(mark: Callable[[Any], Any], name: str) -> None:
    def use(stock: Stock) -> None:
        with suppress(Exception):
            FOLLOWS[name](mark(READ_ONCE(stock).cached and None))

    verdict = explore(Program("null", Stock, {"CPU0": use, "CPU1": drain}))
    assert isinstance(verdict, Violated)
    assert [each.sentence for each in verdict.violations] == [f"CPU0 follows a null pointer to its {name}"]
