"""Page faults and the tasks they wake (mm/memory.c, mm/memcontrol.c:try_charge_memcg, mm/zswap.c:shrink_worker, 6.12).

Differs: kswapd and the shrink worker run to their end between two accesses, not beside them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.replay.jit import entry, inline, jit, wide
from swaplab.replay.lists import lru_add, lru_del, lru_head
from swaplab.replay.memcontrol import (
    is_online,
    over_limit,
    page_counter_charge,
    payer,
    spend,
    swap_full,
    writeback_enabled,
)
from swaplab.replay.prefetch import prefetch
from swaplab.replay.state import (
    GONE,
    IN_ZSWAP,
    LRU_ZSWAP,
    NONE,
    ON_DISK,
    PG_DIRTY,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTE_DIRTY,
    RESIDENT,
    STATE_MASK,
    SWAP_CLUSTER_MAX,
    WRITES_IN_FLIGHT,
    YOUNG,
    ZERO_FILLED,
    Machine,
)
from swaplab.replay.swap import complete_writes, device_read, folio_free_swap, free_slot, wait_for_write
from swaplab.replay.vmscan import balance_pgdat, try_to_free_pages
from swaplab.replay.workingset import workingset_refault
from swaplab.replay.zswap import ENOENT, shrink_memcg, zram_free, zram_load, zswap_entry_free, zswap_load

__all__ = ["run", "run_background", "touch_only", "try_charge", "zap_workload"]

MAX_RECLAIM_RETRIES = 16
MEMCG_CHARGE_BATCH = 64
HZ = 250
DELAY_PRECISION_SHIFT, DELAY_SCALING_SHIFT = 20, 14
MAX_HIGH_DELAY_JIFFIES = 2 * HZ
FAR, NEAR = 16, 8  # accesses ahead, about the time that memory takes to answer
JIFFY_NS = 1_000_000_000 // HZ


# Exit and OOM ---------------------------------------------------------------------------------------------------------


@jit
def zap_page(m: Machine, page: int) -> None:
    """Free whatever a page has, wherever it is (mm/memory.c:zap_pte_range, 6.12).

    Differs: waits for a write in flight, where the kernel leaves the folio to its end.
    """
    folio = m.folios[page]
    state = wide(folio.bits) & STATE_MASK
    while wide(folio.bits) & PG_WRITEBACK:
        wait_for_write(m)
    memcg = wide(folio.memcg)
    if state == RESIDENT:
        lru_del(m, page)
        if m.pte[page] & PRESENT:
            m.memcgs[memcg].anon -= 1
        if wide(folio.bits) & PG_SWAPCACHE:
            m.memcgs[memcg].swapcached -= 1
            free_slot(m, page, wide(m.pages[page].other_memcg))
        page_counter_charge(m, memcg, -1)
        m.control.free += 1
    elif state not in (NONE, GONE):
        if state == IN_ZSWAP:
            if m.control.zram:
                zram_free(m, page)
            else:
                zswap_entry_free(m, page)
        free_slot(m, page, memcg)
    m.pte[page] = 0
    folio.bits = GONE


@entry
def zap_workload(m: Machine, workload: int) -> None:
    """The workload's task exits: all its pages are freed and its further accesses do nothing."""
    for page in range(wide(m.workload_first[workload]), wide(m.workload_first[workload + 1])):
        zap_page(m, page)


@jit
def is_killed(m: Machine, page: int) -> bool:
    """Whether the page's workload is gone."""
    return wide(m.folios[page].bits) & STATE_MASK == GONE


@jit
def workload_of(m: Machine, page: int) -> int:
    """Workload that `page` belongs to."""
    low, high = 0, wide(m.control.nr_workloads)
    while high - low > 1:
        middle = (low + high) // 2
        if m.workload_first[middle] <= page:
            low = middle
        else:
            high = middle
    return low


@jit
def oom_badness(m: Machine, workload: int, memcg: int) -> int:
    """Pages the workload would give back and 1, or 0 if it is gone or elsewhere (mm/oom_kill.c:oom_badness, 6.12)."""
    if not memcg <= m.workload_memcg[workload] < m.memcgs[memcg].end:
        return 0
    first = wide(m.workload_first[workload])
    if is_killed(m, first):
        return 0
    points = 1
    for page in range(first, wide(m.workload_first[workload + 1])):
        if wide(m.folios[page].bits) & STATE_MASK != NONE:
            points += 1
    return points


