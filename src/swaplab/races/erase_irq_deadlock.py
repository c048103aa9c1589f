"""A fix that would have brought a deadlock: a lock taken with interrupts on, which others take in an interrupt's way.

The first version of the fix for xarray-cleared-before-drain erased a memcg's list from the array with xa_erase(), which
leaves interrupts on. The array of the page cache's shadow nodes is also locked by who adds a folio, inside the
interrupt-safe i_pages lock. CPU0 holds the array's lock; CPU1 adds a folio, holds i_pages and waits for that lock; and
the interrupt that ends a folio's writeback arrives on CPU0, where it waits for i_pages: CPU0 cannot go on before it is
done. Found in review; the second version uses xa_erase_irq().

Differs: an interrupt is a call that its CPU makes wherever interrupts are on and one is pending, here after every
operation; a task of its own makes it pending at any time. That is what an interrupt is: it runs on top of whoever it
interrupts, who holds what he holds.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import Atomic, Shared, SpinLock
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]


class ListLru(Shared):
    """struct list_lru of shadow nodes."""

    def __init__(self) -> None:
        self.xa_lock = SpinLock(self, "xa_lock")


class AddressSpace(Shared):
    """struct address_space."""

    nr_writeback: int

    def __init__(self) -> None:
        self.i_pages = SpinLock(self, "i_pages.xa_lock")
        self.nr_writeback = 1


class System(Shared):
    """A mapping with a folio under writeback, the shadow nodes' list_lru, and an interrupt line to CPU0."""

    def __init__(self) -> None:
        self.shadow_nodes = ListLru()
        self.mapping = AddressSpace()
        self.pending = Atomic(None, "CPU0.pending")


def device(system: System) -> None:
    """The disk is done, and raises an interrupt on CPU0."""
    system.pending.xchg(1)


def interrupts_are_on(system: System) -> None:
    """Handle a pending interrupt, on top of the running task."""
    if system.pending.xchg(0):
        folio_end_writeback(system.mapping)


def folio_end_writeback(mapping: AddressSpace) -> None:
    """mm/filemap.c:folio_end_writeback, 6.12."""
    with mapping.i_pages:
        mapping.nr_writeback -= 1


def xa_erase(system: System) -> None:
    """include/linux/xarray.h:xa_erase, 6.12: an interrupt may come while the lock is held."""
    system.shadow_nodes.xa_lock.acquire()
    interrupts_are_on(system)
    system.shadow_nodes.xa_lock.release()
    interrupts_are_on(system)


def xa_erase_irq(system: System) -> None:
    """include/linux/xarray.h:xa_erase_irq, 6.12: an interrupt waits until the lock is free again."""
    system.shadow_nodes.xa_lock.acquire()
    system.shadow_nodes.xa_lock.release()
    interrupts_are_on(system)


def memcg_reparent_list_lrus(system: System, erase: Callable[[System], None]) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, as it was to become: here, its end."""
    interrupts_are_on(system)
    erase(system)


def filemap_add_folio(system: System) -> None:
    """mm/filemap.c:__filemap_add_folio, 6.12: a node of the tree is allocated, and its memcg needs a list for it."""
    with system.mapping.i_pages:
        memcg_list_lru_alloc(system)


def memcg_list_lru_alloc(system: System) -> None:
    """mm/list_lru.c:memcg_list_lru_alloc, 6.12: puts a list into the array."""
    with system.shadow_nodes.xa_lock:
        pass


def program(label: str, erase: Callable[[System], None]) -> Program[System]:
    """A memcg's list is erased on CPU0, a folio added on CPU1, and another's writeback ends."""
    return Program(
        f"erase-irq-deadlock: {label}",
        System,
        {
            "CPU0": lambda system: memcg_reparent_list_lrus(system, erase),
            "CPU1": filemap_add_folio,
            "disk": device,
        },
    )


EXHIBIT = Exhibit(
    name="erase-irq-deadlock",
    title="mm/list_lru: drain before clearing xarray entry on reparent, version 1",
    references=("20260601063408.2879011-1-shakeel.butt@linux.dev", "ah2VXGfGZOOdjhs3@linux.dev"),
    story=(
        "A lock that others take inside an interrupt-safe one was to be taken with interrupts on: an interrupt that"
        " wants the outer lock, on top of the holder of the inner one, would never end."
    ),
    broken={"interrupts are on": program("xa_erase", xa_erase)},
    fixed={"interrupts are off": program("xa_erase_irq", xa_erase_irq)},
    finds=frozenset({"deadlock", "lock-order cycle"}),
)
