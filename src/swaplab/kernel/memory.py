"""Page faults, unmapping, and the end of a swap area: what moves a page between its page table and swap.

mm/memory.c, mm/rmap.c and mm/swapfile.c, 6.12. Differs: a page is mapped once, and its page table entry is writable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from swaplab.kernel.charge import alloc_folio, mem_cgroup_charge
from swaplab.kernel.folio import ZERO_PAGE, Folio, Mm, folio_add_lru, folio_put
from swaplab.kernel.memcontrol import MemCgroup, count_memcg_events, mem_cgroup_swap_full
from swaplab.kernel.page_io import swap_read_folio
from swaplab.kernel.swap_state import (
    filemap_get_folio,
    folio_free_swap,
    read_swap_cache_async,
    swapin_charge_folio,
    try_to_reclaim_swap,
)
from swaplab.kernel.swapfile import (
    SWAP_HAS_CACHE,
    Swap,
    SwapInfo,
    get_swap_device,
    put_swap_folio,
    swap_duplicate,
    swap_free,
    swap_swapcount,
    swapcache_prepare,
    vm_swap_full,
)
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    KernelWarning,
    kfree,
    rcu,
    relax,
    smp_load_acquire,
    smp_store_release,
    synchronize_rcu,
)
from swaplab.kernel.zswap_entry import zswap_swapoff

__all__ = [
    "Fault",
    "folio_referenced",
    "get_mem_cgroup_from_mm",
    "read_page",
    "swapoff",
    "try_to_unmap",
    "write_page",
    "zap_page",
]


class Fault(Enum):
    """vm_fault_t: what a page fault came to. After `DONE` the access is tried again."""

    DONE = "done"
    OOM = "out of memory"
    SIGBUS = "the device cannot be read"


def get_mem_cgroup_from_mm(mm: Mm) -> MemCgroup:
    """Get who pays for a process, with a reference: mm/memcontrol.c:get_mem_cgroup_from_mm, 6.12."""
    while True:
        with rcu:
            memcg = READ_ONCE(mm).memcg
            if memcg.tryget():
                return memcg
        relax()


# Accesses -------------------------------------------------------------------------------------------------------------


def read_page(swap: Swap, mm: Mm, key: int) -> bytes | Fault:
    """Read a page; one never written to is all zeros. Returns 4096 bytes, or why there are none."""
    while True:
        with mm.page_table_lock:
            pte = mm.ptes.get(key)
            if isinstance(pte, Folio):
                pte.young = True
                return pte.data
        if pte is None:
            return ZERO_PAGE
        fault = do_swap_page(swap, mm, key, pte, write=False)
        if fault is not Fault.DONE:
            return fault


def write_page(swap: Swap, mm: Mm, key: int, data: bytes) -> Fault:
    """Write a page of 4096 bytes."""
    while True:
        with mm.page_table_lock:
            pte = mm.ptes.get(key)
            if isinstance(pte, Folio):
                pte.data = data
                pte.young = pte.pte_dirty = True
                return Fault.DONE
        fault = do_anonymous_page(swap, mm, key) if pte is None else do_swap_page(swap, mm, key, pte, write=True)
        if fault is not Fault.DONE:
            return fault


def do_anonymous_page(swap: Swap, mm: Mm, key: int) -> Fault:
    """Map a new page: mm/memory.c:do_anonymous_page, 6.12. May sleep."""
    swap.events.count("pgfault")
    folio = alloc_folio(swap)
    if not folio:
        return Fault.OOM
    memcg = get_mem_cgroup_from_mm(mm)
    charged = mem_cgroup_charge(swap, folio, memcg)
    memcg.put()
    if not charged:
        folio_put(folio)
        return Fault.OOM
    folio.uptodate = True
    folio_add_lru(folio)
    with mm.page_table_lock:
        if key not in mm.ptes:
            map_folio(mm, key, folio)
            return Fault.DONE
    folio_put(folio)
    return Fault.DONE


def map_folio(mm: Mm, key: int, folio: Folio) -> None:
    """Give the caller's reference to the page table: mm/memory.c:set_ptes, 6.12. It is locked."""
    mm.ptes[key] = folio
    folio.young = True
    folio.pte_dirty = False
    WRITE_ONCE(folio).mapping = (mm, key)


# Coming back from swap ------------------------------------------------------------------------------------------------


def do_swap_page(swap: Swap, mm: Mm, key: int, entry: int, write: bool) -> Fault:
    """Map what was in a slot, if the page table still says so: mm/memory.c:do_swap_page, 6.12. May sleep."""
    swap.events.count("pgfault")
    si = get_swap_device(swap, entry)
    if not si:
        return Fault.DONE
    pte = SwapPte(mm, key, entry, write)
    folio = filemap_get_folio(si, entry)
    if folio:
        fault = finish_swapin(swap, si, pte, folio)
    elif si.synchronous and swap_swapcount(si, entry) == 1:
        fault = swapin_private(swap, si, pte)
    else:
        fault = swapin_cached(swap, si, pte)
    si.users.put()
    return fault


