"""Writeback takes an entry from the LRU, and swapoff frees the tree that it is about to look it up in.

A place on the LRU pins nothing: once its lock is dropped, the entry, the swap slot and the device's tree may all be
gone. Only the number of the slot, copied before, may be used until a folio in the swap cache pins the slot; that also
keeps swapoff from ending. Writeback used to go to the tree first.

Differs: a folio in the swap cache is the pin on its slot; the device has one slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    ListHead,
    ListNode,
    Shared,
    SpinLock,
    XArray,
    kfree,
    relax,
)
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SwapSlot, swap_free, swapcache_clear, swapcache_prepare

__all__ = ["EXHIBIT"]

NAME = "lru-writeback-vs-swapoff"
X = 0


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]
    swpentry: int
    data: str

    def __init__(self) -> None:
        self.name = "E"
        self.swpentry = X
        self.data = "A"
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class Tree(Shared):
    """What zswap has of one swap device."""

    name: Final[str]

    def __init__(self) -> None:
        self.name = "tree"
        self.xa: XArray[Entry] = XArray(self, "xa")


class Zswap(Shared):
    """The globals of mm/zswap.c; entry E is for slot X of the only device."""

    tree: Tree

    def __init__(self) -> None:
        self.slot = SwapSlot(1)
        self.tree = Tree()
        self.lru: ListHead[Entry] = ListHead(None, "zswap_list_lru")
        self.lru_lock = SpinLock(None, "nlru.lock")
        entry = Entry()
        self.tree.xa.store(X, entry)
        self.lru.add(entry.lru)


def zswap_entry_free(zswap: Zswap, entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_free, 6.8."""
    with zswap.lru_lock:
        if not entry.lru.empty():
            entry.lru.delete()
    kfree(entry)


def writeback_pinned(zswap: Zswap, entry: Entry) -> None:
    """mm/zswap.c:zswap_writeback_entry, 6.8; the slot is pinned by now."""
    tree = READ_ONCE(zswap).tree
    if tree.xa.cmpxchg(X, entry, None) is entry:
        zswap_entry_free(zswap, entry)


def pin_and_look_up(zswap: Zswap) -> None:
    """mm/zswap.c:shrink_memcg_cb, 6.8: rotate the entry, copy its slot, pin the slot, and only then go to the tree."""
    with zswap.lru_lock:
        entry = zswap.lru.first()
        if entry is None:
            return
        zswap.lru.move_tail(entry.lru)
    if not swapcache_prepare(zswap.slot):
        writeback_pinned(zswap, entry)
        swapcache_clear(zswap.slot)


def look_up_and_pin(zswap: Zswap) -> None:
    """The same, before: isolate the entry, go to the tree for it, and pin the slot later."""
    with zswap.lru_lock:
        entry = zswap.lru.first()
        if entry is None:
            return
        entry.lru.delete()
        tree = READ_ONCE(zswap).tree
    with tree.xa.lock:
        is_there = tree.xa.load(X) is entry
    if is_there and not swapcache_prepare(zswap.slot):
        writeback_pinned(zswap, entry)
        swapcache_clear(zswap.slot)


def copy_slot_late(zswap: Zswap) -> None:
    """Mutation: the entry is asked for its slot when the lock is dropped."""
    with zswap.lru_lock:
        entry = zswap.lru.first()
        if entry is None:
            return
        zswap.lru.move_tail(entry.lru)
    if entry.swpentry == X and not swapcache_prepare(zswap.slot):
        writeback_pinned(zswap, entry)
        swapcache_clear(zswap.slot)


def try_to_unuse(zswap: Zswap) -> None:
    """mm/swapfile.c:try_to_unuse, 6.8: swap in what the device has, which takes it out of zswap."""
    while swapcache_prepare(zswap.slot):
        relax()
    entry = READ_ONCE(zswap).tree.xa.erase(X)
    if entry:
        zswap_entry_free(zswap, entry)
    swap_free(zswap.slot)
    swapcache_clear(zswap.slot)


def swapoff(zswap: Zswap) -> None:
    """mm/swapfile.c:swapoff, with mm/zswap.c:zswap_swapoff, 6.8."""
    try_to_unuse(zswap)
    kfree(READ_ONCE(zswap).tree)
    WRITE_ONCE(zswap).tree = cast(Tree, None)


def program(label: str, shrink_memcg_cb: Callable[[Zswap], None]) -> Program[Zswap]:
    """The LRU is shrunk while the device goes."""
    return Program(f"{NAME}: {label}", Zswap, {"CPU0": shrink_memcg_cb, "CPU1": swapoff})


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/zswap: fix race between lru writeback and swapoff",
    references=("5878303c5353bdd9b7949db9edbaded53c150173",),
    story=(
        "Writeback that has taken an entry from the LRU and dropped the lock goes to the tree of the entry's device,"
        " which swapoff frees meanwhile."
    ),
    broken={
        "the tree is used before the slot is pinned": program("tree first", look_up_and_pin),
        "the entry is used before the slot is pinned": program("slot copied late", copy_slot_late),
    },
    fixed={"the slot is pinned before anything else is used": program("pinned first", pin_and_look_up)},
    finds=frozenset({"use after free"}),
)
