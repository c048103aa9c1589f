"""Page faults and the tasks they wake (mm/memory.c, mm/vmscan.c:kswapd, mm/zswap.c:shrink_worker, 6.12).

Differs: kswapd runs to its end between two accesses, not beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.replay.charge import (
    alloc_charged,
    alloc_pte,
    anon_vma_prepare,
    handle_over_high,
)
from swaplab.replay.hints import prefetch, unlikely
from swaplab.replay.jit import entry, inline, jit, wide
from swaplab.replay.lists import folio_add_lru
from swaplab.replay.memcontrol import (
    begin_background,
    end_background,
    spend,
    swap_full,
    workload_of,
)
from swaplab.replay.state import (
    BLOCK,
    GONE,
    MAX_RECLAIM_RETRIES,
    NONE,
    PRESENT,
    PTE_DIRTY,
    RESIDENT,
    STATE_MASK,
    UNKNOWN,
    YOUNG,
    Machine,
)
from swaplab.replay.stats import flush_stats_if_due
from swaplab.replay.swap import complete_writes, folio_free_swap
from swaplab.replay.swap_state import found_in_swap_cache, swapin_readahead
from swaplab.replay.vmscan import balance_pgdat, try_to_free_pages
from swaplab.replay.zswap import shrink_worker

__all__ = ["run", "run_background", "touch_only"]


# Background tasks -----------------------------------------------------------------------------------------------------


@jit
def run_worker(m: Machine) -> None:
    """Let the shrink worker catch up, and reclaim where its charges need room.

    Differs: tries once for each, then charges by force.
    """
    has_room = False
    while True:
        limited = shrink_worker(m, has_room)
        if limited < 0:
            return
        m.memcgs[limited].max_events += 1
        now = begin_background(m, wide(m.control.worker_clock))
        try_to_free_pages(m, limited, 1)
        m.control.worker_clock = end_background(m, now)
        has_room = True


@jit
def kswapd_is_needed(m: Machine) -> bool:
    """Whether an allocation wakes kswapd, which failed less than 16 times (mm/vmscan.c:wakeup_kswapd, 6.12)."""
    return bool(m.control.free <= m.control.watermark_low and m.control.kswapd_failures < MAX_RECLAIM_RETRIES)


@jit
def run_background(m: Machine) -> None:
    """Let kswapd and the shrink worker do what they were woken for."""
    complete_writes(m)
    run_worker(m)
    if kswapd_is_needed(m):
        now = begin_background(m, wide(m.control.clock))
        balance_pgdat(m)
        end_background(m, now)


# Faults ---------------------------------------------------------------------------------------------------------------


@inline
def map_page(m: Machine, page: int, write: int) -> None:
    """Point the page-table entry at the folio (the end of mm/memory.c:do_swap_page, do_anonymous_page, 6.12)."""
    m.pte[page] = PRESENT | YOUNG | (PTE_DIRTY if write else 0)
    m.memcgs[wide(m.folios[page].memcg)].anon += 1


@inline
def write_page(m: Machine, page: int) -> None:
    """Give a page its next contents."""
    m.folios[page].version += 1
    m.folios[page].length = UNKNOWN


@jit
def do_anonymous_page(m: Machine, page: int) -> bool:
    """First touch: a fresh folio (mm/memory.c:do_anonymous_page, 6.12). Differs: a read does not map the zero page."""
    memcg = wide(m.control.current)
    spend(m, wide(m.control.fault_minor_ns))  # nobody's loss: it costs as much with memory to spare
    workload = workload_of(m, page)
    if not alloc_pte(m, workload, page):
        return False
    anon_vma_prepare(m, workload)
    if not alloc_charged(m, memcg, page):
        return False
    folio = m.folios[page]
    folio.memcg = memcg
    folio.bits = RESIDENT
    folio_add_lru(m, page)
    map_page(m, page, 1)
    return True


@inline
def do_swap_page(m: Machine, page: int, write: int) -> bool:
    """Fault on a swapped-out page (mm/memory.c:do_swap_page, 6.12); False when the faulting task was killed."""
    folio = m.folios[page]
    current = m.memcgs[wide(m.control.current)]
    if wide(folio.bits) & STATE_MASK != RESIDENT:
        current.pgmajfault += 1
        current.fault_ns += spend(m, wide(m.control.fault_major_ns))
        if unlikely(not swapin_readahead(m, page)):
            return False
    else:
        current.fault_ns += spend(m, wide(m.control.fault_minor_ns))
        if m.control.page_cluster:
            found_in_swap_cache(m, page)
    map_page(m, page, write)
    # should_try_to_free_swap(); zram is SWP_SYNCHRONOUS_IO, which never keeps the slot.
    if write or m.control.zram or swap_full(m, wide(folio.memcg)):
        folio_free_swap(m, page)
    return True


@jit
def handle_mm_fault(m: Machine, page: int, write: int) -> None:
    """One page fault, and what it wakes (mm/memory.c:handle_pte_fault, 6.12)."""
    state = wide(m.folios[page].bits) & STATE_MASK
    if unlikely(state == GONE):
        return
    control = m.control
    flush_stats_if_due(m)
    if unlikely(control.worker_running or control.shrink_queued):
        run_worker(m)
    control.current = m.workload_memcg[workload_of(m, page)]
    current = m.memcgs[wide(control.current)]
    current.pgfault += 1
    control.in_lru_fault = 1
    alive = do_anonymous_page(m, page) if state == NONE else do_swap_page(m, page, write)
    if alive and write:
        write_page(m, page)  # here, as reclaim may take the page away again before the fault is over
    if alive and unlikely(current.over_high):
        handle_over_high(m, wide(control.current))
    control.in_lru_fault = 0
    if unlikely(kswapd_is_needed(m)):
        run_background(m)


@inline
def look_ahead(m: Machine, accesses: NDArray[np.uint32], block: int) -> int:
    """Gather the pages of a block of `accesses` that are not present, and fetch their records; how many they are."""
    pte, missing = m.pte, m.missing
    begin = block * BLOCK
    first = count = block % 2 * BLOCK
    for i in range(begin, min(begin + BLOCK, len(accesses))):
        page = wide(accesses[np.uintp(i)]) >> 1
        missing[count] = page
        count += wide(pte[page]) & PRESENT ^ PRESENT  # no branch, which nobody could predict
    for i in range(first, count):
        prefetch(m.folios, wide(missing[i]))
    return count - first


@inline
def look_closer(m: Machine, block: int, count: int) -> None:
    """Fetch what faults on the `count` pages gathered of a block will need, now that their records are there."""
    first = block % 2 * BLOCK
    for i in range(first, first + count):
        folio = m.folios[wide(m.missing[i])]
        prefetch(m.folios, wide(folio.next))
        prefetch(m.folios, wide(folio.prev))
        prefetch(m.zspages, wide(folio.zspage))


@inline
def hit(m: Machine, accesses: NDArray[np.uint32], begin: int, end: int) -> int:
    """Make accesses until one faults; where that is. Apart from the fault, as all it needs then stays in registers."""
    pte = m.pte
    i = begin
    while i < end:
        access = wide(accesses[np.uintp(i)])
        page, write = access >> 1, access & 1
        entry = wide(pte[page])
        if not entry & PRESENT:
            return i
        pte[page] = entry | YOUNG | write * PTE_DIRTY
        if write:
            write_page(m, page)
        i += 1
    return i


@entry
def run(m: Machine, accesses: NDArray[np.uint32]) -> None:
    """Replay `accesses` (page << 1 | write), in order."""
    access_ns = wide(m.control.access_ns)
    before = wide(m.control.position)
    accounted = 0
    ahead = look_ahead(m, accesses, 0)
    for block in range((len(accesses) + BLOCK - 1) // BLOCK):
        look_closer(m, block, ahead)
        ahead = look_ahead(m, accesses, block + 1)
        end = min((block + 1) * BLOCK, len(accesses))
        i = hit(m, accesses, block * BLOCK, end)
        while i < end:
            m.control.clock += (i - accounted) * access_ns
            accounted = i
            m.control.position = before + i
            access = wide(accesses[np.uintp(i)])
            handle_mm_fault(m, access >> 1, access & 1)
            i = hit(m, accesses, i + 1, end)
    m.control.clock += (len(accesses) - accounted) * access_ns
    m.control.position = before + len(accesses)
    flush_stats_if_due(m)


@entry
def touch_only(referenced: NDArray[np.uint8], accesses: NDArray[np.uint32]) -> None:
    """The bare loop benchmarks compare with: read `accesses` and mark pages referenced, nothing else."""
    for i in range(len(accesses)):
        referenced[wide(accesses[i]) >> 1] = 1
