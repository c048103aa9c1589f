"""What is a data race is what the kernel's memory model says, and what orders is what orders there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from swaplab.explore import Program, Violated, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    PercpuRef,
    Pointer,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    XArray,
    call_rcu,
    data_race,
    flush_work,
    queue_work,
    rcu,
    rcu_assign_pointer,
    rcu_dereference,
    relax,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    synchronize_rcu,
)


class Item(Shared):
    """Something that a task makes."""

    name: Final = "item"
    value: int
    next: Item | None

    def __init__(self) -> None:
        self.value = 1
        self.next = None


class Pair(Shared):
    """Something that another is embedded in."""

    first: Final[Item]

    def __init__(self) -> None:
        self.first = Item()


class System(Shared):
    """Data, and everything that may order accesses to it."""

    data: int
    flag: int
    other: int
    item: Item | None
    spare: Final[Item]
    pair: Pair | None

    def __init__(self) -> None:
        self.data = self.flag = self.other = 0
        self.item = None
        self.spare = Item()
        self.pair = None
        self.count = Atomic(self, "count", 1)
        self.second = Atomic(self, "second", 1)
        self.zero = Atomic(self, "zero", 0)
        self.ref = PercpuRef(self, "ref", lambda: None)
        self.pointer: Pointer[Item] = Pointer(self, "pointer")
        self.table: XArray[Item] = XArray(self, "table")
        self.lock = SpinLock(self, "lock")
        self.second_lock = SpinLock(self, "second_lock")
        self.queue = WorkQueue("queue")
        self.work = Work(self, "work", write, self)


Body = Callable[[System], object]


def then(*bodies: Body) -> Body:
    """Do one after the other, as far as they do not return False."""

    def run(system: System) -> None:
        all(body(system) is not False for body in bodies)

    return run


def write(system: System) -> None:
    system.data = 1


def read(system: System) -> None:
    _ = system.data


def write_once(system: System) -> None:
    WRITE_ONCE(system).data = 1


def read_once(system: System) -> None:
    _ = READ_ONCE(system).data


def set_flag(system: System) -> None:
    WRITE_ONCE(system).flag = 1


def is_flag_set(system: System) -> bool:
    return bool(READ_ONCE(system).flag)


def barrier(make: Callable[[], None]) -> Body:
    def run(system: System) -> None:
        make()

    return run


MB, WMB, RMB = barrier(smp_mb), barrier(smp_wmb), barrier(smp_rmb)


def raise_own(system: System) -> None:
    WRITE_ONCE(system).flag = 1


def raise_other(system: System) -> None:
    WRITE_ONCE(system).other = 1


def is_other_down(system: System) -> bool:
    return not READ_ONCE(system).other


def is_own_down(system: System) -> bool:
    return not READ_ONCE(system).flag


def set_flag_release(system: System) -> None:
    smp_store_release(system).flag = 1


def is_flag_set_acquire(system: System) -> bool:
    return bool(smp_load_acquire(system).flag)


def is_flag_dereferenced(system: System) -> bool:
    return bool(rcu_dereference(system).flag)


def wait_for_flag(load: Callable[[System], System]) -> Body:
    def run(system: System) -> None:
        while not load(system).flag:
            relax()

    return run


def publish(store: Callable[[System], System]) -> Body:
    def run(system: System) -> None:
        store(system).item = Item()

    return run


def change_and_publish(system: System) -> None:
    item = Item()
    item.value = 2
    rcu_assign_pointer(system).item = item


def use(load: Callable[[System], System]) -> Body:
    def run(system: System) -> None:
        with rcu:
            item = load(system).item
            if item:
                _ = item.value

    return run


def use_next(system: System) -> None:
    with rcu:
        item = rcu_dereference(system).item
        if item and item.next:
            _ = item.next.value


def publish_pair(system: System) -> None:
    item = Item()
    item.next = Item()
    rcu_assign_pointer(system).item = item


def publish_whole(system: System) -> None:
    rcu_assign_pointer(system).pair = Pair()


def use_part(system: System) -> None:
    with rcu:
        pair = rcu_dereference(system).pair
        if pair:
            _ = pair.first.value


def store_in_table(system: System) -> None:
    system.table.store(0, Item())


def use_from_table(system: System) -> None:
    with rcu:
        item = system.table.load(0)
        if item:
            _ = item.value


def under(lock: str, body: Body) -> Body:
    def run(system: System) -> None:
        with getattr(system, lock):
            body(system)

    return run


def write_if_trylock(system: System) -> None:
    if system.lock.try_acquire():
        system.lock.release()
    else:
        write(system)


def later(system: System) -> None:
    queue_work(system.queue, system.work)
    flush_work(system.work)


def after_grace_period(system: System) -> None:
    call_rcu(write, system)


def write_unless_flag(system: System) -> None:
    with rcu:
        if not READ_ONCE(system).flag:
            system.data = 1


RACES: dict[str, tuple[Body, ...]] = {
    "plain writes": (write, write),
    "a plain write and a marked read": (write, read_once),
    "a plain read and a marked write": (read, write_once),
    # Not only the last conflicting access counts.
    "a marked read after the write": (write, then(read_once, write_once)),
    "a marked write of a third after the write": (write, write_once, write_once),
    "an ordered write after the write": (
        then(write, set_flag_release),
        then(is_flag_set_acquire, write_once),
        read,
    ),
    # What orders nothing.
    "percpu references": (
        then(lambda s: s.ref.get(), write, lambda s: s.ref.put()),
        then(lambda s: s.ref.tryget(), read),
    ),
    "live percpu references": (then(write, lambda s: s.ref.get()), then(lambda s: s.ref.tryget_live(), read)),
    "additions": (then(write, lambda s: s.count.add(1)), then(lambda s: s.count.read() == 2, read)),
    "additions and a full operation": (then(write, lambda s: s.count.add(1)), then(lambda s: s.count.xchg(0), read)),
    "relax": (then(write, set_flag), then(wait_for_flag(READ_ONCE), read)),
    "a failed cmpxchg": (then(write, lambda s: s.count.xchg(2)), then(lambda s: s.count.cmpxchg(7, 8) == 2, read)),
    "a failed cmpxchg, as a release": (
        then(write, lambda s: s.count.cmpxchg(7, 8)),
        then(lambda s: s.count.add_return(1), read),
    ),
    "a failed cmpxchg of a pointer": (
        then(write, lambda s: s.pointer.cmpxchg(None, Item())),
        then(lambda s: s.pointer.cmpxchg(None, None) is not None, read),
    ),
    "a failed inc_not_zero": (
        then(write, lambda s: s.count.add_return(-1)),
        then(lambda s: not s.count.inc_not_zero(), read),
    ),
    "a failed trylock": (under("lock", write), write_if_trylock),
    "different locks": (under("lock", write), under("second_lock", write)),
    "a relaxed flag": (then(write, set_flag), then(is_flag_set, read)),
    "a release without acquire": (then(write, set_flag_release), then(is_flag_set, read)),
    "an acquire without release": (then(write, set_flag), then(is_flag_set_acquire, read)),
    "a flag that is dereferenced": (then(write, set_flag_release), then(is_flag_dereferenced, read)),
    "a relaxed store in between": (
        then(write, set_flag_release),
        then(is_flag_set_acquire, lambda s: setattr(WRITE_ONCE(s), "other", 1)),
        then(lambda s: bool(smp_load_acquire(s).other), read),
    ),
    # What barriers do not order.
    "no smp_rmb": (then(write, WMB, set_flag), then(is_flag_set, read)),
    "no smp_wmb": (then(write, set_flag), then(is_flag_set, RMB, read)),
    "smp_rmb instead of smp_wmb": (then(write, RMB, set_flag), then(is_flag_set, RMB, read)),
    "smp_wmb instead of smp_rmb": (then(write, WMB, set_flag), then(is_flag_set, WMB, read)),
    "smp_wmb after a load": (then(read, WMB, set_flag), then(is_flag_set, MB, write)),
    "smp_rmb before a store": (then(write, MB, set_flag), then(is_flag_set, RMB, write)),
    "a barrier before the load": (then(write, MB, set_flag), then(MB, is_flag_set, read)),
    "stores through a third": (
        then(write, WMB, set_flag),
        then(is_flag_set, RMB, raise_other),
        then(lambda s: bool(READ_ONCE(s).other), RMB, read),
    ),
    # What a new object holds is stored plainly.
    "an object published without release": (publish(WRITE_ONCE), use(rcu_dereference)),
    "an object published and read without marks": (publish(WRITE_ONCE), use(READ_ONCE)),
    "a read section that nothing waits for": (then(set_flag, write), write_unless_flag),
}

ORDERED: dict[str, tuple[Body, ...]] = {
    "marked accesses": (write_once, then(read_once, write_once)),
    "plain reads": (read, then(read, read_once)),
    "a race that is known": (write, lambda system: data_race(system).data),
    "a lock": (under("lock", write), under("lock", then(write, read))),
    "release and acquire": (then(write, set_flag_release), then(is_flag_set_acquire, read)),
    "release, relax and acquire": (then(write, set_flag_release), then(wait_for_flag(smp_load_acquire), read)),
    "a release that is added to": (
        then(write, lambda s: s.zero.xchg(1), lambda s: s.zero.add(1)),
        then(lambda s: s.zero.add_return(1) == 3, read),
    ),
    "full operations": (then(write, lambda s: s.zero.xchg(1)), then(lambda s: s.zero.xchg(2) == 1, read)),
    "a cmpxchg that succeeds": (
        then(write, lambda s: s.zero.xchg(1)),
        then(lambda s: s.zero.cmpxchg(1, 2) == 1, read),
    ),
    "a full operation between other variables, twice": (
        then(write, lambda s: s.count.add_return(1), set_flag),
        then(is_flag_set, lambda s: s.second.add_return(1), read),
    ),
    "smp_wmb and smp_rmb": (then(write, WMB, set_flag), then(is_flag_set, RMB, read)),
    "smp_mb": (then(write, MB, set_flag), then(is_flag_set, MB, read)),
    "smp_mb around stores": (then(write, MB, set_flag), then(is_flag_set, MB, write)),
    "smp_wmb and an acquire": (then(write, WMB, set_flag), then(is_flag_set_acquire, read)),
    "a release and smp_rmb": (then(write, set_flag_release), then(is_flag_set, RMB, read)),
    "smp_mb through a third": (
        then(write, WMB, set_flag),
        then(is_flag_set, MB, raise_other),
        then(lambda s: bool(READ_ONCE(s).other), RMB, read),
    ),
    "smp_wmb and a pointer": (
        then(lambda s: setattr(s.spare, "value", 2), WMB, lambda s: setattr(WRITE_ONCE(s), "item", s.spare)),
        use(READ_ONCE),
    ),
    "flags of two": (then(raise_own, MB, is_other_down, write), then(raise_other, MB, is_own_down, read)),
    "a read before a write of a third": (
        then(read, set_flag_release),
        then(is_flag_set_acquire, lambda s: setattr(WRITE_ONCE(s), "other", 1)),
        then(lambda s: bool(smp_load_acquire(s).other), write),
    ),
    "a pointer that is dereferenced": (publish(rcu_assign_pointer), use(rcu_dereference)),
    "a pointer that is read with a mark": (publish(rcu_assign_pointer), use(READ_ONCE)),
    "what is stored before it is published": (change_and_publish, use(rcu_dereference)),
    "a pointer in what is dereferenced": (publish_pair, use_next),
    "what is embedded in what is dereferenced": (publish_whole, use_part),
    "an array of pointers": (store_in_table, use_from_table),
    "a grace period": (then(set_flag, lambda _: synchronize_rcu(), write), write_unless_flag),
    "a callback": (then(set_flag, after_grace_period), write_unless_flag),
    "work": (then(write, later, write),),
}


def check(name: str, tasks: tuple[Body, ...]) -> set[str]:
    """Return the kinds of bugs, whatever the tasks are called."""
    found: set[str] = set()
    for order in (tasks, tasks[::-1]):
        verdict = explore(Program(name, System, {f"CPU{n}": task for n, task in enumerate(order)}, {}))
        found |= {each.kind for each in verdict.violations} if isinstance(verdict, Violated) else {""}
    return found


@pytest.mark.parametrize("name", RACES)
def test_race(name: str) -> None:
    assert check(name, RACES[name]) == {"data race"}


@pytest.mark.parametrize("name", ORDERED)
def test_no_race(name: str) -> None:
    assert check(name, ORDERED[name]) == {""}


def sentences(*tasks: Body) -> set[str]:
    verdict = explore(Program("report", System, {f"CPU{n}": task for n, task in enumerate(tasks)}, {}))
    assert isinstance(verdict, Violated)
    return {each.sentence for each in verdict.violations}


def test_report() -> None:
    assert sentences(write, read_once) == {
        "data-race in read_once / write: marked read by CPU1, write by CPU0, of System.data"
    }
    assert sentences(read_once, write) == {
        "data-race in read_once / write: marked read by CPU0, write by CPU1, of System.data"
    }
    assert sentences(write, write) == {"data-race in write / write: write by CPU0, write by CPU1, of System.data"}


def test_report_of_an_object_that_is_not_published() -> None:
    assert sentences(publish(WRITE_ONCE), use(READ_ONCE)) == {
        "data-race in __init__ / run: write by CPU0, read by CPU1, of Item#1@CPU0.value"
    }


def test_every_race_is_reported() -> None:
    """Not only the one with the last access: the marked read in between hides nothing."""
    assert sentences(then(write, read_once), then(read, write_once)) == {
        "data-race in read / write: read by CPU1, write by CPU0, of System.data",
        "data-race in write / write_once: write by CPU0, marked write by CPU1, of System.data",
    }
