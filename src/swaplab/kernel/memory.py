"""Page faults, unmapping, and the end of a swap area: what moves a page between its page table and swap.

mm/memory.c, mm/rmap.c and mm/swapfile.c, 6.12 and 7.2. How a page comes back from swap is in
`swaplab.kernel.swap_fault_612` and `swaplab.kernel.swap_fault_72`.

Differs: the bits of a folio's page table entries are the folio's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from swaplab.kernel.charge import alloc_folio, mem_cgroup_charge
from swaplab.kernel.folio import (
    ZERO_PAGE,
    Fault,
    Folio,
    Mm,
    SharedEntry,
    WriteProtected,
    folio_add_lru,
    folio_put,
    pte_folio,
)
from swaplab.kernel.memcontrol import MemCgroup, count_memcg_events
from swaplab.kernel.swap_cache import folio_free_swap, try_to_reclaim_swap
from swaplab.kernel.swapfile import Swap, SwapInfo, get_swap_device
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    KernelWarning,
    rcu,
    relax,
    smp_store_release,
    synchronize_rcu,
)
from swaplab.kernel.zswap_entry import zswap_swapoff

__all__ = [
    "Fault",
    "SwapPte",
    "back_out",
    "copy_page_range",
    "count_major_fault",
    "folio_referenced",
    "get_mem_cgroup_from_mm",
    "map_folio",
    "map_write_protected",
    "read_page",
    "swapoff",
    "try_to_unmap",
    "write_page",
    "zap_page",
]


def get_mem_cgroup_from_mm(mm: Mm) -> MemCgroup:
    """Get the memcg that a process is charged to, with a reference: mm/memcontrol.c:get_mem_cgroup_from_mm."""
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
            folio = pte_folio(pte)
            if folio:
                folio.young = True
                return folio.data
        if not isinstance(pte, int):
            return ZERO_PAGE
        fault = swap.calls.do_swap_page(swap, mm, key, pte, False)
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
        if isinstance(pte, WriteProtected):
            fault = do_wp_page(swap, mm, key, pte)
        elif pte is None:
            fault = do_anonymous_page(swap, mm, key)
        else:
            fault = swap.calls.do_swap_page(swap, mm, key, pte, True)
        if fault is not Fault.DONE:
            return fault


def do_anonymous_page(swap: Swap, mm: Mm, key: int) -> Fault:
    """Map a new page: mm/memory.c:do_anonymous_page. May sleep."""
    swap.events.count("pgfault")
    folio = folio_prealloc(swap, mm)
    if not folio:
        return Fault.OOM
    folio.uptodate = True
    folio_add_lru(folio)
    with mm.page_table_lock:
        if key not in mm.ptes:
            map_folio(mm, key, folio)
            return Fault.DONE
    folio_put(folio)
    return Fault.DONE


def folio_prealloc(swap: Swap, mm: Mm) -> Folio | None:
    """Make a folio and charge it to a process: mm/memory.c:folio_prealloc. May sleep."""
    folio = alloc_folio(swap)
    if not folio:
        return None
    memcg = get_mem_cgroup_from_mm(mm)
    charged = mem_cgroup_charge(swap, folio, memcg)
    memcg.put()
    if not charged:
        folio_put(folio)
        return None
    return folio


def map_folio(mm: Mm, key: int, folio: Folio) -> None:
    """Give the caller's reference to the page table: mm/memory.c:set_ptes. It is locked."""
    mm.ptes[key] = folio
    folio.young = True
    folio.pte_dirty = False
    WRITE_ONCE(folio).mappings = ((mm, key),)


def map_write_protected(mm: Mm, key: int, folio: Folio) -> None:
    """`map_folio` for a folio that others may map as well."""
    mm.ptes[key] = WriteProtected(folio)
    WRITE_ONCE(folio).mappings = (*READ_ONCE(folio).mappings, (mm, key))


def unmap_write_protected(mm: Mm, key: int, folio: Folio) -> bool:
    """Note that a folio is not mapped there any more; whether it is elsewhere. The page table is locked."""
    mappings = tuple(each for each in READ_ONCE(folio).mappings if each != (mm, key))
    WRITE_ONCE(folio).mappings = mappings
    return bool(mappings)


# Fork -----------------------------------------------------------------------------------------------------------------


