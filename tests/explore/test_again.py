"""What does not come to the same when the same is done again is told so, with the operation and both values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from swaplab.explore import Program, ProgramError, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared, Work, WorkQueue, queue_work

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
    assert count() < 3, "not today"


@pytest.mark.parametrize(
    ("task", "setup", "message"),
    [
        (write, System, r"CPU0: write System.v comes to 3, and came to 1 .*in write\)"),
        (add, System, r"CPU0: atomic_add System.n comes to \(3, None\), and came to \(1, None\) .*in add\)"),
        (read, change_setup, r"CPU0: read System.v comes to 3, and came to 1 .*in read\)"),
        (nothing_to_see, System, r"what CPU0 returns is 3, and was 1"),
        (fail_at_times, System, r"what breaks is \['invariant broken: not today'\], and was \[\]"),
    ],
)
def test_values_are_compared(task: Callable[[System], object], setup: Callable[[], System], message: str) -> None:
    with pytest.raises(ProgramError, match=rf"mine: {message}"):
        explore(Program("mine", setup, {"CPU0": task, "CPU1": read}))


class Hidden(System):
    """A number, a counter, and a state that nobody can see, made anew with each system."""

    def __init__(self) -> None:
        super().__init__()
        sys.setrecursionlimit(NONE)


def take_part(system: System) -> int:
    system.n.add(1)
    found = count()
    system.n.add(1)
    return found


def lose_an_update(system: System) -> None:
    system.n.add(1)
    before = sys.getrecursionlimit()
    system.n.add(1)
    sys.setrecursionlimit(before + 1)
    system.n.add(1)


def counted(_: System) -> bool:
    return sys.getrecursionlimit() == NONE + 2


@pytest.mark.parametrize("every_trace", [True, False])
@pytest.mark.parametrize(
    ("task", "invariants", "message"),
    [(take_part, {}, "what CPU0 returns is 2, and was 1"), (lose_an_update, {"counted": counted}, "what breaks is .*")],
)
def test_what_is_shared_and_never_watched(
    task: Callable[[System], object], invariants: dict[str, Callable[[System], bool]], message: str, every_trace: bool
) -> None:
    """Additions to a counter may come in any order, so one is run; another shows what else the tasks share."""

    def ends_late(system: System) -> object:
        found = task(system)
        system.n.add(1)
        return found

    order = "when operations that have nothing in common were done in another order"
    with pytest.raises(ProgramError, match=rf"mine: {message} {order}: tasks share something that nobody watches"):
        explore(Program("mine", Hidden, {"CPU0": ends_late, "CPU1": task}, invariants), every_trace=every_trace)


class Making(System):
    """Has work on two queues, which makes objects that are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Work(self, "first", lose, self), Work(self, "second", lose, self)
        self.queues = WorkQueue("q0"), WorkQueue("q1")


def lose(system: Making) -> None:
    system.n.add(1)
    System()


def test_names_do_not_depend_on_who_came_first() -> None:
    """Two tasks have deferred work of one name, which makes objects in one order or the other."""
    tasks = {
        "CPU0": lambda system: queue_work(system.queues[0], system.first),
        "CPU1": lambda system: queue_work(system.queues[1], system.second),
    }
    verdict = explore(Program("mine", Making, tasks), every_trace=True)
    assert isinstance(verdict, Violated)
    leaks = {each.sentence.split()[0] for each in verdict.violations}
    assert leaks == {"System#1@CPU0/lose", "System#1@CPU1/lose"}


def test_what_is_no_number_is_the_same_again() -> None:
    def draw(system: System) -> tuple[float, int]:
        system.n.add_return(float("nan"))  # type: ignore[arg-type]
        return (float("nan"), 1)

    assert explore(Program("mine", System, {"CPU0": draw, "CPU1": draw})).complete


@pytest.mark.parametrize("_again", range(20))
def test_random_numbers_never_are_a_verdict(_again: int) -> None:
    def draw(system: System) -> None:
        WRITE_ONCE(system).v = int(datetime.now().timestamp() * 1_000_000)

    program = Program("mine", System, {"CPU0": draw, "CPU1": draw}, {"even": lambda system: system.v % 2 == 0})
    with pytest.raises(ProgramError, match=r"write System.v comes to \d+, and came to \d+"):
        explore(program)
