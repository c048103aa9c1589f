"""Folios: pages of memory with their contents.

Differs: a folio is one page, and its contents are immutable bytes that are replaced as a whole. Its flags are accessed
with READ_ONCE and WRITE_ONCE, as the bits of a word that the kernel changes atomically.

Cited are Linux 6.12 and 7.2. They differ in what a folio holds of who it is charged to, `memcg_data`, and by that in
what its list is: see the methods of `swaplab.kernel.memcontrol.MemCgroup` and `ObjCgroup`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from swaplab.kernel.lruvec import Lruvec
from swaplab.kernel.memcontrol import FolioMemcg, MemCgroup
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, ListNode, Mutex, Shared, SpinLock, Table, kfree
from swaplab.linux.page import PAGE_SIZE

__all__ = [
    "ZERO_PAGE",
    "Fault",
    "Folio",
    "Mm",
    "Pte",
    "SharedEntry",
    "WriteProtected",
    "folio_add_lru",
    "folio_alloc",
    "folio_end_writeback",
    "folio_free",
    "folio_isolate_lru",
    "folio_memcg",
    "folio_put",
    "lruvec_del_folio",
    "pte_folio",
]

ZERO_PAGE = bytes(PAGE_SIZE)


class Folio(Shared):
    """struct folio.

    Attributes:
        lock: PG_locked.
        refcount: one each of its maker, of the swap cache, of a page table, and of each other user.
        lru: its place on its memcg's list.
        data: 4096 bytes; under the folio lock, and while it is mapped under the page table's.
        dirty: newer than what the slot has: PG_dirty.
        uptodate: `data` is what it should be: PG_uptodate.
        writeback: being written: PG_writeback.
        reclaim: to be freed once it is written: PG_reclaim.
        swapcache: in the swap cache, for the slot `swap`: PG_swapcache. Both under the folio lock.
        on_lru: on that list: PG_lru. Under its lock.
        memcg_data: memcg or objcg that is charged, with a reference; the folio's own as long as it lives.
        mappings: page tables and keys where it is mapped; under the page table's lock.
        young, pte_dirty: bits of the page table entries: used, and written to, since the last look.
    """

    zone: Final[Zone]
    lock: Final[Mutex]
    refcount: Final[Atomic]
    lru: Final[ListNode[Folio]]
    data: bytes
    dirty: bool
    uptodate: bool
    writeback: bool
    reclaim: bool
    swapcache: bool
    swap: int
    on_lru: bool
    memcg_data: FolioMemcg | None
    mappings: tuple[tuple[Mm, int], ...]
    young: bool
    pte_dirty: bool

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.lock = Mutex(self, "lock")
        self.refcount = Atomic(self, "refcount", 1)
        self.lru = ListNode(self, "lru")
        self.data = ZERO_PAGE
        self.dirty = self.uptodate = self.writeback = self.reclaim = self.swapcache = self.on_lru = False
        self.young = self.pte_dirty = False
        self.swap = 0
        self.memcg_data = None
        self.mappings = ()


class Fault(Enum):
    """vm_fault_t: what a page fault came to. After `DONE` the access is tried again."""

    DONE = "done"
    OOM = "out of memory"
    SIGBUS = "the device cannot be read"


class WriteProtected(NamedTuple):
    """A page table entry that maps a folio which others may map as well: one that is not PG_anon_exclusive."""

    folio: Folio


class SharedEntry(int):
    """A page table entry with a slot that others may name as well: one without pte_swp_exclusive."""


Pte = Folio | WriteProtected | int


def pte_folio(pte: Pte | None) -> Folio | None:
    """Return the folio that a page table entry maps, if it maps one."""
    if isinstance(pte, WriteProtected):
        return pte.folio
    return pte if isinstance(pte, Folio) else None


class Mm(Shared):
    """struct mm_struct: a page table, and the memcg that pays for its pages.

    Attributes:
        memcg: of the process, charged for new pages.
        ptes: by key, a folio, or the slot of one that was swapped out; nothing for pages never written to. Of what
            fork has copied, `WriteProtected` or a `SharedEntry`. Under page_table_lock, which is also what makes an
            access to a mapped page one.
    """

    name: Final[str]
    page_table_lock: Final[SpinLock]
    ptes: Final[Table[int, Pte]]
    memcg: MemCgroup

    def __init__(self, name: str, memcg: MemCgroup) -> None:
        self.name = name
        self.page_table_lock = SpinLock(self, "page_table_lock")
        self.ptes = Table(self, "ptes")
        self.memcg = memcg


def folio_alloc(zone: Zone) -> Folio | None:
    """Make a folio if there is memory for it: mm/page_alloc.c:folio_alloc."""
    return Folio(zone) if zone.alloc() else None


def folio_memcg(folio: Folio) -> MemCgroup | None:
    """The memcg that a folio is charged to now: include/linux/memcontrol.h:folio_memcg. In 7.2 under RCU."""
    charged = folio.memcg_data
    return charged.with_memcg(lambda memcg: memcg) if charged else None


def folio_add_lru(folio: Folio) -> None:
    """Put a charged folio on its memcg's list: mm/swap.c:folio_add_lru. Differs: at once, not in batches."""
    assert folio.memcg_data
    lruvec = folio.memcg_data.lock_lruvec()
    lruvec.lru.add_tail(folio.lru)
    folio.on_lru = True
    lruvec.size += 1
    lruvec.lru_lock.release()


