"""Memory that goes: munmap, madvise and exit (mm/memory.c, mm/mmap.c, mm/vma.c, mm/madvise.c, 6.12).

Folios go in batches in Linux (mm/mmu_gather.c:tlb_batch_pages_flush), swap entries one after another; here in order of
address. Nothing looks in between, and neither way has a share in what the other changes.
"""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.lists import lru_del
from swaplab.replay.memcontrol import obj_cgroup_charge, task_of
from swaplab.replay.state import (
    ANON_VMA_BYTES,
    GONE,
    IN_ZSWAP,
    NONE,
    ON_DISK,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTRS_PER_TABLE,
    RESIDENT,
    STATE_MASK,
    UNMAPPED,
    ZERO_FILLED,
    Machine,
)
from swaplab.replay.stock import page_counter_charge
from swaplab.replay.swap import free_slot, lru_add_drain, wait_for_write
from swaplab.replay.swap_slots import SWAPFILE_CLUSTER, free_slot_directly
from swaplab.replay.zswap import zram_free, zswap_entry_free

__all__ = ["exit_mmap", "is_killed", "madvise_dontneed", "munmap"]


# Page table entries ---------------------------------------------------------------------------------------------------


@jit
def zap_present_pte(m: Machine, page: int) -> None:
    """Free a folio and its place in swap (mm/memory.c:zap_present_folio_ptes, mm/swap.c:folios_put_refs, 6.12)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    lru_del(m, page)
    if m.pte[page] & PRESENT:
        m.memcgs[memcg].anon -= 1
    if wide(folio.bits) & PG_SWAPCACHE:
        m.memcgs[memcg].swapcached -= 1
        free_slot(m, page, wide(folio.other_memcg))
    page_counter_charge(m, memcg, -1)
    m.control.free += 1


@jit
def zap_swap_pte(m: Machine, page: int, directly: bool) -> None:
    """Free a slot and what is in it (mm/swapfile.c:free_swap_and_cache_nr, mm/zswap.c:zswap_invalidate, 6.12)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    if wide(folio.bits) & STATE_MASK == IN_ZSWAP:
        if m.control.zram:
            zram_free(m, page)
        else:
            zswap_entry_free(m, page)
    if directly:
        free_slot_directly(m, page, memcg)
    else:
        free_slot(m, page, memcg)


@jit
def zap_pte(m: Machine, page: int, left: int, directly: bool) -> None:
    """Free whatever a page has, wherever it is, and leave its record in the state `left` (zap_pte_range, 6.12).

    Differs: waits for a write in flight, where the kernel leaves the folio to its end.
    """
    folio = m.folios[page]
    while wide(folio.bits) & PG_WRITEBACK:
        wait_for_write(m)
    state = wide(folio.bits) & STATE_MASK
    if state == RESIDENT:
        zap_present_pte(m, page)
    elif state in (IN_ZSWAP, ON_DISK, ZERO_FILLED):
        zap_swap_pte(m, page, directly)
    m.pte[page] = 0
    folio.bits = left


@jit
def swap_pte_batch(m: Machine, page: int, end: int) -> int:
    """Pages from `page` on whose slots follow each other, none of them in the swap cache, in one cluster of slots.

    Those are freed at once (mm/swapfile.c:__swap_entries_free, 6.12); all others go through the cache of slots.
    """
    slot = wide(m.page_slot[page])
    end = min(end, page + SWAPFILE_CLUSTER - slot % SWAPFILE_CLUSTER)
    count = 0
    while page + count < end and m.page_slot[page + count] == slot + count:
        if wide(m.folios[page + count].bits) & STATE_MASK not in (IN_ZSWAP, ON_DISK, ZERO_FILLED):
            break
        count += 1
    return count


@jit
def zap_pte_range(m: Machine, page: int, end: int, left: int) -> None:
    """Free what the pages of one page table have (mm/memory.c:zap_pte_range, 6.12)."""
    batch = 0
    while page < end:
        if unlikely(m.control.rotational) and not batch:
            batch = swap_pte_batch(m, page, end)
            batch -= batch == 1
        zap_pte(m, page, left, batch > 0)
        batch -= batch > 0
        page += 1


@jit
def unmap_page_range(m: Machine, page: int, end: int, left: int) -> None:
    """Free what the pages of one task from `page` to `end` have (mm/memory.c:unmap_page_range, 6.12)."""
    lru_add_drain(m)
    first = wide(m.task_first[task_of(m, page)])
    while page < end:
        table_end = min(end, page + PTRS_PER_TABLE - (page - first) % PTRS_PER_TABLE)
        zap_pte_range(m, page, table_end, left)
        page = table_end


# Page tables ----------------------------------------------------------------------------------------------------------


@jit
def free_table(m: Machine, table: int) -> None:
    """Free a page table, if it is there (mm/memory.c:free_pte_range, 6.12)."""
    memcg = wide(m.table_memcg[table])
    if memcg >= 0:
        page_counter_charge(m, wide(m.memcgs[memcg].objcg), -1)
        m.control.free += 1
        m.table_memcg[table] = -1


@jit
def is_range_unmapped(m: Machine, page: int, end: int) -> bool:
    """Whether no mapping has any of these pages."""
    while page < end:
        if wide(m.folios[page].bits) != NONE | UNMAPPED:
            return False
        page += 1
    return True


@jit
def free_pgtables(m: Machine, page: int, end: int) -> None:
    """Free the page tables of a task that mapped pages from `page` to `end` and now map none (free_pgtables, 6.12)."""
    task = task_of(m, page)
    first, last = wide(m.task_first[task]), wide(m.task_first[task + 1])
    for number in range((page - first) // PTRS_PER_TABLE, (end - 1 - first) // PTRS_PER_TABLE + 1):
        begin = first + number * PTRS_PER_TABLE
        if is_range_unmapped(m, begin, min(begin + PTRS_PER_TABLE, last)):
            free_table(m, wide(m.first_table[task]) + number)


@jit
def unlink_anon_vmas(m: Machine, task: int) -> None:
    """Free what `anon_vma_prepare` made (mm/rmap.c:unlink_anon_vmas, 6.12)."""
    memcg = wide(m.anon_vma_memcg[task])
    if memcg >= 0:
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), -ANON_VMA_BYTES)
        m.anon_vma_memcg[task] = -1


@entry
def is_killed(m: Machine, task: int) -> bool:
    """Whether a task with memory is gone."""
    return wide(m.folios[wide(m.task_first[task])].bits) & STATE_MASK == GONE


# System calls ---------------------------------------------------------------------------------------------------------


@entry
def munmap(m: Machine, page: int, end: int) -> None:
    """Free the pages of one task from `page` to `end`, and page tables that map no others (vms_clear_ptes, 6.12)."""
    unmap_page_range(m, page, end, NONE | UNMAPPED)
    free_pgtables(m, page, end)


@entry
def madvise_dontneed(m: Machine, page: int, end: int) -> None:
    """Free the pages of one task from `page` to `end`, which stay mapped (madvise_dontneed_single_vma, 6.12)."""
    unmap_page_range(m, page, end, NONE)


@entry
def exit_mmap(m: Machine, task: int) -> None:
    """Free all that a task has; its further accesses do nothing (mm/mmap.c:exit_mmap, 6.12)."""
    unmap_page_range(m, wide(m.task_first[task]), wide(m.task_first[task + 1]), GONE)
    for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
        free_table(m, table)
    unlink_anon_vmas(m, task)
