"""struct xarray: an array of pointers, read under RCU, written under its lock."""

from __future__ import annotations

from typing import Generic, TypeVar

from swaplab.kernel.sync.locks import SpinLock
from swaplab.kernel.sync.runtime import ACQUIRE, READ, RELEASE, WRITE, current
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["XArray"]

T = TypeVar("T")
FULL = WRITE | ACQUIRE | RELEASE


class Slot(Part):
    """One index of an array, which is what operations on it conflict about."""

    __slots__ = ()


class XArray(Part, Generic[T]):
    """An array of pointers.

    Writers hold the lock: `store`, `erase` and `cmpxchg` take it themselves, `store_locked` leaves it to the caller.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.

    Attributes:
        lock: xa_lock.
        items: what is there, by index; for looks from outside that are no operation of a task.
    """

    __slots__ = ("items", "lock", "slots")

    def __init__(self, owner: Shared | None, name: str) -> None:
        super().__init__(owner, name)
        self.lock = SpinLock(owner, f"{name}.xa_lock")
        self.items: dict[int, T] = {}
        self.slots: dict[int, Slot] = {}

    def _slot(self, index: int) -> Slot:
        slot = self.slots.get(index)
        if slot is None:
            slot = self.slots[index] = Slot(self.owner, f"{self.name}[{index}]")
        return slot

    def _put(self, index: int, item: T | None) -> T | None:
        found = self.items.pop(index, None)
        if item is not None:
            self.items[index] = item
        return found

    def _exchange(self, index: int, old: T | None, new: T | None) -> T | None:
        found = self.items.get(index)
        if found is old:
            self._put(index, new)
        return found

    def load(self, index: int) -> T | None:
        """xa_load: under RCU, or whatever else keeps what it returns alive."""
        found: T | None = current.runtime.step(self._slot(index), READ | ACQUIRE, "xa_load", self.items.get, index)
        return found

    def store(self, index: int, item: T | None) -> T | None:
        """xa_store: return what was there."""
        with self.lock:
            return self.store_locked(index, item)

    def erase(self, index: int) -> T | None:
        """xa_erase: return what was there."""
        return self.store(index, None)

    def cmpxchg(self, index: int, old: T | None, new: T | None) -> T | None:
        """xa_cmpxchg: store `new` if `old` is there; return what was there."""
        with self.lock:
            return current.runtime.step(self._slot(index), FULL, "xa_cmpxchg", self._exchange, index, old, new)

    def store_locked(self, index: int, item: T | None) -> T | None:
        """__xa_store: the caller holds the lock."""
        what = "xa_erase" if item is None else "xa_store"
        return current.runtime.step(self._slot(index), FULL, what, self._put, index, item)
