"""A store that fails leaves the old version of the page in zswap, and writeback puts it over the new one.

A page that is dirtied again in the swap cache is swapped out to the same slot. If zswap does not take it this time
(it was disabled, or is full) the new version goes to the disk. The entry with the old version is still in the tree and
on the LRU: writeback finds that it is what the slot has, as it must, and writes it to the disk.

Differs: a folio in the swap cache is the pin on its slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import ListHead, ListNode, Shared, SpinLock, XArray, kfree
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SWAP_HAS_CACHE, SwapSlot, swapcache_clear, swapcache_prepare, write_disk

__all__ = ["EXHIBIT"]

NAME = "stale-entry-on-failed-store"
X = 0


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]
    data: str

    def __init__(self, data: str) -> None:
        self.name = f"of {data}"
        self.data = data
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class System(Shared):
    """Version 1 of a page is in zswap for slot X; the page is in the swap cache, and has been written to since."""

    def __init__(self) -> None:
        self.slot = SwapSlot(SWAP_HAS_CACHE | 1)
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.lru: ListHead[Entry] = ListHead(None, "lru")
        self.lru_lock = SpinLock(None, "lru_lock")
        entry = Entry("version 1")
        self.tree.store(X, entry)
        self.lru.add(entry.lru)


FailedStore = Callable[[System], None]


def zswap_entry_free(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_free, 6.12."""
    with system.lru_lock:
        entry.lru.delete()
    kfree(entry)


def check_old(system: System) -> None:
    """mm/zswap.c:zswap_store, 6.12, where it refuses a page: what it had at that slot is not valid any more."""
    entry = system.tree.erase(X)
    if entry:
        zswap_entry_free(system, entry)


def leave_old(system: System) -> None:
    """The same, 6.7."""


def swap_writepage(system: System, zswap_store: FailedStore) -> None:
    """mm/page_io.c:swap_writepage, 6.12: zswap refuses version 2 of the page, which then leaves the swap cache."""
    zswap_store(system)
    write_disk(system.slot, "version 2")
    swapcache_clear(system.slot)


def shrink_memcg_cb(system: System) -> None:
    """mm/zswap.c:shrink_memcg_cb and zswap_writeback_entry, 6.12."""
    with system.lru_lock:
        entry = system.lru.first()
        if entry is None:
            return
        system.lru.move_tail(entry.lru)
    if swapcache_prepare(system.slot):
        return
    if system.tree.cmpxchg(X, entry, None) is entry:
        write_disk(system.slot, entry.data)
        zswap_entry_free(system, entry)
    swapcache_clear(system.slot)


def program(label: str, zswap_store: FailedStore) -> Program[System]:
    """The page is swapped out again while the LRU is shrunk."""
    return Program(
        f"{NAME}: {label}",
        System,
        {"CPU0": lambda system: swap_writepage(system, zswap_store), "CPU1": shrink_memcg_cb},
        {"the disk has version 2 of the page": lambda system: system.slot.disk == "version 2"},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/zswap: invalidate duplicate entry when !zswap_enabled",
    references=("678e54d4bb9a4822f8ae99690ac131c5d490cdb1",),
    story=(
        "A page is swapped out again and zswap refuses it, but keeps the version it has from before; writeback later"
        " puts that one over the new one on the disk."
    ),
    broken={"the old entry stays": program("left", leave_old)},
    fixed={"the old entry goes": program("invalidated", check_old)},
    finds=frozenset({"invariant broken"}),
)
