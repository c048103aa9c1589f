"""Charging a page, and what happens at the end of memory (mm/memcontrol.c:try_charge_memcg, mm/oom_kill.c, 6.12)."""

from __future__ import annotations

from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES, SWAP_CLUSTER_MAX
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lists import folio_is_file_lru
from swaplab.replay.memcontrol import obj_cgroup_charge, payer, spend, task_of
from swaplab.replay.state import ANON_VMA_BYTES, NONE, PTRS_PER_TABLE, SHMEM, STATE_MASK, State
from swaplab.replay.stock import MEMCG_CHARGE_BATCH, charge, drain_all_stock
from swaplab.replay.swap import wait_for_write
from swaplab.replay.unmap import exit_mmap, is_gone
from swaplab.replay.vmscan import try_to_free_pages

__all__ = [
    "alloc_charged",
    "alloc_charged_once",
    "alloc_pte",
    "anon_vma_prepare",
    "handle_over_high",
    "out_of_memory",
]

HZ = 250
DELAY_PRECISION_SHIFT, DELAY_SCALING_SHIFT = 20, 14
MAX_HIGH_DELAY_JIFFIES = 2 * HZ
JIFFY_NS = 1_000_000_000 // HZ


# OOM ------------------------------------------------------------------------------------------------------------------


@jit
def oom_badness(m: State, task: int, memcg: int) -> int:
    """Pages the task would give back and 1, or 0 if it is gone or elsewhere (mm/oom_kill.c:oom_badness)."""
    if not memcg <= m.task_memcg[task] < m.memcgs[memcg].end:
        return 0
    first, end = wide(m.task_first[task]), wide(m.task_first[task + 1])
    if m.has.file_memory and folio_is_file_lru(m, first):
        return 0  # Differs: who has a file open is killed last in Linux, and not at all here
    if first == end or is_gone(m, task):
        return 0
    points = 1
    for page in range(first, end):
        state = wide(m.folios[page].bits) & STATE_MASK
        if state not in (NONE, SHMEM) or (state == SHMEM and m.pte[page]):
            points += 1
    for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
        points += m.table_memcg[table] >= 0
    return points


@jit
def out_of_memory(m: State, memcg: int) -> int:
    """Kill the largest task of the subtree; which one, or -1 (mm/oom_kill.c:out_of_memory).

    Differs: its memory is free at once; a machine out of memory counts as the root's ``oom``.
    """
    victim, most = -1, 0
    for task in range(wide(m.sizes.nr_tasks)):
        points = oom_badness(m, task, memcg)
        if points > most:
            victim, most = task, points
    m.memcgs[memcg].oom += 1
    if victim >= 0:
        m.memcgs[wide(m.task_memcg[victim])].oom_kill += 1
        exit_mmap(m, victim)
        m.task_killed[victim] = 1
    return victim


# Charging -------------------------------------------------------------------------------------------------------------


