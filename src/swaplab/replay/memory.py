"""Page faults and the tasks they wake (mm/memory.c, mm/vmscan.c:kswapd, mm/zswap.c:shrink_worker, 6.12).

Differs: kswapd runs to its end between two accesses, not beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES
from swaplab.replay.access import leave_out, look_again, look_ahead, look_closer, settle
from swaplab.replay.charge import (
    alloc_charged,
    alloc_pte,
    anon_vma_prepare,
    handle_over_high,
)
from swaplab.replay.filemap import filemap_read
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, inline, jit, wide
from swaplab.replay.lists import folio_add_lru, folio_is_file_lru
from swaplab.replay.memcontrol import (
    begin_background,
    end_background,
    spend,
    swap_full,
    task_of,
)
from swaplab.replay.rmap import (
    count_mapping,
    count_unmapping,
    folio_of,
    is_swapped,
    take_home,
    unlink_owner,
)
from swaplab.replay.shmem import shmem_fault, write_to
from swaplab.replay.state import (
    BLOCK,
    GONE,
    NONE,
    PG_SWAPCACHE,
    PRESENT,
    PTE_DIRTY,
    RESIDENT,
    SHARED,
    SHMEM,
    STATE_MASK,
    YOUNG,
    State,
)
from swaplab.replay.stats import flush_stats_if_due
from swaplab.replay.stock import page_counter_charge
from swaplab.replay.swap import complete_writes
from swaplab.replay.swap_state import found_in_swap_cache, swapin_readahead
from swaplab.replay.swapfile import folio_free_swap
from swaplab.replay.unmap import put_folio
from swaplab.replay.vmscan import balance_pgdat, try_to_free_pages
from swaplab.replay.zswap import shrink_worker

__all__ = ["kswapd_is_needed", "run", "run_background", "touch_only"]


# Background tasks -----------------------------------------------------------------------------------------------------


@jit
def run_worker(m: State) -> None:
    """Let the shrink worker catch up, and reclaim where its charges need room.

    Differs: tries once for each, then charges by force.
    """
    has_room = False
    while True:
        limited = shrink_worker(m, has_room)
        if limited < 0:
            return
        m.memcgs[limited].max_events += 1
        now = begin_background(m, wide(m.zswap.worker_clock))
        try_to_free_pages(m, limited, 1)
        m.zswap.worker_clock = end_background(m, now)
        has_room = True


@jit
def kswapd_is_needed(m: State) -> bool:
    """Whether an allocation wakes kswapd, which failed less than 16 times (mm/vmscan.c:wakeup_kswapd)."""
    return bool(m.memory.free <= m.memory.watermark_low and m.memory.kswapd_failures < MAX_RECLAIM_RETRIES)


@jit
def run_background(m: State) -> None:
    """Let kswapd and the shrink worker do what they were woken for."""
    complete_writes(m)
    run_worker(m)
    if kswapd_is_needed(m):
        now = begin_background(m, wide(m.task.clock))
        balance_pgdat(m)
        end_background(m, now)


# Faults ---------------------------------------------------------------------------------------------------------------


@inline
def map_page(m: State, page: int, dirty: int) -> None:
    """Point the page-table entry at the folio (the end of mm/memory.c:do_swap_page, do_anonymous_page).

    That the page is accessed, and dirty if it was written to, is for `settle` to say.
    """
    m.pte[page] = PRESENT | dirty
    m.memcgs[wide(m.folios[page].memcg)].anon += 1


@jit
def do_anonymous_page(m: State, page: int) -> bool:
    """First touch: a fresh folio (mm/memory.c:do_anonymous_page). Differs: a read does not map the zero page."""
    memcg = wide(m.task.current)
    spend(m, wide(m.cost.fault_minor_ns))  # no time lost: it costs as much with memory to spare
    task = task_of(m, page)
    if not alloc_pte(m, task, page, page):
        return False
    anon_vma_prepare(m, task)
    if not alloc_charged(m, memcg, page):
        return False
    folio = m.folios[page]
    folio.memcg = memcg
    folio.bits = RESIDENT
    folio_add_lru(m, page)
    map_page(m, page, PTE_DIRTY)
    return True


@inline
def do_swap_page(m: State, page: int, write: int) -> bool:
    """Fault on a swapped-out page (mm/memory.c:do_swap_page); False when the faulting task was killed."""
    folio = m.folios[page]
    current = m.memcgs[wide(m.task.current)]
    if wide(folio.bits) & STATE_MASK != RESIDENT:
        current.pgmajfault += 1
        current.fault_ns += spend(m, wide(m.cost.fault_major_ns))
        if unlikely(not swapin_readahead(m, page, page)):
            return False
    else:
        current.fault_ns += spend(m, wide(m.cost.fault_minor_ns))
        if m.swap.page_cluster:
            found_in_swap_cache(m, page, page)
    map_page(m, page, 0)
    # should_try_to_free_swap(); zram is SWP_SYNCHRONOUS_IO, which never keeps the slot.
    if (write and not m.linux.slot_kept_on_write) or m.swap.zram or swap_full(m, wide(folio.memcg)):
        folio_free_swap(m, page)
    return True


# Shared folios --------------------------------------------------------------------------------------------------------


@jit
def wp_page_copy(m: State, page: int, folio: int) -> bool:
    """Give a page a folio of its own instead of a shared one (mm/memory.c:wp_page_copy).

    False when the faulting task was killed. Reclaim for the new folio may have unmapped the old one.
    """
    memcg = wide(m.task.current)
    anon_vma_prepare(m, task_of(m, page))
    if not alloc_charged(m, memcg, page):
        return False
    if not m.pte[page]:
        m.memory.free += 1
        page_counter_charge(m, memcg, -1)
        return True
    version = wide(m.folios[folio].version)
    count_unmapping(m, folio, page)
    unlink_owner(m, folio, page)
    put_folio(m, folio)
    record = m.folios[page]
    record.memcg, record.version = memcg, version
    record.bits = RESIDENT
    folio_add_lru(m, page)
    map_page(m, page, PTE_DIRTY)
    return True


@jit
def can_reuse_anon_folio(m: State, folio: int) -> bool:
    """Whether no other page has a shared folio that a page maps (mm/memory.c:wp_can_reuse_anon_folio)."""
    if m.rmaps[folio - wide(m.sizes.nr_pages)].owners > 1:
        return False
    folio_free_swap(m, folio)
    return not wide(m.folios[folio].bits) & PG_SWAPCACHE


@jit
def do_wp_page(m: State, page: int) -> bool:
    """Make a page writable that maps a shared folio (mm/memory.c:do_wp_page); False when its task was killed."""
    folio = folio_of(m, page)
    if can_reuse_anon_folio(m, folio):
        take_home(m, folio, page)
        return True
    return wp_page_copy(m, page, folio)


@jit
def do_shared_swap_page(m: State, page: int, write: int) -> bool:
    """`do_swap_page` of a page that names the slot of a shared folio.

    Differs: a folio that only this page has stays write-protected when it is read, even where its slot is freed.
    """
    folio = folio_of(m, page)
    current = m.memcgs[wide(m.task.current)]
    if is_swapped(m, folio):
        current.pgmajfault += 1
        current.fault_ns += spend(m, wide(m.cost.fault_major_ns))
        if not swapin_readahead(m, page, folio):
            return False
    else:
        current.fault_ns += spend(m, wide(m.cost.fault_minor_ns))
        if m.swap.page_cluster:
            found_in_swap_cache(m, page, folio)
    is_mapped = m.pte[folio] & PRESENT
    count_mapping(m, folio, page, YOUNG)
    # should_try_to_free_swap(); Differs: zram gives up what it holds when the first page that names the slot is read.
    if (write and not is_mapped) or m.swap.zram or swap_full(m, wide(m.folios[folio].memcg)):
        folio_free_swap(m, folio)
    return True


@jit
def do_shared_page(m: State, page: int, write: int) -> bool:
    """Fault on a page that shares its folio; False when the faulting task was killed (mm/memory.c)."""
    if not m.pte[page]:
        if not do_shared_swap_page(m, page, write):
            return False
    else:
        spend(m, wide(m.cost.fault_minor_ns))
    while write and wide(m.folios[page].bits) & STATE_MASK == SHARED:
        if not m.pte[page]:
            m.memcgs[wide(m.task.current)].pgfault += 1
            if not do_shared_swap_page(m, page, write):
                return False
        if not do_wp_page(m, page):
            return False
    return True


@jit
def is_hit(m: State, page: int, write: int) -> bool:
    """Whether an access to a page that shares its folio is no fault, and if so, what it leaves behind."""
    is_shmem = wide(m.folios[page].bits) & STATE_MASK == SHMEM
    if not m.pte[page] or (write and not is_shmem):
        return False
    folio = folio_of(m, page)
    m.pte[page] = wide(m.pte[page]) | YOUNG
    m.pte[folio] = wide(m.pte[folio]) | YOUNG
    if write:
        write_to(m, folio)
    return True


# All faults -----------------------------------------------------------------------------------------------------------


@jit
def handle_pte_fault(m: State, page: int, write: int, state: int) -> bool:
    """Handle a fault by the state of the page (mm/memory.c:handle_pte_fault)."""
    if state == NONE:
        return do_anonymous_page(m, page)
    if unlikely(state == SHARED):
        return do_shared_page(m, page, write)
    if unlikely(state == SHMEM):
        return shmem_fault(m, page, write)
    return do_swap_page(m, page, write)


@jit
def read_file(m: State, page: int) -> None:
    """One read of a file's page, and what it wakes (fs/read_write.c:ksys_pread64)."""
    task = m.task
    flush_stats_if_due(m)
    if m.zswap.worker_running or m.zswap.shrink_queued:
        run_worker(m)
    task.current = m.task_memcg[task_of(m, page)]
    filemap_read(m, page)
    leave_out(m)
    if m.memcgs[wide(task.current)].over_high:
        handle_over_high(m, wide(task.current))
    if kswapd_is_needed(m):
        run_background(m)