class SwapPte(NamedTuple):
    """What a fault is about: struct vm_fault with its orig_pte.

    Attributes:
        mm, key: where the page belongs.
        entry: the slot that was found there.
        write: FAULT_FLAG_WRITE.
    """

    mm: Mm
    key: int
    entry: int
    write: bool

    def is_same(self) -> bool:
        """pte_same: whether it is still there. The page table is locked."""
        return self.mm.ptes.get(self.key) == self.entry


def count_major_fault(swap: Swap, memcg: MemCgroup) -> None:
    """count_memcg_event_mm(PGMAJFAULT), mm/memory.c, 6.12."""
    swap.events.count("pgmajfault")
    count_memcg_events(memcg, "pgmajfault", 1)


def swapin_cached(swap: Swap, si: SwapInfo, pte: SwapPte) -> Fault:
    """Read a slot into the swap cache, and map that: mm/swap_state.c:read_swap_cache_async, 6.12."""
    memcg = get_mem_cgroup_from_mm(pte.mm)
    folio, is_new = read_swap_cache_async(swap, pte.entry, memcg)
    if folio:
        count_major_fault(swap, memcg)
    memcg.put()
    if not folio:
        return back_out(pte)
    if is_new:
        swap_read_folio(swap, si, folio)
    return finish_swapin(swap, si, pte, folio)


def swapin_private(swap: Swap, si: SwapInfo, pte: SwapPte) -> Fault:
    """Read a slot without the swap cache: mm/memory.c:do_swap_page, 6.12, where SWP_SYNCHRONOUS_IO is set.

    The slot is pinned meanwhile: others could be faster, free it, and swap another page out to it, which the page
    table entry would not show.
    """
    memcg = get_mem_cgroup_from_mm(pte.mm)
    folio = alloc_folio(swap)
    charged = folio is not None and swapin_charge_folio(swap, si, folio, pte.entry, memcg)
    if folio and charged and swapcache_prepare(si, pte.entry):
        relax()
        folio_put(folio)
        memcg.put()
        return Fault.DONE
    if folio and charged:
        count_major_fault(swap, memcg)
    memcg.put()
    if not folio or not charged:
        if folio:
            folio_put(folio)
        return back_out(pte)
    folio.lock.acquire()
    folio_add_lru(folio)
    folio.swap = pte.entry
    swap_read_folio(swap, si, folio)
    folio.swap = 0
    fault = finish_swapin(swap, si, pte, folio)
    put_swap_folio(swap, si, pte.entry)
    return fault


def back_out(pte: SwapPte) -> Fault:
    """No folio: out of memory, unless somebody else was faster."""
    with pte.mm.page_table_lock:
        return Fault.OOM if pte.is_same() else Fault.DONE


def finish_swapin(swap: Swap, si: SwapInfo, pte: SwapPte, folio: Folio) -> Fault:
    """Map a folio and drop the page table's use of the slot: the second half of mm/memory.c:do_swap_page, 6.12.

    The caller's reference goes to the page table.
    """
    fault = Fault.DONE
    folio.lock.acquire()
    # A private folio has no slot of its own; one of the swap cache may have lost it before it was locked.
    if not folio.swap or folio.swap == pte.entry:
        with pte.mm.page_table_lock:
            if pte.is_same() and not READ_ONCE(folio).uptodate:
                fault = Fault.SIGBUS
            elif pte.is_same():
                swap_free(swap, si, pte.entry)
                if should_try_to_free_swap(swap, folio, pte.write):
                    folio_free_swap(swap, si, folio)
                map_folio(pte.mm, pte.key, folio)
                # Before the page table is unlocked: whoever unmaps the folio then may free it.
                folio.lock.release()
                return Fault.DONE
    folio.lock.release()
    folio_put(folio)
    return fault


def should_try_to_free_swap(swap: Swap, folio: Folio, write: bool) -> bool:
    """Whether a folio's slot is better free: mm/memory.c:should_try_to_free_swap, 6.12."""
    if not READ_ONCE(folio).swapcache:
        return False
    assert folio.memcg
    # Two references: the swap cache's and the caller's. What is written to makes the slot stale anyway.
    return vm_swap_full(swap) or mem_cgroup_swap_full(folio.memcg) or (write and folio.refcount.read() == 2)


# Unmapping ------------------------------------------------------------------------------------------------------------


def folio_referenced(folio: Folio) -> bool:
    """Whether a folio was used since this was asked last: mm/rmap.c:folio_referenced, 6.12."""
    mapping = READ_ONCE(folio).mapping
    if not mapping:
        return False
    mm, key = mapping
    with mm.page_table_lock:
        if mm.ptes.get(key) is not folio:
            return False
        young, folio.young = folio.young, False
        return young


def try_to_unmap(si: SwapInfo, folio: Folio) -> None:
    """Put a locked folio's slot where it is mapped: mm/rmap.c:try_to_unmap, 6.12."""
    mapping = READ_ONCE(folio).mapping
    if not mapping:
        return
    mm, key = mapping
    with mm.page_table_lock:
        if mm.ptes.get(key) is not folio:
            return
        swap_duplicate(si, folio.swap)
        mm.ptes[key] = folio.swap
        if folio.pte_dirty:
            WRITE_ONCE(folio).dirty = True
        WRITE_ONCE(folio).mapping = None
    folio_put(folio)


