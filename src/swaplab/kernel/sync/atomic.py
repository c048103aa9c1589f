"""Atomic counters and pointers, and per-CPU reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from swaplab.kernel.sync.bugs import KernelWarning
from swaplab.kernel.sync.rcu import call_rcu
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, READ, RELEASE, WRITE, current
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Atomic", "PercpuRef", "Pointer"]

T = TypeVar("T")

FULL = WRITE | ACQUIRE | RELEASE


class Atomic(Part):
    """atomic_long_t: `add` and `inc` order nothing, whatever returns a value is fully ordered, `read` is relaxed."""

    __slots__ = ("value",)

    def __init__(self, owner: Shared | None, name: str, value: int = 0) -> None:
        super().__init__(owner, name)
        self.value = value

    def _add(self, n: int) -> int:
        self.value += n
        return self.value

    def _cmpxchg(self, old: int, new: int) -> int:
        found = self.value
        if found == old:
            self.value = new
        return found

    def _xchg(self, new: int) -> int:
        found, self.value = self.value, new
        return found

    def _inc_not_zero(self) -> bool:
        self.value += self.value != 0
        return self.value != 0

    def _read(self) -> int:
        return self.value

    def read(self) -> int:
        """atomic_read."""
        return current.runtime.step(self, READ, "atomic_read", self._read)

    def add(self, n: int) -> None:
        """atomic_add; `n` may be negative."""
        current.runtime.step(self, COMMUTE, "atomic_add", self._add, n)

    def add_return(self, n: int) -> int:
        """atomic_add_return."""
        return current.runtime.step(self, FULL, "atomic_add_return", self._add, n)

    def dec_and_test(self) -> bool:
        """atomic_dec_and_test."""
        return self.add_return(-1) == 0

    def inc_not_zero(self) -> bool:
        """atomic_inc_not_zero."""
        return current.runtime.step(self, FULL, "atomic_inc_not_zero", self._inc_not_zero)

    def cmpxchg(self, old: int, new: int) -> int:
        """atomic_cmpxchg: return what was there."""
        return current.runtime.step(self, FULL, "atomic_cmpxchg", self._cmpxchg, old, new)

    def xchg(self, new: int) -> int:
        """atomic_xchg: return what was there."""
        return current.runtime.step(self, FULL, "atomic_xchg", self._xchg, new)


class Pointer(Part, Generic[T]):
    """A pointer that changes by cmpxchg only, and may point at nothing."""

    __slots__ = ("target",)

    def __init__(self, owner: Shared | None, name: str) -> None:
        super().__init__(owner, name)
        self.target: T | None = None

    def _cmpxchg(self, old: T | None, new: T | None) -> T | None:
        found = self.target
        if found is old:
            self.target = new
        return found

    def _read(self) -> T | None:
        return self.target

    def read(self) -> T | None:
        """READ_ONCE."""
        return current.runtime.step(self, READ, "READ_ONCE", self._read)

    def cmpxchg(self, old: T | None, new: T | None) -> T | None:
        """Cmpxchg: return what was there."""
        return current.runtime.step(self, FULL, "cmpxchg", self._cmpxchg, old, new)


class PercpuRef(Part):
    """struct percpu_ref: gets and puts that nobody counts until it is killed, then a count that ends at zero.

    lib/percpu-refcount.c, 6.12. Differs: there is one count. `is_counted` says that zero is possible and looked for;
    before, puts neither see nor cause anything that matters to each other.

    Args:
        owner: the object it is part of.
        name: of the member.
        release: called once, by who drops the last reference after `kill`.
    """

    __slots__ = ("count", "is_counted", "is_dying", "release")

    def __init__(self, owner: Shared, name: str, release: Callable[[], object]) -> None:
        super().__init__(owner, name)
        self.release = release
        self.count = 1
        self.is_dying = False
        self.is_counted = False

    def _get(self) -> None:
        if self.count <= 0:
            raise KernelWarning(f"{self.label} is taken at zero")
        self.count += 1

    def _tryget(self) -> bool:
        self.count += self.count > 0
        return self.count > 0

    def _tryget_live(self) -> bool:
        return not self.is_dying and self._tryget()

    def _put(self) -> bool:
        self.count -= 1
        if self.count < 0:
            raise KernelWarning(f"{self.label} drops below zero")
        return self.count == 0

    def _kill(self) -> None:
        if self.is_dying:
            raise KernelWarning(f"{self.label} is killed twice")
        self.is_dying = True

    def _is_dying(self) -> bool:
        return self.is_dying

    def _resurrect(self) -> None:
        self.is_dying = self.is_counted = False
        self.count += 1

    def _count(self) -> bool:
        self.is_counted = True
        return self._put()

    def _put_mode(self) -> int:
        return FULL if self.is_counted else COMMUTE | RELEASE

    def get(self) -> None:
        """percpu_ref_get: the caller has a reference already."""
        current.runtime.step(self, COMMUTE, "percpu_ref_get", self._get)

    def tryget(self) -> bool:
        """percpu_ref_tryget: take a reference unless there are none left."""
        return current.runtime.step(self, COMMUTE | ACQUIRE, "percpu_ref_tryget", self._tryget)

    def tryget_live(self) -> bool:
        """percpu_ref_tryget_live: take a reference unless it was killed."""
        return current.runtime.step(self, COMMUTE | ACQUIRE, "percpu_ref_tryget_live", self._tryget_live)

    def put(self) -> None:
        """percpu_ref_put: drop a reference, and release the object with the last."""
        if current.runtime.step(self, self._put_mode, "percpu_ref_put", self._put):
            self.release()

    def kill(self, confirm: Callable[[], object] | None = None) -> None:
        """percpu_ref_kill_and_confirm: let no more `tryget_live` succeed, tell `confirm`, drop the initial reference.

        Everybody has seen the first one grace period later; the rest is done then.
        """
        current.runtime.step(self, FULL, "percpu_ref_kill", self._kill)
        call_rcu(self._confirm, confirm)

    def _confirm(self, confirm: Callable[[], object] | None) -> None:
        # lib/percpu-refcount.c:percpu_ref_switch_to_atomic_rcu: confirm first, then the reference that kill took over.
        if confirm:
            confirm()
        if current.runtime.step(self, FULL, "percpu_ref_put", self._count):
            self.release()

    def resurrect(self) -> None:
        """percpu_ref_resurrect: undo `kill`; the caller holds a reference."""
        current.runtime.step(self, FULL, "percpu_ref_resurrect", self._resurrect)

    def dying(self) -> bool:
        """percpu_ref_is_dying."""
        return current.runtime.step(self, READ, "percpu_ref_is_dying", self._is_dying)
