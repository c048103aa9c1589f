"""Atomic counters and pointers, and per-CPU reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from swaplab.kernel.sync.bugs import KernelWarning
from swaplab.kernel.sync.rcu import call_rcu
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, READ, RELEASE, WRITE, operation
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Atomic", "PercpuRef", "Pointer"]

T = TypeVar("T")

FULL = WRITE | ACQUIRE | RELEASE


class Atomic(Part):
    """atomic_long_t: `add` and `inc` order nothing, whatever returns a value is fully ordered, `read` is relaxed."""

    __slots__ = ("value",)

    def __init__(self, owner: Shared | None, name: str, value: int = 0) -> None:
        Part.__init__(self, owner, name)
        self.value = value

    @operation(READ, "atomic_read")
    def read(self) -> int:
        """atomic_read."""
        return self.value

    @operation(COMMUTE, "atomic_add")
    def add(self, n: int) -> None:
        """atomic_add; `n` may be negative."""
        self.value += n

    @operation(FULL, "atomic_add_return")
    def add_return(self, n: int) -> int:
        """atomic_add_return."""
        self.value += n
        return self.value

    def dec_and_test(self) -> bool:
        """atomic_dec_and_test."""
        return self.add_return(-1) == 0

    @operation(FULL, "atomic_inc_not_zero")
    def inc_not_zero(self) -> bool:
        """atomic_inc_not_zero."""
        self.value += self.value != 0
        return self.value != 0

    @operation(FULL, "atomic_cmpxchg")
    def cmpxchg(self, old: int, new: int) -> int:
        """atomic_cmpxchg: return what was there."""
        found = self.value
        if found == old:
            self.value = new
        return found

    @operation(FULL, "atomic_xchg")
    def xchg(self, new: int) -> int:
        """atomic_xchg: return what was there."""
        found, self.value = self.value, new
        return found


class Pointer(Part, Generic[T]):
    """A pointer that changes by cmpxchg only, and may point at nothing."""

    __slots__ = ("target",)

    def __init__(self, owner: Shared | None, name: str) -> None:
        Part.__init__(self, owner, name)
        self.target: T | None = None

    @operation(READ, "READ_ONCE")
    def read(self) -> T | None:
        """READ_ONCE."""
        return self.target

    @operation(FULL, "cmpxchg")
    def cmpxchg(self, old: T | None, new: T | None) -> T | None:
        """Cmpxchg: return what was there."""
        found = self.target
        if found is old:
            self.target = new
        return found


def _put_mode(ref: PercpuRef) -> int:
    return FULL if ref.is_counted else COMMUTE | RELEASE


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
        Part.__init__(self, owner, name)
        self.release = release
        self.count = 1
        self.is_dying = False
        self.is_counted = False

    @operation(COMMUTE, "percpu_ref_get")
    def get(self) -> None:
        """percpu_ref_get: the caller has a reference already."""
        if self.count <= 0:
            raise KernelWarning(f"{self.label} is taken at zero")
        self.count += 1

    @operation(COMMUTE | ACQUIRE, "percpu_ref_tryget")
    def tryget(self) -> bool:
        """percpu_ref_tryget: take a reference unless there are none left."""
        self.count += self.count > 0
        return self.count > 0

    @operation(COMMUTE | ACQUIRE, "percpu_ref_tryget_live")
    def tryget_live(self) -> bool:
        """percpu_ref_tryget_live: take a reference unless it was killed."""
        if self.is_dying:
            return False
        self.count += self.count > 0
        return self.count > 0

    def put(self) -> None:
        """percpu_ref_put: drop a reference, and release the object with the last."""
        if self._put():
            self.release()

    def _drop(self) -> bool:
        self.count -= 1
        if self.count < 0:
            raise KernelWarning(f"{self.label} drops below zero")
        return self.count == 0

    _put = operation(_put_mode, "percpu_ref_put")(_drop)

    def kill(self, confirm: Callable[[], object] | None = None) -> None:
        """percpu_ref_kill_and_confirm: let no more `tryget_live` succeed, tell `confirm`, drop the initial reference.

        Everybody has seen the first one grace period later; the rest is done then.
        """
        self._kill()
        call_rcu(self._confirm, confirm)

    @operation(FULL, "percpu_ref_kill")
    def _kill(self) -> None:
        if self.is_dying:
            raise KernelWarning(f"{self.label} is killed twice")
        self.is_dying = True

    def _confirm(self, confirm: Callable[[], object] | None) -> None:
        # lib/percpu-refcount.c:percpu_ref_switch_to_atomic_rcu: confirm first, then the reference that kill took over.
        if confirm:
            confirm()
        if self._count():
            self.release()

    @operation(FULL, "percpu_ref_put")
    def _count(self) -> bool:
        self.is_counted = True
        return self._drop()

    @operation(FULL, "percpu_ref_resurrect")
    def resurrect(self) -> None:
        """percpu_ref_resurrect: undo `kill`; the caller holds a reference."""
        self.is_dying = self.is_counted = False
        self.count += 1

    @operation(READ, "percpu_ref_is_dying")
    def dying(self) -> bool:
        """percpu_ref_is_dying."""
        return self.is_dying
