"""Writeback puts the bytes of a page on the disk where another page's are by now.

Writeback holds a reference to a zswap entry, not to the swap slot the entry is for. Before it has a swap cache folio,
which pins the slot, the slot may have been freed and given to another page. That the folio could be had for the slot
says nothing then: the entry may still be there only because writeback holds it.

Differs: a page in the swap cache is the pin on its slot; a task that finds a slot pinned waits until it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import Atomic, ListHead, ListNode, Shared, SpinLock, XArray, kfree, relax
from swaplab.kernel.sync.bugs import Broken
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import (
    SwapSlot,
    get_swap_page,
    read_disk,
    swap_free,
    swapcache_clear,
    swapcache_prepare,
    write_disk,
)

__all__ = ["EXHIBIT"]

NAME = "writeback-vs-slot-reuse"
X = 0


class Entry(Shared):
    """struct zswap_entry: a reference of the tree's, and one of each user's."""

    name: Final[str]
    data: str

    def __init__(self, data: str) -> None:
        self.name = data
        self.data = data
        self.refcount = Atomic(self, "refcount", 1)
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class System(Shared):
    """Page A was swapped out to slot X and is in zswap."""

    def __init__(self) -> None:
        self.slot = SwapSlot(1)
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.lru: ListHead[Entry] = ListHead(None, "lru")
        self.lru_lock = SpinLock(None, "lru_lock")
        entry = Entry("A")
        self.tree.store(X, entry)
        self.lru.add(entry.lru)


Validate = Callable[[System, Entry], bool]


def zswap_entry_put(entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_put, 6.3."""
    if entry.refcount.dec_and_test():
        kfree(entry)


def zswap_invalidate_entry(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_invalidate_entry, 6.3: the tree's reference goes with the entry's place in it."""
    if system.tree.cmpxchg(X, entry, None) is entry:
        with system.lru_lock:
            if not entry.lru.empty():
                entry.lru.delete()
        zswap_entry_put(entry)


def is_still_in_tree(system: System, entry: Entry) -> bool:
    """The check in mm/zswap.c:zswap_writeback_entry, 6.4: what a slot has does not change while it is pinned."""
    return system.tree.load(X) is entry


def is_not_asked(system: System, entry: Entry) -> bool:
    """mm/zswap.c:zswap_writeback_entry, 6.3: the entry is there, so it must be right."""
    return True


def zswap_writeback_entry(system: System, entry: Entry, validate: Validate) -> None:
    """mm/zswap.c:zswap_writeback_entry, 6.4."""
    if swapcache_prepare(system.slot):
        return
    if validate(system, entry):
        write_disk(system.slot, entry.data)
        zswap_invalidate_entry(system, entry)
    swapcache_clear(system.slot)


def zswap_reclaim_entry(system: System, validate: Validate) -> None:
    """mm/zswap.c:zswap_reclaim_entry, 6.3."""
    with system.lru_lock:
        entry = system.lru.first()
        if entry is None:
            return
        entry.lru.delete()
        entry.refcount.add(1)
    zswap_writeback_entry(system, entry, validate)
    zswap_entry_put(entry)


def do_swap_page(system: System) -> None:
    """mm/memory.c:do_swap_page, 6.4: page A comes back, and its slot is free."""
    while swapcache_prepare(system.slot):
        relax()
    entry = system.tree.load(X)
    if (entry.data if entry else read_disk(system.slot)) != "A":
        raise Broken("page A comes back from slot X with other bytes")
    if entry:
        zswap_invalidate_entry(system, entry)
    swap_free(system.slot)
    swapcache_clear(system.slot)


def shrink_folio_list(system: System) -> None:
    """mm/vmscan.c:shrink_folio_list, 6.4: page B is swapped out; zswap does not take it."""
    if get_swap_page(system.slot):
        write_disk(system.slot, "B")
        swapcache_clear(system.slot)


def owner(system: System) -> None:
    """The process that pages A and B belong to."""
    do_swap_page(system)
    shrink_folio_list(system)


def program(label: str, validate: Validate) -> Program[System]:
    """Slot X is written back while it changes hands."""
    return Program(
        f"{NAME}: {label}",
        System,
        {"CPU0": lambda system: zswap_reclaim_entry(system, validate), "CPU1": owner},
        {"slot X has the bytes of page B": lambda system: system.slot.disk == "B"},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: fix zswap writeback race condition",
    references=("04fc7816089c5a32c29a04ec94b998e219dfb946", "CVE-2023-53178"),
    story=(
        "Writeback picks an entry and then pins its swap slot. If the slot was freed and reused in between, the bytes"
        " of the old page go to the disk over those of the new one."
    ),
    broken={"the entry is written as it is": program("not validated", is_not_asked)},
    fixed={"the entry is looked up again once its slot is pinned": program("validated", is_still_in_tree)},
    finds=frozenset({"invariant broken"}),
)