def zap_page(swap: Swap, mm: Mm, key: int) -> None:
    """Unmap a page for good: mm/memory.c:zap_pte_range, 6.12."""
    with mm.page_table_lock:
        pte = mm.ptes.pop(key)
        if isinstance(pte, Folio):
            WRITE_ONCE(pte).mapping = None
    if isinstance(pte, Folio):
        free_folio_and_swap_cache(swap, pte)
    elif pte is not None:
        free_swap_and_cache(swap, pte)


def free_folio_and_swap_cache(swap: Swap, folio: Folio) -> None:
    """Drop a page table's reference, and the slot if it was the last to need it: mm/swap_state.c:free_swap_cache, 6.12.

    A folio that somebody else has locked stays in the swap cache until it is reclaimed.
    """
    if READ_ONCE(folio).swapcache and folio.lock.try_acquire():
        si = get_swap_device(swap, folio.swap)
        if si:
            folio_free_swap(swap, si, folio)
            si.users.put()
        folio.lock.release()
    folio_put(folio)


def free_swap_and_cache(swap: Swap, entry: int) -> None:
    """Drop a page table's use of a slot, and the folio if it was the last: mm/swapfile.c:free_swap_and_cache_nr, 6.12.

    The area is kept first: after the last use of its slots it could go.
    """
    si = get_swap_device(swap, entry)
    if not si:
        raise KernelWarning(f"slot {entry} is in a page table, but there is no such slot")
    if swap_free(swap, si, entry) == SWAP_HAS_CACHE:
        try_to_reclaim_swap(swap, si, entry)
    si.users.put()


# swapoff --------------------------------------------------------------------------------------------------------------


def unuse_mm(swap: Swap, si: SwapInfo, mm: Mm) -> Fault:
    """Bring everything back that a page table has in swap: mm/swapfile.c:unuse_mm, 6.12."""
    with mm.page_table_lock:
        swapped = [(key, pte) for key in mm.ptes if isinstance(pte := mm.ptes[key], int)]
    for key, entry in swapped:
        fault = do_swap_page(swap, mm, key, entry, write=False)
        if fault is not Fault.DONE:
            return fault
    return Fault.DONE


def unuse_swap_cache(swap: Swap, si: SwapInfo) -> None:
    """Take folios out of the swap cache that nobody else has in swap: the end of mm/swapfile.c:try_to_unuse, 6.12."""
    for entry in si.swap_cache.indices():
        folio = filemap_get_folio(si, entry)
        if folio:
            with folio.lock:
                while READ_ONCE(folio).writeback:
                    relax()
                if folio.swap == entry:
                    folio_free_swap(swap, si, folio)
            folio_put(folio)


def try_to_unuse(swap: Swap, si: SwapInfo, mms: Callable[[], Iterable[Mm]]) -> Fault:
    """Empty a swap area: mm/swapfile.c:try_to_unuse, 6.12. Pages on their way keep it going round.

    So do those that reclaim drops from memory again, to make room for others.
    """
    while before := smp_load_acquire(si).inuse_pages:
        for mm in mms():
            fault = unuse_mm(swap, si, mm)
            if fault is not Fault.DONE:
                return fault
        unuse_swap_cache(swap, si)
        if smp_load_acquire(si).inuse_pages == before:
            relax()
    return Fault.DONE


def swapoff(swap: Swap, mms: Callable[[], Iterable[Mm]]) -> Fault:
    """Bring everything back and end the swap area: mm/swapfile.c:swapoff, 6.12. May sleep.

    Differs: gives up if a page cannot be read, where the kernel gives up the page (mm/swapfile.c:unuse_pte).

    Args:
        swap: with the area.
        mms: all page tables: init_mm.mmlist.

    Returns:
        `DONE`, or why it was not possible; the area is as it was then.

    Raises:
        KernelWarning: there is no swap area.
    """
    with swap.swapon_mutex:
        si = READ_ONCE(swap).info
        if not si:
            raise KernelWarning("there is no swap area to end")
        _set_writeok(swap, si, False)
        fault = try_to_unuse(swap, si, mms)
        if fault is not Fault.DONE:
            _set_writeok(swap, si, True)
            return fault
        si.users.kill()
        synchronize_rcu()
        while not si.unused:
            relax()
        smp_store_release(swap).info = None
        zswap_swapoff(si.tree)
        kfree(si.swap_map)
    return Fault.DONE


def _set_writeok(swap: Swap, si: SwapInfo, writeok: bool) -> None:
    """Let slots be taken or not: mm/swapfile.c:del_from_avail_list and its like, 6.12."""
    pages = si.max - 1
    with si.lock:
        si.writeok = writeok
        swap.nr_swap_pages.add(pages if writeok else -pages)
        WRITE_ONCE(swap).total_swap_pages = pages if writeok else 0
