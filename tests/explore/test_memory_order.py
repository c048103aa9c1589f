"""A verdict carries over to Linux's memory order only where what conflicts is ordered by more than chance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swaplab.explore import Holds, Program, explore, parallel
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    call_rcu,
    data_race,
    flush_work,
    queue_work,
    rcu,
    smp_load_acquire,
    smp_mb,
    smp_store_release,
)


class System(Shared):
    """Two fields, two counters and a lock."""

    x: int
    y: int

    def __init__(self) -> None:
        self.x = self.y = 0
        self.n = Atomic(self, "n")
        self.m = Atomic(self, "m")
        self.lock = SpinLock(self, "lock")
        self.ref = PercpuRef(self, "ref", lambda: None)
        self.queue = WorkQueue("queue")
        self.work = Work(self, "work", under_lock, self)


Body = Callable[[System], object]


def under_lock(system: System) -> None:
    with system.lock:
        system.x += 1
        WRITE_ONCE(system).y = READ_ONCE(system).x


def store(field: str, other: str, barrier: Callable[[], None] = lambda: None) -> Body:
    """Store one field and load the other: what a store buffer changes."""

    def run(system: System) -> int:
        setattr(WRITE_ONCE(system), field, 1)
        barrier()
        return int(getattr(READ_ONCE(system), other))

    return run


def exchange(system: System) -> int:
    system.n.add_return(1)
    return system.m.xchg(1)


def exchange_back(system: System) -> int:
    system.m.add_return(1)
    return system.n.xchg(1)


def count(system: System) -> None:
    system.n.add(1)
    system.m.add(1)


def send(system: System) -> None:
    system.x = 1
    smp_store_release(system).y = 1


def receive(system: System) -> None:
    if smp_load_acquire(system).y:
        _ = system.x


def try_lock(system: System) -> None:
    if system.lock.try_acquire():
        system.lock.release()


def store_later(system: System) -> None:
    def callback(late: System) -> None:
        with late.lock:
            late.x = 1

    call_rcu(callback, system)


def load_in_section(system: System) -> None:
    with rcu, system.lock:
        _ = system.x


def glance(system: System) -> None:
    _ = data_race(system).x


def get_and_put(system: System) -> None:
    system.ref.get()
    system.ref.put()


def work(system: System) -> None:
    system.x = 1
    queue_work(system.queue, system.work)
    flush_work(system.work)
    _ = system.y


CARRIES_OVER: dict[str, tuple[Body, ...]] = {
    "a lock": (under_lock, under_lock),
    "fully ordered operations": (exchange, exchange_back),
    "additions that nobody looks at": (count, count),
    "references that nobody counts": (get_and_put, get_and_put),
    "work": (work,),
    "a lock, after a grace period": (store_later, load_in_section),
}

MAY_MATTER: dict[str, tuple[set[tuple[str, str]], tuple[Body, ...]]] = {
    "a store buffer": (
        {("CPU0: read System.y", "CPU1: write System.y"), ("CPU0: write System.x", "CPU1: read System.x")},
        (store("x", "y"), store("y", "x")),
    ),
    # It does not, with barriers; but nobody has looked whether there are enough of them.
    "a store buffer with barriers": (
        {("CPU0: read System.y", "CPU1: write System.y"), ("CPU0: write System.x", "CPU1: read System.x")},
        (store("x", "y", smp_mb), store("y", "x", smp_mb)),
    ),
    "release and acquire": ({("CPU0: write System.y", "CPU1: read System.y")}, (send, receive)),
    "an addition and who looks at it": (
        {("CPU0: atomic_add System.n", "CPU1: atomic_xchg System.n")},
        (lambda system: system.n.add(1), lambda system: system.n.xchg(0)),
    ),
    "a trylock that fails": (
        {("CPU0: spin_lock System.lock", "CPU1: spin_trylock System.lock")},
        (under_lock, try_lock),
    ),
    "a cmpxchg that fails": (
        {("CPU0: atomic_cmpxchg System.n", "CPU1: atomic_add_return System.n")},
        (lambda system: system.n.cmpxchg(5, 6), lambda system: system.n.add_return(1)),
    ),
    "a known race": ({("CPU0: write System.x", "CPU1: read System.x")}, (under_lock, glance)),
}


def unsure(tasks: tuple[Body, ...]) -> set[tuple[str, str]]:
    verdict = explore(Program("order", System, {f"CPU{n}": task for n, task in enumerate(tasks)}))
    assert isinstance(verdict, Holds)
    return {(pair.first, pair.second) for pair in verdict.unsure}


@pytest.mark.parametrize("name", CARRIES_OVER)
def test_carries_over(name: str) -> None:
    assert not unsure(CARRIES_OVER[name])


@pytest.mark.parametrize("name", MAY_MATTER)
def test_may_matter(name: str) -> None:
    pairs, tasks = MAY_MATTER[name]
    assert unsure(tasks) == pairs


def test_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others find to be unsure is as unsure."""
    monkeypatch.setattr(parallel, "ALONE", 1)
    bodies = (store("x", "y"), store("y", "x"), store("x", "y"), exchange, exchange_back)
    program = Program("shared", System, {f"CPU{n}": body for n, body in enumerate(bodies)})
    alone, shared = (explore(program, every_trace=True, processes=processes) for processes in (1, 2))
    assert isinstance(alone, Holds)
    assert shared == alone
    assert len(alone.unsure) == 5