def copy_page_range(swap: Swap, mm: Mm, child: Mm, keys: Iterable[tuple[int, int]]) -> None:
    """Give a child pages of its parent, which both may only read: mm/memory.c:copy_page_range.

    Args:
        swap: with the area.
        mm, child: page tables.
        keys: of each page in both.
    """
    with mm.page_table_lock, child.page_table_lock:
        for key, copy in keys:
            pte = mm.ptes.get(key)
            folio = pte_folio(pte)
            if folio:
                folio.refcount.add(1)
                mm.ptes[key] = WriteProtected(folio)
                map_write_protected(child, copy, folio)
            elif isinstance(pte, int):
                si = READ_ONCE(swap).info
                assert si  # a page table names a slot of it
                si.dup(pte)
                mm.ptes[key] = child.ptes[copy] = SharedEntry(pte)


def do_wp_page(swap: Swap, mm: Mm, key: int, pte: WriteProtected) -> Fault:
    """Make an entry writable, for the folio that it maps or a copy: mm/memory.c:do_wp_page. May sleep."""
    swap.events.count("pgfault")
    folio = pte.folio
    with mm.page_table_lock:
        if mm.ptes.get(key) != pte:
            return Fault.DONE
        folio.refcount.add(1)
    if wp_can_reuse_anon_folio(swap, folio):
        with mm.page_table_lock:
            if mm.ptes.get(key) == pte:
                mm.ptes[key] = folio
        folio_put(folio)
        return Fault.DONE
    fault = wp_page_copy(swap, mm, key, pte)
    folio_put(folio)
    return fault


def wp_can_reuse_anon_folio(swap: Swap, folio: Folio) -> bool:
    """Whether a page table is the last to have a folio: mm/memory.c:wp_can_reuse_anon_folio."""
    # The page table's reference, and the caller's. The swap cache's may go; others do not by giving the slot up.
    if folio.refcount.read() > 2 + READ_ONCE(folio).swapcache or not folio.lock.try_acquire():
        return False
    if folio.swapcache:
        si = READ_ONCE(swap).info
        assert si
        folio_free_swap(swap, si, folio)
    is_last = folio.refcount.read() == 2
    folio.lock.release()
    return is_last


def wp_page_copy(swap: Swap, mm: Mm, key: int, pte: WriteProtected) -> Fault:
    """Map a copy of a folio in its place: mm/memory.c:wp_page_copy. May sleep; the caller has a reference."""
    folio = pte.folio
    new = folio_prealloc(swap, mm)
    if not new:
        return Fault.OOM
    new.data = folio.data
    new.uptodate = True
    folio_add_lru(new)
    with mm.page_table_lock:
        is_same = mm.ptes.get(key) == pte
        if is_same:
            map_folio(mm, key, new)
            is_mapped = unmap_write_protected(mm, key, folio)
    if not is_same:
        folio_put(new)
    elif is_mapped:
        folio_put(folio)
    else:
        free_folio_and_swap_cache(swap, folio)
    return Fault.DONE


# Coming back from swap ------------------------------------------------------------------------------------------------


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
    """count_memcg_event_mm(PGMAJFAULT), mm/memory.c."""
    swap.events.count("pgmajfault")
    count_memcg_events(memcg, "pgmajfault", 1)


def back_out(pte: SwapPte) -> Fault:
    """No folio: out of memory, unless another task was faster."""
    with pte.mm.page_table_lock:
        return Fault.OOM if pte.is_same() else Fault.DONE


# Unmapping ------------------------------------------------------------------------------------------------------------


def folio_referenced(folio: Folio) -> bool:
    """Whether a folio was used since this was asked last: mm/rmap.c:folio_referenced."""
    used = False
    for mm, key in READ_ONCE(folio).mappings:
        with mm.page_table_lock:
            if pte_folio(mm.ptes.get(key)) is folio:
                young, folio.young = folio.young, False
                used = used or young
    return used


def try_to_unmap(si: SwapInfo, folio: Folio) -> None:
    """Put a locked folio's slot where it is mapped: mm/rmap.c:try_to_unmap."""
    mappings = READ_ONCE(folio).mappings
    for number, (mm, key) in enumerate(mappings, 1):
        with mm.page_table_lock:
            pte = mm.ptes.get(key)
            if pte_folio(pte) is not folio:
                continue
            si.dup(folio.swap)
            mm.ptes[key] = SharedEntry(folio.swap) if isinstance(pte, WriteProtected) else folio.swap
            if folio.pte_dirty:
                WRITE_ONCE(folio).dirty = True
            WRITE_ONCE(folio).mappings = mappings[number:]
        folio_put(folio)