@jit
def handle_mm_fault(m: State, page: int, write: int) -> None:
    """One page fault, and what it wakes (mm/memory.c:handle_mm_fault)."""
    if m.has.file_memory and folio_is_file_lru(m, page):
        read_file(m, page)
        return
    state = wide(m.folios[page].bits) & STATE_MASK
    if unlikely(state >= GONE) and (state == GONE or is_hit(m, page, write)):
        leave_out(m)
        return
    task = m.task
    flush_stats_if_due(m)
    if unlikely(m.zswap.worker_running or m.zswap.shrink_queued):
        run_worker(m)
    task.current = m.task_memcg[task_of(m, page)]
    current = m.memcgs[wide(task.current)]
    current.pgfault += 1
    task.in_lru_fault = 1
    if unlikely(not handle_pte_fault(m, page, write, state)):
        leave_out(m)
    else:
        if unlikely(state == SHMEM):
            is_hit(m, page, write)
            leave_out(m)
        else:
            task.made += 1  # here, as reclaim may take the page away again before the fault is over
        if unlikely(current.over_high):
            handle_over_high(m, wide(task.current))
    task.in_lru_fault = 0
    if unlikely(kswapd_is_needed(m)):
        run_background(m)


@entry
def run(m: State, accesses: NDArray[np.uint32]) -> None:
    """Replay `accesses` (page << 1 | write), in order."""
    task = m.task
    access_ns = wide(m.cost.access_ns)
    before = wide(task.position)
    accounted = 0
    ahead = look_ahead(m, accesses, 0)
    for block in range((len(accesses) + BLOCK - 1) // BLOCK):
        first = block % 2 * BLOCK
        offset = block * BLOCK - first
        end = min(BLOCK, len(accesses) - block * BLOCK) + first
        stop = first + ahead
        look_closer(m, block, ahead)
        ahead = look_ahead(m, accesses, block + 1)
        task.settled = first
        each = first
        while each < stop:
            at = wide(m.missing[each])
            access = wide(m.window[np.uintp(at)])
            each += 1
            if unlikely(m.pte[access >> 1] >= PRESENT):
                continue  # came in since
            task.made = at
            spend(m, (offset + at - accounted) * access_ns)
            accounted = offset + at
            task.position = before + accounted
            handle_mm_fault(m, access >> 1, access & 1)
            if unlikely(task.reclaimed):
                task.reclaimed = 0
                each = first
                stop = first + look_again(m, block, at + 1, end)
                ahead = look_ahead(m, accesses, block + 1)
        task.made = end
        settle(m)
    spend(m, (len(accesses) - accounted) * access_ns)
    task.position = before + len(accesses)
    flush_stats_if_due(m)


@entry
def touch_only(referenced: NDArray[np.uint8], accesses: NDArray[np.uint32]) -> None:
    """The bare loop benchmarks compare with: read `accesses` and mark pages referenced, nothing else."""
    for i in range(len(accesses)):
        referenced[wide(accesses[i]) >> 1] = 1