def folio_isolate_lru(folio: Folio) -> bool:
    """Take a folio, which the caller has a reference to, off its list: mm/vmscan.c:folio_isolate_lru."""
    assert folio.memcg_data
    lruvec = folio.memcg_data.lock_lruvec()
    was_listed = folio.on_lru
    if was_listed:
        lruvec_del_folio(lruvec, folio)
    lruvec.lru_lock.release()
    return was_listed


def lruvec_del_folio(lruvec: Lruvec, folio: Folio) -> None:
    """Unlink a folio, under the list's lock: include/linux/mm_inline.h:lruvec_del_folio."""
    folio.lru.delete()
    folio.on_lru = False
    lruvec.size -= 1


def page_cache_release(folio: Folio) -> None:
    """Take a folio without users off its list: mm/swap.c:page_cache_release."""
    if folio.memcg_data and READ_ONCE(folio).on_lru:
        lruvec = folio.memcg_data.lock_lruvec()
        lruvec_del_folio(lruvec, folio)
        lruvec.lru_lock.release()


def folio_put(folio: Folio) -> None:
    """Drop a reference, and free the folio with the last: include/linux/mm.h:folio_put."""
    if folio.refcount.dec_and_test():
        folio_free(folio)


def folio_free(folio: Folio) -> None:
    """Free a folio without references: mm/swap.c:__folio_put."""
    page_cache_release(folio)
    if folio.memcg_data:
        folio.memcg_data.uncharge_folio()
    folio.zone.give_back()
    kfree(folio)


def folio_rotate_reclaimable(folio: Folio) -> None:
    """Make a folio the next that reclaim takes: mm/swap.c:folio_rotate_reclaimable."""
    if not folio.memcg_data or READ_ONCE(folio).dirty:
        return
    lruvec = folio.memcg_data.lock_lruvec()
    if folio.on_lru:
        folio.lru.delete()
        lruvec.lru.add(folio.lru)
    lruvec.lru_lock.release()


def folio_end_writeback(folio: Folio) -> None:
    """A write is over: mm/filemap.c:folio_end_writeback. The caller has a reference."""
    if READ_ONCE(folio).reclaim:
        WRITE_ONCE(folio).reclaim = False
        folio_rotate_reclaimable(folio)
    WRITE_ONCE(folio).writeback = False