def zap_page(swap: Swap, mm: Mm, key: int) -> None:
    """Unmap a page for good: mm/memory.c:zap_pte_range."""
    with mm.page_table_lock:
        pte = mm.ptes.pop(key)
        is_mapped = False
        if isinstance(pte, WriteProtected):
            is_mapped = unmap_write_protected(mm, key, pte.folio)
        elif isinstance(pte, Folio):
            WRITE_ONCE(pte).mappings = ()
    folio = pte_folio(pte)
    if isinstance(pte, int):
        free_swap_and_cache(swap, pte)
    elif folio and is_mapped:
        folio_put(folio)
    elif folio:
        free_folio_and_swap_cache(swap, folio)


def free_folio_and_swap_cache(swap: Swap, folio: Folio) -> None:
    """Drop a page table's reference, and the slot if it was the last to need it: mm/swap_state.c:free_swap_cache.

    A folio that another task has locked stays in the swap cache until it is reclaimed.
    """
    if READ_ONCE(folio).swapcache and folio.lock.try_acquire():
        si = get_swap_device(swap, folio.swap)
        if si:
            folio_free_swap(swap, si, folio)
            si.users.put()
        folio.lock.release()
    folio_put(folio)


def free_swap_and_cache(swap: Swap, entry: int) -> None:
    """Drop a page table's use of a slot, and the folio if it was the last: mm/swapfile.c:free_swap_and_cache_nr.

    The area is kept first: after the last use of its slots it could go.
    """
    si = get_swap_device(swap, entry)
    if not si:
        raise KernelWarning(f"slot {entry} is in a page table, but there is no such slot")
    if si.put(swap, entry):
        try_to_reclaim_swap(swap, si, entry)
    si.users.put()


# swapoff --------------------------------------------------------------------------------------------------------------


def unuse_mm(swap: Swap, si: SwapInfo, mm: Mm) -> Fault:
    """Bring everything back that a page table has in swap: mm/swapfile.c:unuse_mm."""
    with mm.page_table_lock:
        swapped = [(key, pte) for key in mm.ptes if isinstance(pte := mm.ptes[key], int)]
    for key, entry in swapped:
        fault = swap.calls.do_swap_page(swap, mm, key, entry, False)
        if fault is not Fault.DONE:
            return fault
    return Fault.DONE


def unuse_swap_cache(swap: Swap, si: SwapInfo) -> None:
    """Take folios that no other task has in swap out of the swap cache: the end of mm/swapfile.c:try_to_unuse."""
    for entry in si.cached():
        folio = si.get_folio(entry)
        if folio:
            with folio.lock:
                while READ_ONCE(folio).writeback:
                    relax()
                if folio.swap == entry:
                    folio_free_swap(swap, si, folio)
            folio_put(folio)


def try_to_unuse(swap: Swap, si: SwapInfo, mms: Callable[[], Iterable[Mm]]) -> Fault:
    """Empty a swap area: mm/swapfile.c:try_to_unuse. Pages on their way keep it going round."""
    while before := si.inuse_pages():
        for mm in mms():
            fault = unuse_mm(swap, si, mm)
            if fault is not Fault.DONE:
                return fault
        unuse_swap_cache(swap, si)
        if si.inuse_pages() == before:
            relax()
    return Fault.DONE


def swapoff(swap: Swap, mms: Callable[[], Iterable[Mm]]) -> Fault:
    """Bring everything back and end the swap area: mm/swapfile.c:swapoff. May sleep.

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
        si.free()
    return Fault.DONE


def _set_writeok(swap: Swap, si: SwapInfo, writeok: bool) -> None:
    """Let slots be taken or not: mm/swapfile.c:del_from_avail_list and its like."""
    pages = si.max - 1
    with si.lock:
        WRITE_ONCE(si).writeok = writeok
        swap.nr_swap_pages.add(pages if writeok else -pages)
        WRITE_ONCE(swap).total_swap_pages = pages if writeok else 0