@jit
def reclaim_and_charge(m: State, memcg: int, page: int, limited: int) -> bool:
    """Charge one page once there is room below `limited` (mm/memcontrol.c:try_charge_memcg, from label retry).

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
                if out_of_memory(m, limited) < 0 or is_gone(m, task_of(m, page)):
                    return False
                retries = MAX_RECLAIM_RETRIES
        limited = charge(m, memcg, 1, 1)
    return True


@inline
def try_charge(m: State, memcg: int, page: int) -> bool:
    """Charge one page, reclaiming at the limit and killing at the end of it (mm/memcontrol.c:try_charge_memcg).

    False when the task that faults on `page` was killed.
    """
    limited = charge(m, memcg, 1, MEMCG_CHARGE_BATCH)
    if unlikely(limited >= 0):
        return reclaim_and_charge(m, memcg, page, limited)
    return True


@jit
def reclaim_for_page(m: State, page: int) -> bool:
    """Reclaim until a page may be taken (mm/page_alloc.c:__alloc_pages_slowpath); False as for `alloc_page`."""
    retries = MAX_RECLAIM_RETRIES
    while m.memory.free <= m.memory.watermark_min:
        if try_to_free_pages(m, 0, 1) or wait_for_write(m):
            continue
        retries -= 1
        if retries < 0:
            if out_of_memory(m, 0) < 0 or is_gone(m, task_of(m, page)):
                return False
            retries = MAX_RECLAIM_RETRIES
    return True


@inline
def alloc_page(m: State, page: int) -> bool:
    """Take a free page, reclaiming at the min watermark (mm/page_alloc.c:__alloc_pages_noprof).

    False when the task that faults on `page` was killed.
    """
    if unlikely(m.memory.free <= m.memory.watermark_min) and not reclaim_for_page(m, page):
        return False
    m.memory.free -= 1
    return True


@inline
def alloc_charged(m: State, memcg: int, page: int) -> bool:
    """Take a page and charge it to `memcg`; False when the faulting task was killed."""
    if unlikely(not alloc_page(m, page)):
        return False
    if try_charge(m, memcg, page):
        return True
    m.memory.free += 1
    return False


@jit
def alloc_charged_once(m: State, memcg: int, page: int) -> bool:
    """`alloc_charged` for what nobody waits for: given up without a kill (__GFP_NORETRY in try_charge_memcg)."""
    if not alloc_page(m, page):
        return False
    limited, drained = charge(m, memcg, 1, MEMCG_CHARGE_BATCH), False
    while limited >= 0:
        m.memcgs[limited].max_events += 1
        try_to_free_pages(m, limited, 1)
        if m.memcgs[limited].usage >= m.memcgs[limited].memory_max:
            if drained:
                m.memory.free += 1
                return False
            drain_all_stock(m, limited)
            drained = True
        limited = charge(m, memcg, 1, 1)
    return True


@jit
def anon_vma_prepare(m: State, task: int) -> None:
    """Make what finds the mappings of a task's pages, unless it is there (mm/rmap.c:__anon_vma_prepare)."""
    if m.anon_vma_memcg[task] < 0:
        memcg = wide(m.task.current)
        m.anon_vma_memcg[task] = memcg
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), ANON_VMA_BYTES)


@jit
def alloc_pte(m: State, task: int, page: int, faulting: int) -> bool:
    """Make sure that there is a page table for a page, which the cgroup pays for (mm/memory.c:__pte_alloc).

    False when the task that faults on page `faulting` was killed. Differs: only tables of the last level, and the first
    begins where the task's memory does.
    """
    table = wide(m.first_table[task]) + (page - wide(m.task_first[task])) // PTRS_PER_TABLE
    if m.table_memcg[table] >= 0:
        return True
    memcg = wide(m.task.current)
    if not alloc_charged(m, memcg, faulting):
        return False
    m.table_memcg[table] = memcg
    return True


@jit
def max_overage(m: State, memcg: int) -> int:
    """Largest share, in 2**-20, by which the cgroup or an ancestor exceeds memory.high (mem_find_max_overage)."""
    overage = 0
    while memcg > 0:
        usage, high = wide(m.memcgs[memcg].usage), wide(m.memcgs[memcg].memory_high)
        if usage > high:
            overage = max(overage, ((usage - high) << DELAY_PRECISION_SHIFT) // max(high, 1))
        memcg = wide(m.memcgs[memcg].parent)
    return overage


@jit
def reclaim_high(m: State, memcg: int, pages: int) -> int:
    """Reclaim from every cgroup above its memory.high (mm/memcontrol.c:reclaim_high)."""
    reclaimed = 0
    while memcg > 0:
        if m.memcgs[memcg].usage > m.memcgs[memcg].memory_high:
            m.memcgs[memcg].high += 1
            reclaimed += try_to_free_pages(m, memcg, pages)
        memcg = wide(m.memcgs[memcg].parent)
    return reclaimed


@jit
def handle_over_high(m: State, memcg: int) -> None:
    """Reclaim above memory.high, then sleep for what is left (mm/memcontrol.c:mem_cgroup_handle_over_high)."""
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
