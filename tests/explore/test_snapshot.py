"""Every execution begins with the same system, whether setup has just made it or it was put back."""

from __future__ import annotations

from typing import Any

from swaplab.explore import Holds, Program, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    Bitmap,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Pointer,
    Shared,
    SpinLock,
    Table,
    Work,
    WorkQueue,
    XArray,
    is_freed,
    kfree,
    queue_work,
    rcu_assign_pointer,
)


class Entry(Shared):
    """Something on a list."""

    def __init__(self) -> None:
        self.node = ListNode(self, "node")


class Everything(Shared):
    """A part of each kind, and fields."""

    field: int
    entry: Any

    def __init__(self) -> None:
        self.field = 0
        self.entry = None
        self.lock = SpinLock(self, "lock")
        self.mutex = Mutex(self, "mutex")
        self.count = Atomic(self, "count", 1)
        self.ref = PercpuRef(self, "ref", lambda: None)
        self.pointer: Pointer[Entry] = Pointer(self, "pointer")
        self.array = Array(self, "array", [0, 0])
        self.bits = Bitmap(self, "bits", 2)
        self.table: Table[str, int] = Table(self, "table")
        self.xarray: XArray[Entry] = XArray(self, "xarray")
        self.head: ListHead[Entry] = ListHead(self, "head")
        self.first, self.second = Entry(), Entry()
        self.head.add_tail(self.first.node)
        self.queue = WorkQueue("queue")
        self.work = Work(self, "work", grow, self)
        self.table["one"] = 1


def grow(system: Everything) -> None:
    system.count.add(10)


def change(system: Everything) -> None:
    queue_work(system.queue, system.work)
    made = Entry()
    with system.lock:
        system.field += 1
        system.array[1] += 1
        system.bits.set_bit(1)
        system.table["two"] = 2
        system.table.pop("one")
        system.xarray.store(3, made)
        system.head.add_tail(system.second.node)
        system.first.node.delete()
    with system.mutex:
        system.count.add(1)
    rcu_assign_pointer(system).entry = system.second
    system.pointer.cmpxchg(None, system.second)
    system.ref.get()
    kfree(system.first)


def look(system: Everything) -> None:
    READ_ONCE(system).entry  # noqa: B018
    system.count.read()
    WRITE_ONCE(system).entry = None


def test_all_is_put_back() -> None:
    def as_expected(system: Everything) -> bool:
        return (
            (system.field, system.count.value, system.array.items, system.ref.count) == (1, 12, [0, 1], 2)
            and [*system.bits.items] == [0, 1]
            and system.table.items == {"two": 2}
            and [*system.xarray.items] == [3]
            and system.head.entries() == [system.second]
            and is_freed(system.first)
            and not is_freed(system.second)
            and not system.work.is_pending
        )

    program = Program("put back", Everything, {"A": change, "B": look}, {"as expected": as_expected})
    verdict = explore(program, every_trace=True)
    assert isinstance(verdict, Holds)
    assert verdict.effort.executions > 5


def test_locks_of_those_who_have_crashed_are_free_again() -> None:
    def crash(system: Everything) -> None:
        with system.lock:
            system.field += 1
            READ_ONCE(system.entry).node  # noqa: B018

    def wait(system: Everything) -> None:
        with system.lock:
            system.field += 1

    verdict = explore(Program("crash", Everything, {"A": crash, "B": wait}), every_trace=True)
    assert {each.kind for each in verdict.violations} == {"null dereference"}  # type: ignore[union-attr]
    assert verdict.effort.executions == 2
