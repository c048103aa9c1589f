"""What does not come to the same when the same is done again is told so, with the operation and both values."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from swaplab.explore import Program, ProgramError, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared

NONE = 3000


class System(Shared):
    """A number, and a counter."""

    v: int
    runs: int

    def __init__(self) -> None:
        self.v = 0
        self.n = Atomic(self, "n")


def count() -> int:
    """A state that outlives executions, and that nobody can see."""
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    return sys.getrecursionlimit() - NONE


@pytest.fixture(autouse=True)
def _counted() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(NONE)
    yield
    sys.setrecursionlimit(before)


def write(system: System) -> None:
    WRITE_ONCE(system).v = count()


def add(system: System) -> None:
    system.n.add(count())


def change_setup() -> System:
    system = System()
    system.v = count()
    return system


def read(system: System) -> None:
    READ_ONCE(system).v  # noqa: B018


def nothing_to_see(system: System) -> int:
    READ_ONCE(system).v  # noqa: B018
    return count()


def fail_at_times(system: System) -> None:
    READ_ONCE(system).v  # noqa: B018
    assert count() % 2, "not today"


@pytest.mark.parametrize(
    ("task", "setup", "message"),
    [
        (write, System, r"CPU0: write System.v comes to 2, and came to 1 .*in write\)"),
        (add, System, r"CPU0: atomic_add System.n comes to \(2, None\), and came to \(1, None\) .*in add\)"),
        (read, change_setup, r"CPU0: read System.v comes to 2, and came to 1 .*in read\)"),
        (nothing_to_see, System, r"what CPU0 returns is 2, and was 1"),
        (fail_at_times, System, r"what breaks is \['invariant broken: not today'\], and was \[\]"),
    ],
)
def test_values_are_compared(task: Callable[[System], object], setup: Callable[[], System], message: str) -> None:
    with pytest.raises(ProgramError, match=rf"mine: {message}"):
        explore(Program("mine", setup, {"CPU0": task, "CPU1": read}))


def test_what_is_no_number_is_the_same_again() -> None:
    def draw(system: System) -> tuple[float, int]:
        system.n.add_return(float("nan"))  # type: ignore[arg-type]
        return (float("nan"), 1)

    assert explore(Program("mine", System, {"CPU0": draw, "CPU1": draw})).complete


@pytest.mark.parametrize("_again", range(20))
def test_random_numbers_never_are_a_verdict(_again: int) -> None:
    def draw(system: System) -> None:
        WRITE_ONCE(system).v = int.from_bytes(os.urandom(8), "little")

    program = Program("mine", System, {"CPU0": draw, "CPU1": draw}, {"even": lambda system: system.v % 2 == 0})
    with pytest.raises(ProgramError, match=r"write System.v comes to \d+, and came to \d+"):
        explore(program)
