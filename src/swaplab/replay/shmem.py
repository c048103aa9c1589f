"""Shared memory: pages of an object that tasks map (mm/shmem.c, mm/memory.c:do_shared_fault, do_read_fault, 6.12).

An object's page that there is has a shared folio (`rmap.py`), and is one of those that have it; the pages of tasks that
map it are the others. A task's page that belongs to a mapping is `SHMEM`, and names the object's.

Differs: memory that is read before a write to it has contents that go to swap, as private memory does here; and
of devices that do not rotate nothing is read ahead.
"""

from __future__ import annotations

from swaplab.replay.charge import alloc_charged, alloc_pte
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.lists import folio_add_lru
from swaplab.replay.memcontrol import spend, task_of
from swaplab.replay.rmap import (
    begin_sharing,
    count_mapping,
    is_swapped,
    link_owner,
    new_record,
    unlink_owner,
    unmap_all,
)
from swaplab.replay.state import (
    NONE,
    PG_DIRTY,
    PG_READAHEAD,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTRS_PER_TABLE,
    RESIDENT,
    SHARED,
    SHMEM,
    STATE_MASK,
    UNKNOWN,
    YOUNG,
    ZEROMAP,
    State,
)
from swaplab.replay.swap import wait_for_write
from swaplab.replay.swap_state import swapin_cluster
from swaplab.replay.swapfile import free_slot
from swaplab.replay.unmap import put_folio, unmap_page_range

__all__ = ["mmap_shared", "shmem_fault", "shmem_truncate_range", "write_to"]

FAULT_AROUND = 16
"""Pages that a read maps at once, if they are in memory (mm/memory.c:fault_around_pages)."""


@jit
def write_to(m: State, folio: int) -> None:
    """Give a shared folio its next contents."""
    m.folios[folio].version += 1
    m.folios[folio].length = UNKNOWN


@jit
def map_shmem(m: State, page: int, folio: int) -> None:
    """Map a folio of shared memory (mm/memory.c:set_pte_range): pages mapped around a fault are young, too."""
    link_owner(m, folio, page)
    count_mapping(m, folio, page, YOUNG)


@jit
def shmem_alloc_and_add_folio(m: State, page: int, source: int) -> bool:
    """Give a page of shared memory a folio, charged to the faulting task (mm/shmem.c:shmem_alloc_and_add_folio).

    False when the task that faults on `page` was killed.
    """
    memcg = wide(m.task.current)
    if not alloc_charged(m, memcg, page):
        return False
    folio = new_record(m)
    begin_sharing(m, folio, source, 1)
    m.folios[folio].memcg = memcg
    m.folios[folio].bits = RESIDENT | PG_DIRTY
    m.memcgs[memcg].shmem += 1
    folio_add_lru(m, folio)
    return True


@jit
def shmem_swapin_folio(m: State, page: int, folio: int) -> bool:
    """Bring a page of shared memory back, whose slot is free then (mm/shmem.c:shmem_swapin_folio).

    False when the task that faults on `page` was killed.
    """
    current = m.memcgs[wide(m.task.current)]
    record = m.folios[folio]
    if is_swapped(m, folio):
        current.pgmajfault += 1
        current.fault_ns += spend(m, wide(m.cost.fault_major_ns))
        if not swapin_cluster(m, page, folio):
            return False
    else:
        current.fault_ns += spend(m, wide(m.cost.fault_minor_ns))
        m.swap.ra_hits += wide(record.bits) & PG_READAHEAD != 0
    while wide(record.bits) & PG_WRITEBACK:
        wait_for_write(m)
    free_slot(m, folio, wide(record.other_memcg))
    record.bits = wide(record.bits) & ~(PG_SWAPCACHE | PG_READAHEAD | ZEROMAP) | PG_DIRTY
    m.memcgs[wide(record.memcg)].swapcached -= 1
    m.memcgs[wide(record.memcg)].shmem += 1
    return True


@jit
def is_in_page_cache(m: State, source: int) -> bool:
    """Whether a page of shared memory has a folio in memory, and not in the swap cache."""
    record = m.folios[source]
    if wide(record.bits) & STATE_MASK != SHARED:
        return False
    return wide(m.folios[wide(record.zspage)].bits) & (STATE_MASK | PG_SWAPCACHE) == RESIDENT


@jit
def do_fault_around(m: State, page: int) -> None:
    """Map what is in memory of the 16 pages around a read (mm/memory.c:do_fault_around).

    Differs: page tables begin where a task's memory does.
    """
    task = task_of(m, page)
    first = wide(m.task_first[task])
    begin = page - (page - first) % PTRS_PER_TABLE % FAULT_AROUND
    offset = wide(m.folios[page].zspage) - page
    for each in range(begin, min(begin + FAULT_AROUND, wide(m.task_first[task + 1]))):
        record = m.folios[each]
        if wide(record.bits) & STATE_MASK != SHMEM or m.pte[each] or wide(record.zspage) - each != offset:
            continue
        if is_in_page_cache(m, each + offset):
            map_shmem(m, each, wide(m.folios[each + offset].zspage))


@jit
def shmem_get_folio(m: State, page: int, source: int) -> bool:
    """Have a page of shared memory in memory (mm/shmem.c:shmem_get_folio_gfp).

    False when the task that faults on `page` was killed.
    """
    while not is_in_page_cache(m, source):
        if wide(m.folios[source].bits) & STATE_MASK == NONE:
            spend(m, wide(m.cost.fault_minor_ns))
            if not shmem_alloc_and_add_folio(m, page, source):
                return False
        elif not shmem_swapin_folio(m, page, wide(m.folios[source].zspage)):
            return False
    return True


@jit
def shmem_fault(m: State, page: int, write: int) -> bool:
    """Fault on a page of a mapping of shared memory; False when the faulting task was killed (do_fault)."""
    if not alloc_pte(m, task_of(m, page), page, page):
        return False
    source = wide(m.folios[page].zspage)
    is_here = is_in_page_cache(m, source)
    if is_here and not write:
        do_fault_around(m, page)
    if not m.pte[page]:
        if not shmem_get_folio(m, page, source):
            return False
        map_shmem(m, page, wide(m.folios[source].zspage))
    if is_here:
        spend(m, wide(m.cost.fault_minor_ns))
    return True


# System calls ---------------------------------------------------------------------------------------------------------


@entry
def mmap_shared(m: State, page: int, end: int, source: int) -> None:
    """Map an object's pages from `source` on as a task's from `page` to `end` (mm/mmap.c:mmap_region)."""
    unmap_page_range(m, page, end, SHMEM)
    for each in range(page, end):
        m.folios[each].zspage = source + each - page


@jit
def shmem_truncate_page(m: State, source: int) -> None:
    """Free a page of shared memory, if it has a folio (mm/shmem.c:shmem_undo_range)."""
    record = m.folios[source]
    if wide(record.bits) & STATE_MASK != SHARED:
        return
    folio = wide(record.zspage)
    if m.pte[folio] & PRESENT:
        unmap_all(m, folio)
    if is_in_page_cache(m, source):
        m.memcgs[wide(m.folios[folio].memcg)].shmem -= 1
    unlink_owner(m, folio, source)
    record.bits = NONE
    put_folio(m, folio)


@entry
def shmem_truncate_range(m: State, source: int, end: int) -> None:
    """Free an object's pages from `source` to `end`, for all that map them (mm/shmem.c:shmem_truncate_range)."""
    for each in range(source, end):
        if unlikely(wide(m.folios[each].bits) & STATE_MASK == SHARED):
            shmem_truncate_page(m, each)
