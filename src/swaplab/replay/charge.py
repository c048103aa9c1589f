"""Charging a page, and what happens at the end of memory (mm/memcontrol.c:try_charge_memcg, mm/oom_kill.c, 6.12)."""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, inline, jit, wide
from swaplab.replay.lists import lru_del
from swaplab.replay.memcontrol import obj_cgroup_charge, payer, spend
from swaplab.replay.state import (
    ANON_VMA_BYTES,
    GONE,
    IN_ZSWAP,
    MAX_RECLAIM_RETRIES,
    NONE,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTRS_PER_TABLE,
    RESIDENT,
    STATE_MASK,
    SWAP_CLUSTER_MAX,
    Machine,
)
from swaplab.replay.stock import MEMCG_CHARGE_BATCH, charge, drain_all_stock, page_counter_charge
from swaplab.replay.swap import free_slot, wait_for_write
from swaplab.replay.vmscan import try_to_free_pages
from swaplab.replay.zswap import zram_free, zswap_entry_free

__all__ = [
    "alloc_charged",
    "alloc_pte",
    "anon_vma_prepare",
    "handle_over_high",
    "is_killed",
    "out_of_memory",
    "zap_workload",
]

HZ = 250
DELAY_PRECISION_SHIFT, DELAY_SCALING_SHIFT = 20, 14
MAX_HIGH_DELAY_JIFFIES = 2 * HZ
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
            free_slot(m, page, wide(folio.other_memcg))
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


@jit
def free_pgtables(m: Machine, workload: int) -> None:
    """Free a workload's page tables (mm/memory.c:free_pgtables, 6.12)."""
    for table in range(wide(m.first_table[workload]), wide(m.first_table[workload + 1])):
        if m.table_memcg[table] >= 0:
            page_counter_charge(m, wide(m.memcgs[wide(m.table_memcg[table])].objcg), -1)
            m.control.free += 1
            m.table_memcg[table] = -1


@jit
def unlink_anon_vmas(m: Machine, workload: int) -> None:
    """Free what `anon_vma_prepare` made (mm/rmap.c:unlink_anon_vmas, 6.12)."""
    memcg = wide(m.anon_vma_memcg[workload])
    if memcg >= 0:
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), -ANON_VMA_BYTES)
        m.anon_vma_memcg[workload] = -1


@entry
def zap_workload(m: Machine, workload: int) -> None:
    """The workload's task exits: all its pages are freed and its further accesses do nothing."""
    for page in range(wide(m.workload_first[workload]), wide(m.workload_first[workload + 1])):
        zap_page(m, page)
    free_pgtables(m, workload)
    unlink_anon_vmas(m, workload)


@jit
def is_killed(m: Machine, page: int) -> bool:
    """Whether the page's workload is gone."""
    return wide(m.folios[page].bits) & STATE_MASK == GONE


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
    for table in range(wide(m.first_table[workload]), wide(m.first_table[workload + 1])):
        points += m.table_memcg[table] >= 0
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
def reclaim_and_charge(m: Machine, memcg: int, page: int, limited: int) -> bool:
    """Charge one page once there is room below `limited` (mm/memcontrol.c:try_charge_memcg, from label retry, 6.12).

    False as for `try_charge`. Differs: a retry without progress sleeps until a write in flight is done, where the
    kernel burns its retries.
    """
    retries = MAX_RECLAIM_RETRIES
    while limited >= 0:
        m.memcgs[limited].max_events += 1
        reclaimed = try_to_free_pages(m, limited, 1)
        has_room = m.memcgs[limited].usage < m.memcgs[limited].memory_max
        if not (has_room or drain_all_stock(m, limited) or reclaimed or wait_for_write(m)):
            retries -= 1
            if retries < 0:
                if out_of_memory(m, limited) < 0 or is_killed(m, page):
                    return False
                retries = MAX_RECLAIM_RETRIES
        limited = charge(m, memcg, 1, 1)
    return True


@inline
def try_charge(m: Machine, memcg: int, page: int) -> bool:
    """Charge one page, reclaiming at the limit and killing at the end of it (mm/memcontrol.c:try_charge_memcg, 6.12).

    False when the task that faults on `page` was killed.
    """
    limited = charge(m, memcg, 1, MEMCG_CHARGE_BATCH)
    if unlikely(limited >= 0):
        return reclaim_and_charge(m, memcg, page, limited)
    return True


@jit
def reclaim_for_page(m: Machine, page: int) -> bool:
    """Reclaim until a page may be taken (mm/page_alloc.c:__alloc_pages_slowpath, 6.12); False as for `alloc_page`."""
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
    return True


@inline
def alloc_page(m: Machine, page: int) -> bool:
    """Take a free page, reclaiming at the min watermark (mm/page_alloc.c:__alloc_pages_noprof, 6.12).

    False when the task that faults on `page` was killed.
    """
    if unlikely(m.control.free <= m.control.watermark_min) and not reclaim_for_page(m, page):
        return False
    m.control.free -= 1
    return True


@inline
def alloc_charged(m: Machine, memcg: int, page: int) -> bool:
    """Take a page and charge it to `memcg`; False when the faulting task was killed."""
    if unlikely(not alloc_page(m, page)):
        return False
    if try_charge(m, memcg, page):
        return True
    m.control.free += 1
    return False


@jit
def anon_vma_prepare(m: Machine, workload: int) -> None:
    """Make what finds the mappings of a workload's pages, unless it is there (mm/rmap.c:__anon_vma_prepare, 6.12)."""
    if m.anon_vma_memcg[workload] < 0:
        memcg = wide(m.control.current)
        m.anon_vma_memcg[workload] = memcg
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), ANON_VMA_BYTES)


@jit
def alloc_pte(m: Machine, workload: int, page: int) -> bool:
    """Make sure that there is a page table for a page, which the cgroup pays for (mm/memory.c:__pte_alloc, 6.12).

    False when the task that faults on `page` was killed. Differs: only tables of the last level, and the first begins
    where the workload's memory does.
    """
    table = wide(m.first_table[workload]) + (page - wide(m.workload_first[workload])) // PTRS_PER_TABLE
    if m.table_memcg[table] >= 0:
        return True
    memcg = wide(m.control.current)
    if not alloc_charged(m, memcg, page):
        return False
    m.table_memcg[table] = memcg
    return True


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
