"""Suspected in 7.2, and not found: two tasks of a full cgroup keep each other from a page for ever.

Since 7.2 a fault puts its folio into the swap cache first, locked, and charges it then; if that fails it takes the
folio out again (mm/swap_state.c:__swap_cache_alloc). Others find the folio, wait for its lock, and see that it has lost
the slot; or they come between and are told that there is one already, and look again. In a cgroup that is full, where
each charge fails, can two of them go on like that without an end? In the model they cannot: whoever is told that there
is a folio waits for somebody who gets on, and whoever fails is out of memory, which ends its fault.

Modelled are two faults on one slot, whose charges both fail, as read in Debian's 7.2.13: swapin_sync, and the lock and
check of do_swap_page. What it rests on is that the folio is unlocked only after it has lost the slot; the other way
round a task maps a folio that was not charged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Mutex, Shared, SpinLock, kfree, relax
from swaplab.races.exhibit import Exhibit

__all__ = ["SUSPECT"]


class Folio(Shared):
    """struct folio.

    Attributes:
        lock: PG_locked.
        refcount: of tasks that have made or found it; the swap cache's is left out.
        has_slot: whether it is in the swap cache.
    """

    has_slot: bool

    def __init__(self) -> None:
        self.lock = Mutex(self, "lock")
        self.refcount = Atomic(self, "refcount", 1)
        self.has_slot = True


def folio_put(folio: Folio) -> None:
    """include/linux/mm.h:folio_put."""
    if folio.refcount.dec_and_test():
        kfree(folio)


Fail = Callable[["System", Folio], None]
"""What becomes of a folio that could not be charged."""


class System(Shared):
    """A slot, in a cgroup in which nothing can be charged.

    Attributes:
        lock: of the cluster.
        cached: the slot's folio. Under the lock.
        mapped: whether a fault has found a folio to map.
    """

    cached: Folio | None
    mapped: bool

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.cached = None
        self.mapped = False


def take_out_and_unlock(system: System, folio: Folio) -> None:
    """mm/swap_state.c:__swap_cache_alloc, when the charge has failed."""
    with system.lock:
        system.cached = None
        WRITE_ONCE(folio).has_slot = False
    folio.lock.release()


def unlock_and_take_out(system: System, folio: Folio) -> None:
    """The same the other way round."""
    folio.lock.release()
    with system.lock:
        system.cached = None
        WRITE_ONCE(folio).has_slot = False


def swap_cache_alloc_folio(system: System, fail: Fail) -> bool:
    """mm/swap_state.c:__swap_cache_alloc: whether there was no folio, so that one was put there, for a while."""
    folio = Folio()
    folio.lock.acquire()
    with system.lock:
        is_new = system.cached is None
        if is_new:
            system.cached = folio
    if is_new:
        fail(system, folio)
    else:
        folio.lock.release()
    folio_put(folio)
    return is_new


def fault(system: System, fail: Fail) -> None:
    """mm/memory.c:do_swap_page with mm/swap_state.c:swapin_sync."""
    while True:
        with system.lock:
            folio = system.cached
            if folio:
                folio.refcount.add(1)
        if folio:
            with folio.lock:
                has_slot = READ_ONCE(folio).has_slot
            folio_put(folio)
            if has_slot:
                WRITE_ONCE(system).mapped = True
                return
        elif swap_cache_alloc_folio(system, fail):
            return
        relax()


def program(label: str, fail: Fail) -> Program[System]:
    """Two faults."""
    return Program(
        f"suspect-uncharged-in-swap-cache: {label}",
        System,
        {"CPU0": partial(fault, fail=fail), "CPU1": partial(fault, fail=fail)},
        {"no folio is mapped that nobody was charged for": lambda system: not system.mapped},
    )


SUSPECT = Exhibit(
    name="suspect-uncharged-in-swap-cache",
    title="two tasks of a full cgroup keep each other from a page for ever",
    references=("mm/swap_state.c:__swap_cache_alloc", "mm/swap_state.c:swapin_sync", "7.2.13"),
    story=(
        "A folio is in the swap cache before it is charged, and leaves it if it cannot be: others wait for its lock,"
        " and try again."
    ),
    broken={"if it were unlocked first": program("unlocked first", unlock_and_take_out)},
    fixed={"as in 7.2, it loses the slot first": program("loses the slot first", take_out_and_unlock)},
    finds=frozenset({"invariant broken"}),
)
