"""struct xarray: an array of pointers, read under RCU, written under its lock."""

from __future__ import annotations

from typing import Generic, TypeVar

from swaplab.kernel.sync.locks import SpinLock
from swaplab.kernel.sync.runtime import READ, RELEASE, WRITE, operation, outside
from swaplab.kernel.sync.shared import Elements, Key, Part, Shared

__all__ = ["XArray"]

T = TypeVar("T")
STORE = WRITE | RELEASE
"""rcu_assign_pointer, under the lock."""


class XArray(Elements, Generic[T]):
    """An array of pointers, each of which is a part of its own to those who explore what depends on what.

    Writers hold the lock: `store`, `erase` and `cmpxchg` take it themselves, others leave it to the caller.

    Args:
        owner: the object it is part of; none for a global one.
        name: of the member.

    Attributes:
        lock: xa_lock.
        items: what is there, by index; for looks from outside that are no operation of a task.
    """

    __slots__ = ("_items", "lock")
    items: dict[int, T] = outside("_items")

    def __init__(self, owner: Shared | None, name: str) -> None:
        Elements.__init__(self, owner, name)
        self.lock = SpinLock(owner, f"{name}.xa_lock")
        self._items: dict[int, T] = {}

    def _make(self, index: int) -> Part:
        return Key(self, index)

    def peek(self, index: int) -> object:
        """Return what is at an index now."""
        return self._items.get(index)

    def present(self) -> frozenset[int]:
        """Return the indices that something is at now."""
        return frozenset(self._items)

    @operation(READ, "xa_for_each")
    def indices(self) -> tuple[int, ...]:
        """Return the indices that something is at, in ascending order: the first step of an xa_for_each."""
        return tuple(sorted(self._items))

    @operation(READ, "xa_load", at=Elements.element)
    def load(self, index: int) -> T | None:
        """xa_load: under RCU, or something else that keeps the result alive."""
        return self._items.get(index)

    @operation(STORE, "xa_store", at=Elements.element)
    def store_locked(self, index: int, item: T) -> T | None:
        """__xa_store: return what was there."""
        found = self._items.pop(index, None)
        self._items[index] = item
        return found

    @operation(STORE, "xa_erase", at=Elements.element)
    def erase_locked(self, index: int) -> T | None:
        """__xa_erase: return what was there."""
        return self._items.pop(index, None)

    @operation(STORE, "xa_cmpxchg", at=Elements.element)
    def cmpxchg_locked(self, index: int, old: T | None, new: T | None) -> T | None:
        """__xa_cmpxchg: store `new` if `old` is there; return what was there."""
        found = self._items.get(index)
        if found is old:
            self._items.pop(index, None)
            if new is not None:
                self._items[index] = new
        return found

    def store(self, index: int, item: T) -> T | None:
        """xa_store: return what was there."""
        with self.lock:
            return self.store_locked(index, item)

    def erase(self, index: int) -> T | None:
        """xa_erase: return what was there."""
        with self.lock:
            return self.erase_locked(index)

    def cmpxchg(self, index: int, old: T | None, new: T | None) -> T | None:
        """xa_cmpxchg: store `new` if `old` is there; return what was there."""
        with self.lock:
            return self.cmpxchg_locked(index, old, new)