@jit
def out_of_memory(m: Machine, memcg: int) -> int:
    """Kill the largest workload of the subtree; which one, or -1 (mm/oom_kill.c:out_of_memory, 6.12).

    Differs: its memory is free at once; a machine out of memory counts as the root's ``oom``.
    """
    victim, most = -1, 0
    for workload in range(wide(m.control.nr_workloads)):
        points = oom_badness(m, workload, memcg)
        if points > most:
            victim, most = workload, points
    m.memcgs[memcg].oom += 1
    if victim >= 0:
        m.memcgs[wide(m.workload_memcg[victim])].oom_kill += 1
        zap_workload(m, victim)
    return victim


# Charging -------------------------------------------------------------------------------------------------------------


@jit
def try_charge(m: Machine, memcg: int, page: int) -> bool:
    """Charge one page, reclaiming at the limit and killing at the end of it (mm/memcontrol.c:try_charge_memcg, 6.12).

    False when the task that faults on `page` was killed. Differs: a retry without progress sleeps until a write in
    flight is done, where the kernel burns its retries; and memory.high counts page by page, up to a batch of 64.
    """
    retries = MAX_RECLAIM_RETRIES
    while True:
        limited = over_limit(m, memcg, 1)
        if limited < 0:
            page_counter_charge(m, memcg, 1)
            if over_high(m, memcg):
                m.memcgs[wide(m.control.current)].over_high += 1
            return True
        m.memcgs[limited].max_events += 1
        reclaimed = try_to_free_pages(m, limited, 1)
        if reclaimed or m.memcgs[limited].usage < m.memcgs[limited].memory_max or wait_for_write(m):
            continue
        retries -= 1
        if retries < 0:
            if out_of_memory(m, limited) < 0 or is_killed(m, page):
                return False
            retries = MAX_RECLAIM_RETRIES


@jit
def alloc_page(m: Machine, page: int) -> bool:
    """Take a free page, reclaiming below the low mark (mm/page_alloc.c:__alloc_pages_slowpath, 6.12).

    False when the task that faults on `page` was killed.
    """
    control = m.control
    retries = MAX_RECLAIM_RETRIES
    while control.free <= control.watermark_min:
        if try_to_free_pages(m, 0, 1) or wait_for_write(m):
            continue
        retries -= 1
        if retries < 0:
            if out_of_memory(m, 0) < 0 or is_killed(m, page):
                return False
            retries = MAX_RECLAIM_RETRIES
    control.free -= 1
    return True


@jit
def alloc_charged(m: Machine, memcg: int, page: int) -> bool:
    """Take a page and charge it to `memcg`; False when the faulting task was killed."""
    if not alloc_page(m, page):
        return False
    if try_charge(m, memcg, page):
        return True
    m.control.free += 1
    return False


