"""What nobody reaches any more has to be freed, even if something that is gone still points at it."""

from __future__ import annotations

from swaplab.explore import Program, Violated, explore
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, Work, WorkQueue, call_rcu, kfree, queue_work


class Item(Shared):
    """Points at another."""

    other: Item | None

    def __init__(self, other: Item | None = None) -> None:
        self.other = other


class System(Shared):
    """Points at one that points at another, and has what knows of tasks."""

    item: Item | None

    def __init__(self) -> None:
        self.item = None
        self.work, self.queue = Work(self, "work", self.nothing), WorkQueue("queue")
        self.lock = SpinLock(self, "lock")

    def nothing(self) -> None:
        """What is done later."""


class Locked(System):
    """A lock of it is held from the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.lock.acquire()


def leaks(*tasks: object, setup: type[System] = System) -> set[str]:
    verdict = explore(Program("leaks", setup, {f"CPU{n}": task for n, task in enumerate(tasks)}))  # type: ignore[misc]
    return {each.kind for each in verdict.violations} if isinstance(verdict, Violated) else set()


def free_first(system: System) -> None:
    item = Item(Item())
    WRITE_ONCE(system).item = item
    kfree(item)


def free_both(system: System) -> None:
    other = Item()
    item = Item(other)
    WRITE_ONCE(system).item = item
    kfree(other)
    kfree(item)


def keep_both(system: System) -> None:
    WRITE_ONCE(system).item = Item(Item())


def test_what_only_a_freed_object_points_at_is_lost() -> None:
    assert leaks(free_first) == {"leak"}


def test_what_is_freed_or_reached_is_not() -> None:
    assert leaks(free_both) == set()
    assert leaks(keep_both) == set()


def queue_and_lose(system: System) -> None:
    queue_work(system.queue, system.work)
    Item()


def defer_and_lose(system: System) -> None:
    call_rcu(system.nothing)
    Item()


def lose(_: System) -> None:
    Item()


def test_what_work_and_locks_know_of_tasks_holds_nothing() -> None:
    assert leaks(queue_and_lose) == leaks(defer_and_lose) == leaks(lose, setup=Locked) == {"leak"}


class Dropped(System):
    """Setup makes one item that nothing points at, and one that something will point at no more."""

    def __init__(self) -> None:
        super().__init__()
        Item()
        self.item = Item()


def let_go(system: System) -> None:
    WRITE_ONCE(system).item = None


def free_and_let_go(system: System) -> None:
    item = READ_ONCE(system).item
    assert item
    WRITE_ONCE(system).item = None
    kfree(item)


class Kept(System):
    """Setup makes an item."""

    def __init__(self) -> None:
        super().__init__()
        self.item = Item()


def test_what_setup_has_made_can_be_lost_too() -> None:
    assert leaks(lambda system: system.nothing(), setup=Dropped) == {"leak"}
    assert leaks(let_go, setup=Kept) == {"leak"}
    assert leaks(free_and_let_go, setup=Kept) == set()
    assert leaks(lambda system: system.nothing(), setup=Kept) == set()
