"""struct xarray: an array of pointers, read under RCU, written under its lock."""

from __future__ import annotations

from typing import Generic, TypeVar

from swaplab.kernel.sync.locks import SpinLock
from swaplab.kernel.sync.runtime import ACQUIRE, READ, RELEASE, WRITE, operation
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["XArray"]

T = TypeVar("T")
FULL = WRITE | ACQUIRE | RELEASE


class Slot(Part, Generic[T]):
    """One index of an array, which is what operations on it conflict about."""

    __slots__ = ("index", "items")

    def __init__(self, array: XArray[T], index: int) -> None:
        super().__init__(array.owner, f"{array.name}[{index}]")
        self.items = array.items
        self.index = index

    @operation(READ | ACQUIRE, "xa_load")
    def load(self) -> T | None:
        """xa_load."""
        return self.items.get(self.index)

    @operation(FULL, "xa_store")
    def store(self, item: T) -> T | None:
        """xa_store."""
        found = self.items.pop(self.index, None)
        self.items[self.index] = item
        return found

    @operation(FULL, "xa_erase")
    def erase(self) -> T | None:
        """xa_erase."""
        return self.items.pop(self.index, None)

    @operation(FULL, "xa_cmpxchg")
    def cmpxchg(self, old: T | None, new: T | None) -> T | None:
        """xa_cmpxchg."""
        found = self.items.get(self.index)
        if found is old:
            self.items.pop(self.index, None)
            if new is not None:
                self.items[self.index] = new
        return found


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
        self.slots: dict[int, Slot[T]] = {}

    def _slot(self, index: int) -> Slot[T]:
        slot = self.slots.get(index)
        if slot is None:
            slot = self.slots[index] = Slot(self, index)
        return slot

    def load(self, index: int) -> T | None:
        """xa_load: under RCU, or whatever else keeps what it returns alive."""
        return self._slot(index).load()

    def store(self, index: int, item: T) -> T | None:
        """xa_store: return what was there."""
        with self.lock:
            return self._slot(index).store(item)

    def erase(self, index: int) -> T | None:
        """xa_erase: return what was there."""
        with self.lock:
            return self._slot(index).erase()

    def cmpxchg(self, index: int, old: T | None, new: T | None) -> T | None:
        """xa_cmpxchg: store `new` if `old` is there; return what was there."""
        with self.lock:
            return self._slot(index).cmpxchg(old, new)

    def store_locked(self, index: int, item: T) -> T | None:
        """__xa_store: the caller holds the lock."""
        return self._slot(index).store(item)

    def erase_locked(self, index: int) -> T | None:
        """__xa_erase: the caller holds the lock."""
        return self._slot(index).erase()
