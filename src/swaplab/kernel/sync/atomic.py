"""Atomic counters and pointers, and per-CPU reference counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from swaplab.kernel.sync.bugs import KernelWarning
from swaplab.kernel.sync.rcu import call_rcu
from swaplab.kernel.sync.runtime import (
    ACQUIRE,
    COMMUTE,
    FULL,
    LOCK,
    READ,
    RMW,
    WRITE,
    Conditional,
    current,
    operation,
    outside,
)
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Atomic", "PercpuRef", "Pointer"]

T = TypeVar("T")
UNCOUNTED = COMMUTE | LOCK
"""In a read section of its own, so that the grace period before the count is looked at orders it."""


class Atomic(Part):
    """atomic_long_t: `add` orders nothing, what returns a value is fully ordered unless it fails, `read` is relaxed."""

    __slots__ = ("_value",)
    value: int = outside("_value")

    def __init__(self, owner: Shared | None, name: str, value: int = 0) -> None:
        Part.__init__(self, owner, name)
        self._value = value

    @operation(READ, "atomic_read")
    def read(self) -> int:
        """atomic_read."""
        return self._value

    @operation(COMMUTE, "atomic_add")
    def add(self, n: int) -> None:
        """atomic_add; `n` may be negative."""
        self._value += n

    @operation(FULL, "atomic_add_return")
    def add_return(self, n: int) -> int:
        """atomic_add_return."""
        self._value += n
        return self._value

    def dec_and_test(self) -> bool:
        """atomic_dec_and_test."""
        return self.add_return(-1) == 0

    @operation(Conditional(FULL, lambda counter: counter._value == 0), "atomic_inc_not_zero")
    def inc_not_zero(self) -> bool:
        """atomic_inc_not_zero: any other number is counted up, also a negative one."""
        is_not_zero = self._value != 0
        self._value += is_not_zero
        return is_not_zero

    @operation(Conditional(FULL, lambda counter, old, _new: counter._value != old), "atomic_cmpxchg")
    def cmpxchg(self, old: int, new: int) -> int:
        """atomic_cmpxchg: return what was there."""
        found = self._value
        if found == old:
            self._value = new
        return found

    @operation(FULL, "atomic_xchg")
    def xchg(self, new: int) -> int:
        """atomic_xchg: return what was there."""
        found, self._value = self._value, new
        return found


class Pointer(Part, Generic[T]):
    """A pointer that changes by cmpxchg only, and may point at nothing."""

    __slots__ = ("_target",)
    target: T | None = outside("_target")

    def __init__(self, owner: Shared | None, name: str) -> None:
        Part.__init__(self, owner, name)
        self._target: T | None = None

    @operation(READ, "READ_ONCE")
    def read(self) -> T | None:
        """READ_ONCE."""
        return self._target

    @operation(Conditional(FULL, lambda pointer, old, _new: pointer._target is not old), "cmpxchg")
    def cmpxchg(self, old: T | None, new: T | None) -> T | None:
        """Cmpxchg: return what was there."""
        found = self._target
        if found is old:
            self._target = new
        return found


def _get_mode(ref: PercpuRef) -> int:
    return WRITE | RMW if ref._is_counted else UNCOUNTED


def _is_over(ref: PercpuRef) -> bool:
    return ref._is_counted and ref._count == 0


def _full_mode(ref: PercpuRef) -> int:
    return FULL if ref._is_counted else UNCOUNTED


def _live_mode(ref: PercpuRef) -> int:
    # It looks at what kill has set, too, which no grace period orders.
    return FULL if ref._is_counted else COMMUTE


class PercpuRef(Part):
    """struct percpu_ref: gets and puts that are not counted until it is killed, then a count that ends at zero.

    lib/percpu-refcount.c, 6.12. Until a grace period after `kill`, gets and puts are additions to a number that nobody
    looks at, be it below zero: `tryget` succeeds, and they commute. Then the sum of all becomes the count, and from
    there on they depend on each other, and what returns a value is fully ordered unless it fails. Differs: there is
    one number from the beginning; the reference that the switch takes is the initial one, which `kill` drops.

    Args:
        owner: the object it is part of.
        name: of the member.
        release: called once, by the task that drops the last reference after `kill`.

    Attributes:
        count: references.
        is_dying: __PERCPU_REF_DEAD: it was killed.
        is_atomic: __PERCPU_REF_ATOMIC: from `kill` on.
        is_counted: the grace period after that is over, and the count is looked at.
    """

    __slots__ = ("_count", "_is_atomic", "_is_counted", "_is_dying", "release")
    count: int = outside("_count")
    is_dying: bool = outside("_is_dying")
    is_atomic: bool = outside("_is_atomic")
    is_counted: bool = outside("_is_counted")

    def __init__(self, owner: Shared, name: str, release: Callable[[], object]) -> None:
        Part.__init__(self, owner, name)
        self.release = release
        self._count = 1
        self._is_dying = self._is_atomic = self._is_counted = False

    @operation(_get_mode, "percpu_ref_get")
    def get(self) -> None:
        """percpu_ref_get: the caller has a reference already."""
        if self._is_counted and self._count <= 0:
            raise KernelWarning(f"{self.label} is taken at zero")
        self._count += 1

    @operation(Conditional(_full_mode, _is_over), "percpu_ref_tryget")
    def tryget(self) -> bool:
        """percpu_ref_tryget: take a reference unless it is seen that there are none left."""
        is_taken = not self._is_counted or self._count != 0
        self._count += is_taken
        return is_taken

    @operation(Conditional(_live_mode, lambda ref: ref._is_dying or _is_over(ref)), "percpu_ref_tryget_live")
    def tryget_live(self) -> bool:
        """percpu_ref_tryget_live: take a reference unless it was killed."""
        is_taken = not self._is_dying and (not self._is_counted or self._count != 0)
        self._count += is_taken
        return is_taken

    def put(self) -> None:
        """percpu_ref_put: drop a reference, and release the object if that is seen to be the last."""
        if self._put():
            self.release()

    def _drop(self) -> bool:
        self._count -= 1
        if self._is_counted and self._count < 0:
            raise KernelWarning(f"{self.label} drops below zero")
        return self._is_counted and self._count == 0

    _put = operation(_full_mode, "percpu_ref_put")(_drop)

    def kill(self, confirm: Callable[[], object] | None = None) -> None:
        """percpu_ref_kill_and_confirm: let no more `tryget_live` succeed, tell `confirm`, drop the initial reference.

        Everybody has seen the first one grace period later; the rest is done then. May sleep if somebody is about to
        resurrect it after an earlier `kill`.
        """
        if self._kill():
            call_rcu(self._confirm, confirm)
            return
        self._finish_switch()
        if confirm:
            confirm()
        self.put()

    @operation(FULL, "percpu_ref_kill")
    def _kill(self) -> bool:
        if self._is_dying:
            raise KernelWarning(f"{self.label} is killed twice")
        self._is_dying = True
        was_atomic, self._is_atomic = self._is_atomic, True
        return not was_atomic

    def _confirm(self, confirm: Callable[[], object] | None) -> None:
        """percpu_ref_switch_to_atomic_rcu: confirm first, then the reference that the switch has taken."""
        if confirm:
            confirm()
        if self._settle():
            self.release()

    @operation(FULL, "percpu_ref_switch_to_atomic")
    def _settle(self) -> bool:
        if self._count <= 0:
            raise KernelWarning(f"{self.label} is {self._count} after switching to atomic")
        self._is_counted = True
        return self._drop()

    def resurrect(self) -> None:
        """percpu_ref_resurrect: undo `kill`; the caller holds a reference.

        Waits for the grace period of `kill`, so it may sleep until that is over.
        """
        if self._resurrect():
            return
        self._finish_switch()
        self._switch_to_percpu()

    @operation(FULL, "percpu_ref_resurrect")
    def _resurrect(self) -> bool:
        if not self._is_dying:
            raise KernelWarning(f"{self.label} is resurrected, but was not killed")
        self._is_dying = False
        self._count += 1
        if self._is_counted:
            self._is_atomic = self._is_counted = False
        return not self._is_atomic

    def _finish_switch(self) -> None:
        """Wait until the count is looked at: __percpu_ref_switch_mode."""
        while not self._is_switched():
            current.runtime.might_sleep("percpu_ref_switch_mode")
            current.runtime.relax()

    @operation(READ | ACQUIRE, "wait_event")
    def _is_switched(self) -> bool:
        return self._is_counted or not self._is_atomic

    @operation(FULL, "percpu_ref_switch_to_percpu")
    def _switch_to_percpu(self) -> None:
        if not self._is_dying:
            self._is_atomic = self._is_counted = False

    @operation(READ, "percpu_ref_is_dying")
    def dying(self) -> bool:
        """percpu_ref_is_dying."""
        return self._is_dying
