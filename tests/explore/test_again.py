"""What does not come to the same when the same is done again is told so, with the operation and both values."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from swaplab.explore import Program, ProgramError, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared


class System(Shared):
    """A number, and a counter."""

    v: int
    runs: int

    def __init__(self) -> None:
        self.v = 0
        self.n = Atomic(self, "n")


def count() -> int:
    """A state that outlives executions, and that nobody can see."""
    os.environ["RUNS"] = str(int(os.environ["RUNS"]) + 1)
    return int(os.environ["RUNS"])


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS", "0")


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


@pytest.mark.parametrize("seed", range(20))
def test_random_numbers_never_are_a_verdict(seed: int) -> None:
    random.seed(seed)

    def draw(system: System) -> None:
        WRITE_ONCE(system).v = random.randrange(1 << 30)  # noqa: S311

    program = Program("mine", System, {"CPU0": draw, "CPU1": draw}, {"even": lambda system: system.v % 2 == 0})
    with pytest.raises(ProgramError, match=r"write System.v comes to \d+, and came to \d+"):
        explore(program)
