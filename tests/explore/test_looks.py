"""An invariant looks, and changes nothing: those after it would see that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from swaplab.explore import Holds, Program, ProgramError, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    Bitmap,
    ListHead,
    ListNode,
    PercpuRef,
    Pointer,
    Shared,
    SpinLock,
    Table,
    Work,
    WorkQueue,
    XArray,
    call_rcu,
    kfree,
    queue_work,
    rcu,
)


class System(Shared):
    """A part of each kind."""

    v: int

    def __init__(self) -> None:
        self.v = 0
        self.lock = SpinLock(self, "lock")
        self.atomic = Atomic(self, "atomic")
        self.pointer: Pointer[System] = Pointer(self, "pointer")
        self.ref = PercpuRef(self, "ref", lambda: None)
        self.array: Array[int] = Array(self, "array", [0])
        self.bitmap = Bitmap(self, "bitmap", 1)
        self.table: Table[int, int] = Table(self, "table")
        self.xarray: XArray[int] = XArray(self, "xarray")
        self.list: ListHead[System] = ListHead(self, "list")
        self.node = ListNode(self, "node")
        self.work = Work(self, "work", lambda: None)
        self.queue = WorkQueue("queue")


CHANGES: dict[str, Callable[[System], object]] = {
    "writes System.v": lambda s: setattr(s, "v", 1),
    "writes System.v by a mark": lambda s: setattr(WRITE_ONCE(s), "v", 1),
    "sets or deletes System.extra": lambda s: setattr(s, "extra", 1),
    "sets or deletes System.lock": lambda s: delattr(s, "lock"),
    "takes System.lock": lambda s: s.lock.acquire(),
    "takes System.lock by with": lambda s: s.lock.__enter__(),
    "takes System.lock if it is free": lambda s: s.lock.try_acquire(),
    "releases System.lock": lambda s: s.lock.release(),
    "frees System": kfree,
    "does atomic_add to System.atomic": lambda s: s.atomic.add(1),
    "does percpu_ref_tryget to System.ref": lambda s: s.ref.tryget(),
    "does write to System.array[0]": lambda s: s.array.__setitem__(0, 1),
    "does set_bit to System.bitmap[0]": lambda s: s.bitmap.set_bit(0),
    "does write to System.table[1]": lambda s: s.table.__setitem__(1, 1),
    "takes System.xarray.xa_lock": lambda s: s.xarray.store(1, 1),
    "does list_add to System.list": lambda s: s.list.add(s.node),
    "queues System.work": lambda s: queue_work(s.queue, s.work),
    "defers print": lambda _: call_rcu(print),
}


def write(system: System) -> None:
    WRITE_ONCE(system).v = 1


def looking(look: Callable[[System], object]) -> Program[Any]:
    def check(system: System) -> bool:
        with suppress(Exception):
            look(system)
        return True

    return Program("mine", System, {"CPU0": write, "CPU1": write}, {"looks": check})


@pytest.mark.parametrize("what", CHANGES)
def test_invariants_change_nothing(what: str) -> None:
    said = what.partition(" by ")[0].partition(" if ")[0].replace("[", r"\[")
    with pytest.raises(ProgramError, match=f'mine: the invariant "looks" {said}.*: an invariant only looks'):
        explore(looking(CHANGES[what]))


def look_at_all(system: System) -> bool:
    with rcu:
        assert READ_ONCE(system).v == system.v
    assert not system.atomic.read()
    assert not system.array[0]
    assert not system.bitmap.test_bit(0)
    assert not system.table.get(1)
    assert system.list.empty()
    assert not [*system.list]
    assert system.node.empty()
    return not system.work.pending()


def test_invariants_look_at_whatever_they_like() -> None:
    program = looking(lambda _: None)
    holds = {"looks": look_at_all}
    assert isinstance(explore(Program("mine", System, program.tasks, holds)), Holds)
