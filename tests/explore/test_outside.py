"""What a part holds is for its operations: a task that looks at it otherwise, or changes it, is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from swaplab.explore import Program, ProgramError, explore
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import (
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
    XArray,
)
from swaplab.kernel.vmstat import Counters


class System(Shared):
    """A part of each kind."""

    def __init__(self) -> None:
        self.atomic = Atomic(self, "atomic", 1)
        self.pointer: Pointer[System] = Pointer(self, "pointer")
        self.ref = PercpuRef(self, "ref", lambda: None)
        self.array: Array[int] = Array(self, "array", [0])
        self.bitmap = Bitmap(self, "bitmap", 1)
        self.table: Table[int, int] = Table(self, "table")
        self.xarray: XArray[int] = XArray(self, "xarray")
        self.list: ListHead[System] = ListHead(self, "list")
        self.other: ListHead[System] = ListHead(self, "other")
        self.node = ListNode(self, "node")
        self.lock = SpinLock(self, "lock")
        self.work = Work(self, "work", lambda: None)
        self.zone = Zone(1)
        self.events = Counters("events")


LOOKS: dict[str, Callable[[Any], object]] = {
    "System.atomic": lambda s: s.atomic.value,
    "System.pointer": lambda s: s.pointer.target,
    "System.ref": lambda s: (s.ref.count, s.ref.is_dying, s.ref.is_atomic, s.ref.is_counted),
    "System.array": lambda s: s.array.items[0],
    "System.bitmap": lambda s: s.bitmap.items[0],
    "System.table": lambda s: s.table.items.get(1),
    "System.xarray": lambda s: s.xarray.items.get(1),
    "System.list": lambda s: (s.list.nodes(), s.list.entries()),
    "System.other": lambda s: (s.other.next, s.other.prev),
    "System.node": lambda s: (s.node.head, s.node.next, s.node.prev),
    "System.lock": lambda s: s.lock.holder,
    "System.work": lambda s: s.work.is_pending,
    "zone": lambda s: s.zone.free,
    "events": lambda s: s.events.counts,
}


def count(system: System) -> None:
    system.atomic.add(1)


@pytest.mark.parametrize("part", LOOKS)
def test_tasks_look_by_operations_only(part: str) -> None:
    def look(system: System) -> None:
        count(system)
        LOOKS[part](system)

    with pytest.raises(ProgramError, match=f"CPU1 looks into {part}, or changes it, unseen"):
        explore(Program("look", System, {"CPU0": count, "CPU1": look}))


@pytest.mark.parametrize(("part", "name"), [("atomic", "value"), ("pointer", "target"), ("ref", "count")])
def test_tasks_change_by_operations_only(part: str, name: str) -> None:
    def change(system: System) -> None:
        count(system)
        setattr(getattr(system, part), name, 5)

    with pytest.raises(ProgramError, match=f"CPU1 looks into System.{part}, or changes it, unseen"):
        explore(Program("change", System, {"CPU0": count, "CPU1": change}))


@pytest.mark.parametrize("part", LOOKS)
def test_setup_and_invariants_may_look(part: str) -> None:
    def set_up() -> System:
        system = System()
        LOOKS[part](system)
        return system

    def look(system: System) -> bool:
        LOOKS[part](system)
        return True

    assert explore(Program("look", set_up, {"CPU0": count, "CPU1": count}, {"seen": look})).complete