@jit
def max_overage(m: Machine, memcg: int) -> int:
    """Largest share, in 2**-20, by which the cgroup or an ancestor exceeds memory.high (mem_find_max_overage)."""
    overage = 0
    while memcg > 0:
        usage, high = wide(m.memcgs[memcg].usage), wide(m.memcgs[memcg].memory_high)
        if usage > high:
            overage = max(overage, ((usage - high) << DELAY_PRECISION_SHIFT) // max(high, 1))
        memcg = wide(m.memcgs[memcg].parent)
    return overage


@jit
def reclaim_high(m: Machine, memcg: int, pages: int) -> int:
    """Reclaim from every cgroup above its memory.high (mm/memcontrol.c:reclaim_high, 6.12)."""
    reclaimed = 0
    while memcg > 0:
        if m.memcgs[memcg].usage > m.memcgs[memcg].memory_high:
            m.memcgs[memcg].high += 1
            reclaimed += try_to_free_pages(m, memcg, pages)
        memcg = wide(m.memcgs[memcg].parent)
    return reclaimed


@jit
def handle_over_high(m: Machine, memcg: int) -> None:
    """Reclaim above memory.high, then sleep for what is left (mm/memcontrol.c:mem_cgroup_handle_over_high, 6.12)."""
    pages = to_reclaim = wide(m.memcgs[memcg].over_high)
    m.memcgs[memcg].over_high = 0
    retries = MAX_RECLAIM_RETRIES
    while True:
        reclaimed = reclaim_high(m, memcg, to_reclaim)
        to_reclaim = SWAP_CLUSTER_MAX
        overage = min(max_overage(m, memcg), 1 << 24)
        jiffies = (overage * overage * HZ) >> (DELAY_PRECISION_SHIFT + DELAY_SCALING_SHIFT)
        jiffies = min(jiffies * pages // MEMCG_CHARGE_BATCH, MAX_HIGH_DELAY_JIFFIES)
        if jiffies <= HZ // 100:
            return
        if not reclaimed:
            retries -= 1
            if retries < 0:
                m.memcgs[payer(m)].throttle_ns += spend(m, jiffies * JIFFY_NS)
                return


@jit
def over_high(m: Machine, memcg: int) -> bool:
    """Whether the cgroup or an ancestor is above its memory.high."""
    while memcg > 0:
        if m.memcgs[memcg].usage > m.memcgs[memcg].memory_high:
            return True
        memcg = wide(m.memcgs[memcg].parent)
    return False


@jit
def must_handle_over_high(m: Machine, memcg: int) -> bool:
    """Whether the task has charged a batch above memory.high; a single page is a batch where 64 do not fit."""
    pages = m.memcgs[memcg].over_high
    return bool(pages) and (pages >= MEMCG_CHARGE_BATCH or over_limit(m, memcg, MEMCG_CHARGE_BATCH) >= 0)


# Background tasks -----------------------------------------------------------------------------------------------------


@jit
def make_room(m: Machine, memcg: int) -> None:
    """Reclaim for the folio that writeback of `memcg`'s oldest entry will charge, as the worker's own charge does.

    Differs: tries once, then charges by force.
    """
    page = wide(m.folios[lru_head(m, memcg, LRU_ZSWAP)].next)
    if page >= m.control.nr_pages:
        return
    owner = wide(m.folios[page].memcg)
    limited = over_limit(m, owner, 1) if is_online(m, owner) else -1
    if limited >= 0:
        m.memcgs[limited].max_events += 1
        try_to_free_pages(m, limited, 1)


@jit
def next_online(m: Machine) -> int:
    """Advance zswap's cursor to the next online cgroup in pre-order; -1 at the end of the tree."""
    memcg = wide(m.control.next_shrink) + 1
    while memcg < m.control.nr_memcgs and not is_online(m, memcg):
        memcg += 1
    m.control.next_shrink = memcg if memcg < m.control.nr_memcgs else -1
    return wide(m.control.next_shrink)


@jit
def shrink_worker(m: Machine) -> None:
    """Write entries back, one per cgroup in turn, down to the accept threshold (mm/zswap.c:shrink_worker, 6.12).

    Differs: a device whose queue is full stops it, and it begins anew after the next fault.
    """
    control = m.control
    failures = attempts = 0
    control.shrink_queued = 0
    while True:
        if control.writes_count == WRITES_IN_FLIGHT:
            control.shrink_queued = 1
            return
        memcg = 0 if control.zswap_global_lru else next_online(m)
        if memcg < 0:
            failures += attempts == 0
            attempts = 0
        else:
            if writeback_enabled(m, memcg):
                make_room(m, memcg)
            result = shrink_memcg(m, memcg)
            attempts += result != ENOENT
            failures += result != 0 and (result != ENOENT or control.zswap_global_lru)
        if failures >= MAX_RECLAIM_RETRIES or control.pool_pages <= control.zswap_accept_pages:
            return


@jit
def kswapd_is_needed(m: Machine) -> bool:
    """Whether an allocation wakes kswapd, which failed less than 16 times (mm/vmscan.c:wakeup_kswapd, 6.12)."""
    return bool(m.control.free <= m.control.watermark_low and m.control.kswapd_failures < MAX_RECLAIM_RETRIES)


@jit
def run_background(m: Machine) -> None:
    """Let kswapd and the shrink worker do what they were woken for."""
    control = m.control
    complete_writes(m)
    control.background = 1
    if control.shrink_queued:
        shrink_worker(m)
    if kswapd_is_needed(m):
        balance_pgdat(m)
    control.background = 0


# Faults ---------------------------------------------------------------------------------------------------------------


@jit
def map_page(m: Machine, page: int, write: int) -> None:
    """Point the page-table entry at the folio (the end of mm/memory.c:do_swap_page, do_anonymous_page, 6.12)."""
    m.pte[page] = PRESENT | YOUNG | (PTE_DIRTY if write else 0)
    m.memcgs[wide(m.folios[page].memcg)].anon += 1


@jit
def do_anonymous_page(m: Machine, page: int) -> bool:
    """First touch: a fresh folio (mm/memory.c:do_anonymous_page, 6.12). Differs: a read does not map the zero page."""
    memcg = wide(m.control.current)
    if not alloc_charged(m, memcg, page):
        return False
    folio = m.folios[page]
    folio.memcg = memcg
    folio.bits = RESIDENT
    lru_add(m, page)
    map_page(m, page, 1)
    return True


@inline
def fill_folio(m: Machine, page: int, state: int, memcg: int) -> int:
    """Bring the contents in from where they are; PG_DIRTY if that leaves it so (mm/page_io.c:swap_read_folio, 6.12)."""
    if state == ZERO_FILLED:
        m.memcgs[memcg].swpin_zero += 1
        return 0
    if state == ON_DISK:
        m.memcgs[memcg].nr_disk_swapins += 1
        device_read(m, page)
        return 0
    if m.control.zram:
        zram_load(m, page)
    else:
        zswap_load(m, page)
    return PG_DIRTY


@inline
def swapin(m: Machine, page: int) -> bool:
    """Read a page into a new folio in the swap cache (mm/swap_state.c:swap_cluster_readahead, 6.12, without readahead).

    False when the faulting task was killed. Reclaim for the folio may have brought the page in by writing it back.
    """
    folio = m.folios[page]
    owner = wide(folio.memcg)
    memcg = owner if is_online(m, owner) else wide(m.control.current)
    if not alloc_charged(m, memcg, page):
        return False
    state = wide(folio.bits) & STATE_MASK
    if state == RESIDENT:
        m.control.free += 1
        page_counter_charge(m, memcg, -1)
        return True
    dirty = fill_folio(m, page, state, memcg)
    workingset_refault(m, page, memcg)
    folio.memcg = memcg
    m.pages[page].other_memcg = owner
    folio.bits = wide(folio.bits) & ~(STATE_MASK | PG_DIRTY) | RESIDENT | PG_SWAPCACHE | dirty
    m.memcgs[memcg].swapcached += 1
    lru_add(m, page)
    return True


@inline
def do_swap_page(m: Machine, page: int, write: int) -> bool:
    """Fault on a swapped-out page (mm/memory.c:do_swap_page, 6.12); False when the faulting task was killed."""
    folio = m.folios[page]
    current = m.memcgs[wide(m.control.current)]
    if wide(folio.bits) & STATE_MASK != RESIDENT:
        current.pgmajfault += 1
        current.fault_ns += spend(m, wide(m.control.fault_major_ns))
        if not swapin(m, page):
            return False
    map_page(m, page, write)
    # should_try_to_free_swap(); zram is SWP_SYNCHRONOUS_IO, which never keeps the slot.
    if write or m.control.zram or swap_full(m, wide(folio.memcg)):
        folio_free_swap(m, page)
    return True


@jit
def handle_mm_fault(m: Machine, page: int, write: int) -> None:
    """One page fault, and what it wakes (mm/memory.c:handle_pte_fault, 6.12)."""
    state = wide(m.folios[page].bits) & STATE_MASK
    if state == GONE:
        return
    control = m.control
    control.current = m.workload_memcg[workload_of(m, page)]
    current = m.memcgs[wide(control.current)]
    current.pgfault += 1
    minor = spend(m, wide(control.fault_minor_ns))
    if state != NONE:
        current.fault_ns += minor  # a first touch costs as much with memory to spare
    alive = do_anonymous_page(m, page) if state == NONE else do_swap_page(m, page, write)
    if alive and must_handle_over_high(m, wide(control.current)):
        handle_over_high(m, wide(control.current))
    if control.shrink_queued or kswapd_is_needed(m):
        run_background(m)


@jit
def look_ahead(m: Machine, far: int, near: int) -> None:
    """Fetch what a fault on `far`, and soon after one on `near`, will need."""
    if not m.pte[far] & PRESENT:
        prefetch(m.folios, far)
        prefetch(m.pages, far)
    if not m.pte[near] & PRESENT:
        prefetch(m.folios, wide(m.folios[near].next))
        prefetch(m.folios, wide(m.folios[near].prev))
        prefetch(m.zspages, wide(m.pages[near].zspage))


@entry
def run(m: Machine, accesses: NDArray[np.uint32]) -> None:
    """Replay `accesses` (page << 1 | write), in order."""
    pte, pages = m.pte, m.pages
    access_ns = wide(m.control.access_ns)
    accounted = 0
    last = len(accesses) - 1
    for i in range(len(accesses)):
        look_ahead(m, wide(accesses[min(i + FAR, last)]) >> 1, wide(accesses[min(i + NEAR, last)]) >> 1)
        access = wide(accesses[i])
        page, write = access >> 1, access & 1
        entry = wide(pte[page])
        if entry & PRESENT:
            pte[page] = entry | YOUNG | write * PTE_DIRTY
        else:
            m.control.clock += (i - accounted) * access_ns
            accounted = i
            handle_mm_fault(m, page, write)
        if write:
            pages[page].version += 1
    m.control.clock += (len(accesses) - accounted) * access_ns


@entry
def touch_only(referenced: NDArray[np.uint8], accesses: NDArray[np.uint32]) -> None:
    """The bare loop benchmarks compare with: read `accesses` and mark pages referenced, nothing else."""
    for i in range(len(accesses)):
        referenced[wide(accesses[i]) >> 1] = 1
