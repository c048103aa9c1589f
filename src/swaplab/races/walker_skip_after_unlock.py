"""A walk over a list that goes on where it had left it, though the lock was free in between.

list_lru_walk_one() notes which item comes next before it hands one to its callback. zswap's callback drops the lock to
write the entry back; what is next may be freed meanwhile. It has to say so when it is done, with LRU_RETRY, upon which
the walk starts again, or with LRU_STOP. It said LRU_SKIP if the page was in the swap cache already: "nothing happened,
go on".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import ListHead, ListNode, Shared, SpinLock, kfree
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]


class LruStatus(Enum):
    """enum lru_status: what a callback did to the item and the lock."""

    ROTATE = auto()
    SKIP = auto()
    RETRY = auto()
    STOP = auto()


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]
    referenced: bool

    def __init__(self, name: str, referenced: bool) -> None:
        self.name = name
        self.referenced = referenced
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class ListLru(Shared):
    """struct list_lru, of one node and one memcg, with two entries: the second has a second chance."""

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.list: ListHead[Entry] = ListHead(self, "list")
        self.entries = (Entry("A", False), Entry("B", True))
        for entry in self.entries:
            self.list.add_tail(entry.lru)


def shrink_memcg_cb(lru: ListLru, entry: Entry, if_cached: LruStatus) -> LruStatus:
    """mm/zswap.c:shrink_memcg_cb, 6.12. Returns `if_cached` if the page is in the swap cache, which it always is."""
    if entry.referenced:
        entry.referenced = False
        return LruStatus.ROTATE
    lru.list.move_tail(entry.lru)
    lru.lock.release()
    # zswap_writeback_entry() is here, and finds the page in the swap cache.
    lru.lock.acquire()
    return if_cached


def list_lru_walk_one(lru: ListLru, nr_to_walk: int, if_cached: LruStatus) -> None:
    """mm/list_lru.c:list_lru_walk_one, 6.12."""
    with lru.lock:
        entry = lru.list.first()
        while entry and nr_to_walk:
            nr_to_walk -= 1
            following = lru.list.after(entry.lru)
            status = shrink_memcg_cb(lru, entry, if_cached)
            if status is LruStatus.STOP:
                return
            if status is LruStatus.ROTATE:
                lru.list.move_tail(entry.lru)
            entry = lru.list.first() if status is LruStatus.RETRY else following


def zswap_invalidate(lru: ListLru) -> None:
    """mm/zswap.c:zswap_invalidate, 6.12, of the second entry."""
    entry = lru.entries[1]
    with lru.lock:
        entry.lru.delete()
    kfree(entry)


def program(label: str, if_cached: LruStatus) -> Program[ListLru]:
    """A list is shrunk while an entry of it is freed."""
    return Program(
        f"walker-skip-after-unlock: {label}",
        ListLru,
        {"CPU0": lambda lru: list_lru_walk_one(lru, 2, if_cached), "CPU1": zswap_invalidate},
    )


EXHIBIT = Exhibit(
    name="walker-skip-after-unlock",
    title="mm/zswap: don't return LRU_SKIP if we have dropped lru lock",
    references=("27d3969b47cc38810b3fd65d72231940e8671e6c",),
    story="zswap's callback dropped the lock of the list that is walked, and let the walk go on to an entry now freed.",
    broken={"skips": program("LRU_SKIP", LruStatus.SKIP)},
    fixed={"starts again": program("LRU_RETRY", LruStatus.RETRY), "stops": program("LRU_STOP", LruStatus.STOP)},
    finds=frozenset({"list corruption", "use after free"}),
)
