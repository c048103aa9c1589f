"""Memory that goes: munmap, madvise and exit (mm/memory.c, mm/mmap.c, mm/vma.c, mm/madvise.c, 6.12).

Folios go in batches in Linux (mm/mmu_gather.c:tlb_batch_pages_flush), swap entries one after another; here in order of
address. Nothing looks in between, and neither way has a share in what the other changes.
"""

from __future__ import annotations

from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.lists import lru_add, lru_del
from swaplab.replay.memcontrol import obj_cgroup_charge, swap_full, task_of
from swaplab.replay.rmap import (
    count_unmapping,
    folio_of,
    free_record,
    is_swapped,
    may_orphan,
    share,
    unlink_owner,
)
from swaplab.replay.state import (
    ANON_VMA_BYTES,
    COMPRESSED,
    GONE,
    NONE,
    PG_ACTIVE,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTRS_PER_TABLE,
    RESIDENT,
    SHARED,
    SHMEM,
    STATE_MASK,
    UNKNOWN,
    UNMAPPED,
    YOUNG,
    State,
)
from swaplab.replay.stock import page_counter_charge
from swaplab.replay.swap import lru_add_drain, wait_for_write
from swaplab.replay.swap_slots import free_slot_directly
from swaplab.replay.swapfile import folio_free_swap, free_slot
from swaplab.replay.workingset import workingset_age_nonresident
from swaplab.replay.zswap import zram_free, zswap_entry_free

__all__ = ["exit_mmap", "is_gone", "madvise_dontneed", "munmap", "put_folio", "unmap_page_range"]


# Page table entries ---------------------------------------------------------------------------------------------------


@jit
def free_folio(m: State, page: int) -> None:
    """Free a folio that is not mapped and has no slot (mm/swap.c:folios_put_refs)."""
    lru_del(m, page)
    page_counter_charge(m, wide(m.folios[page].memcg), -1)
    m.memory.free += 1


@jit
def free_swapped(m: State, page: int, directly: bool) -> None:
    """Free a slot and what is in it (mm/swapfile.c:free_swap_and_cache_nr, mm/zswap.c:zswap_invalidate)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    if wide(folio.bits) & STATE_MASK == COMPRESSED:
        if m.swap.zram:
            zram_free(m, page)
        else:
            zswap_entry_free(m, page)
    if directly:
        free_slot_directly(m, page, memcg)
    else:
        free_slot(m, page, memcg)


@jit
def put_folio(m: State, folio: int) -> None:
    """Free a shared folio that one page less has, and its slot, unless others need them (mm/swap.c:folio_put).

    What is being written stays in the swap cache, until reclaim finds it there: mm/swap_state.c:free_swap_cache.
    """
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    if rmap.mapped:
        return
    if is_swapped(m, folio):
        if not rmap.owners:
            free_swapped(m, folio, False)
            free_record(m, folio)
        return
    folio_free_swap(m, folio)
    if not rmap.owners and not wide(m.folios[folio].bits) & PG_SWAPCACHE:
        free_folio(m, folio)
        free_record(m, folio)


@jit
def zap_own(m: State, page: int, directly: bool) -> None:
    """Free what a page has that no other page does."""
    folio = m.folios[page]
    if is_swapped(m, page):
        free_swapped(m, page, directly)
    elif wide(folio.bits) & STATE_MASK == RESIDENT:
        if m.pte[page] & PRESENT:
            m.memcgs[wide(folio.memcg)].anon -= 1
        if wide(folio.bits) & PG_SWAPCACHE:
            m.memcgs[wide(folio.memcg)].swapcached -= 1
            free_slot(m, page, wide(folio.other_memcg))
        free_folio(m, page)


@jit
def zap_shared(m: State, page: int) -> None:
    """Have a page let go of a folio that others may have."""
    folio = folio_of(m, page)
    names_slot = not m.pte[page]
    count_unmapping(m, folio, page)
    unlink_owner(m, folio, page)
    if names_slot and swap_full(m, wide(m.folios[folio].memcg)):
        folio_free_swap(m, folio)  # __try_to_reclaim_swap(), TTRS_FULL
    put_folio(m, folio)


@jit
def mark_accessed(m: State, folio: int) -> None:
    """Note that memory that is no longer mapped had been used (mm/swap.c:folio_mark_accessed).

    Differs: MGLRU does not count such uses.
    """
    flags = wide(m.folios[folio].bits)
    if m.mglru.enabled or not flags & PG_REFERENCED:
        m.folios[folio].bits = flags | (0 if m.mglru.enabled else PG_REFERENCED)
    elif not flags & PG_ACTIVE:
        lru_del(m, folio)
        m.folios[folio].bits = flags & ~PG_REFERENCED | PG_ACTIVE
        lru_add(m, folio)
        memcg = wide(m.folios[folio].memcg)
        m.memcgs[memcg].pgactivate += 1
        workingset_age_nonresident(m, memcg)


@jit
def zap_shmem(m: State, page: int) -> None:
    """Unmap a page of shared memory, which stays (mm/memory.c:zap_present_folio_ptes)."""
    if m.pte[page]:
        folio = folio_of(m, page)
        if m.pte[page] & YOUNG:
            mark_accessed(m, folio)
        count_unmapping(m, folio, page)


@jit
def zap_pte(m: State, page: int, left: int, directly: bool) -> None:
    """Free the memory of a page, wherever it is, and leave its record in the state `left` (zap_pte_range).

    Differs: waits for a write in flight if as many folios as there are pages have no page any more.
    """
    folio = m.folios[page]
    if unlikely(wide(folio.bits) & STATE_MASK == SHMEM):
        zap_shmem(m, page)
        if left != NONE:
            folio.bits = left
        return
    while wide(folio.bits) & PG_WRITEBACK and wide(folio.bits) & STATE_MASK == RESIDENT:
        if may_orphan(m):
            share(m, page)
        else:
            wait_for_write(m)
    if wide(folio.bits) & STATE_MASK == SHARED:
        zap_shared(m, page)
    else:
        zap_own(m, page, directly)
    m.pte[page] = 0
    folio.bits, folio.version, folio.length = left, 0, UNKNOWN


@jit
def swap_pte_batch(m: State, page: int, end: int) -> int:
    """Pages from `page` on whose slots follow each other, none of them in the swap cache, in one cluster of slots.

    Those are freed at once (mm/swapfile.c:__swap_entries_free); all others go through the cache of slots.
    """
    slot = wide(m.page_slot[page])
    end = min(end, page + SWAPFILE_CLUSTER - slot % SWAPFILE_CLUSTER)
    count = 0
    while page + count < end and is_swapped(m, page + count) and m.page_slot[page + count] == slot + count:
        count += 1
    return count


@jit
def zap_pte_range(m: State, page: int, end: int, left: int) -> None:
    """Free what the pages of one page table have (mm/memory.c:zap_pte_range)."""
    batch = 0
    while page < end:
        if not m.linux.slots_from_clusters and unlikely(m.device.rotational) and not batch:
            batch = swap_pte_batch(m, page, end)
            batch -= batch == 1
        zap_pte(m, page, left, batch > 0)
        batch -= batch > 0
        page += 1


@jit
def unmap_page_range(m: State, page: int, end: int, left: int) -> None:
    """Free what the pages of one task from `page` to `end` have (mm/memory.c:unmap_page_range)."""
    lru_add_drain(m)
    first = wide(m.task_first[task_of(m, page)])
    while page < end:
        table_end = min(end, page + PTRS_PER_TABLE - (page - first) % PTRS_PER_TABLE)
        zap_pte_range(m, page, table_end, left)
        page = table_end


# Page tables ----------------------------------------------------------------------------------------------------------


@jit
def free_table(m: State, table: int) -> None:
    """Free a page table, if it is there (mm/memory.c:free_pte_range)."""
    memcg = wide(m.table_memcg[table])
    if memcg >= 0:
        page_counter_charge(m, wide(m.memcgs[memcg].objcg), -1)
        m.memory.free += 1
        m.table_memcg[table] = -1


@jit
def is_range_unmapped(m: State, page: int, end: int) -> bool:
    """Whether no mapping has any of these pages."""
    while page < end:
        if wide(m.folios[page].bits) != NONE | UNMAPPED:
            return False
        page += 1
    return True


@jit
def free_pgtables(m: State, page: int, end: int) -> None:
    """Free the page tables of a task that mapped pages from `page` to `end` and now map none (free_pgtables)."""
    task = task_of(m, page)
    first, last = wide(m.task_first[task]), wide(m.task_first[task + 1])
    for number in range((page - first) // PTRS_PER_TABLE, (end - 1 - first) // PTRS_PER_TABLE + 1):
        begin = first + number * PTRS_PER_TABLE
        if is_range_unmapped(m, begin, min(begin + PTRS_PER_TABLE, last)):
            free_table(m, wide(m.first_table[task]) + number)


@jit
def unlink_anon_vmas(m: State, task: int) -> None:
    """Free what `anon_vma_prepare` made (mm/rmap.c:unlink_anon_vmas)."""
    memcg = wide(m.anon_vma_memcg[task])
    if memcg >= 0:
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), -ANON_VMA_BYTES)
        m.anon_vma_memcg[task] = -1


@entry
def is_gone(m: State, task: int) -> bool:
    """Whether a task with memory has exited or was killed."""
    return wide(m.folios[wide(m.task_first[task])].bits) & STATE_MASK == GONE


# System calls ---------------------------------------------------------------------------------------------------------


@entry
def munmap(m: State, page: int, end: int) -> None:
    """Free the pages of one task from `page` to `end`, and page tables that map no others (vms_clear_ptes)."""
    unmap_page_range(m, page, end, NONE | UNMAPPED)
    free_pgtables(m, page, end)


@entry
def madvise_dontneed(m: State, page: int, end: int) -> None:
    """Free the pages of one task from `page` to `end`, which stay mapped (madvise_dontneed_single_vma)."""
    unmap_page_range(m, page, end, NONE)


@entry
def exit_mmap(m: State, task: int) -> None:
    """Free all that a task has; its further accesses do nothing (mm/mmap.c:exit_mmap)."""
    unmap_page_range(m, wide(m.task_first[task]), wide(m.task_first[task + 1]), GONE)
    for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
        free_table(m, table)
    unlink_anon_vmas(m, task)
