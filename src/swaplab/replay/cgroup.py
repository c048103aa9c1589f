"""Writes to cgroup files and removal of a cgroup (mm/memcontrol.c, kernel/cgroup/cgroup.c, 6.12)."""

from __future__ import annotations

from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES
from swaplab.replay.charge import out_of_memory
from swaplab.replay.entries import link_entries
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.lists import lru_account, lru_gen_is_active, lru_head
from swaplab.replay.lru_gen_aging import inc_max_seq, nr_gens
from swaplab.replay.memcontrol import is_online, whole_pages
from swaplab.replay.memory import run_background
from swaplab.replay.state import LRU_ACTIVE, LRU_INACTIVE, LRU_ZSWAP, MAX_NR_GENS, State
from swaplab.replay.stock import drain_all_stock, page_counter_charge
from swaplab.replay.swap import wait_for_write
from swaplab.replay.vmscan import try_to_free_pages
from swaplab.replay.zswap import zswap_proactive_writeback

__all__ = ["css_offline", "memory_high_write", "memory_max_write", "memory_reclaim"]


@entry
def memory_max_write(m: State, memcg: int, pages: int) -> None:
    """Set memory.max and reclaim, then kill, down to it (mm/memcontrol.c:memory_max_write)."""
    m.memcgs[memcg].memory_max = pages
    if m.memcgs[memcg].usage > pages:
        drain_all_stock(m, memcg)
    retries = MAX_RECLAIM_RETRIES
    while m.memcgs[memcg].usage > pages:
        if retries:
            if not try_to_free_pages(m, memcg, wide(m.memcgs[memcg].usage) - pages) and not wait_for_write(m):
                retries -= 1
        elif out_of_memory(m, memcg) < 0:
            break
    run_background(m)


@entry
def memory_high_write(m: State, memcg: int, pages: int) -> None:
    """Set memory.high and reclaim down to it as far as that goes (mm/memcontrol.c:memory_high_write)."""
    m.memcgs[memcg].memory_high = pages
    m.memory.high_limits = 1
    if m.memcgs[memcg].usage > pages:
        drain_all_stock(m, memcg)
    retries = MAX_RECLAIM_RETRIES
    while m.memcgs[memcg].usage > pages:
        if not try_to_free_pages(m, memcg, wide(m.memcgs[memcg].usage) - pages) and not wait_for_write(m):
            retries -= 1
            if retries < 0:
                break
    run_background(m)


@jit
def reclaim_from_all(m: State, memcg: int, pages: int) -> int:
    """Reclaim `pages` from the subtree; how many came back (the loop of mm/memcontrol.c:memory_reclaim)."""
    reclaimed = 0
    retries = MAX_RECLAIM_RETRIES
    m.scan.proactive = 1
    while reclaimed < pages:
        progress = try_to_free_pages(m, memcg, (pages - reclaimed) // 4)
        if not progress and not wait_for_write(m):
            retries -= 1
            if retries < 0:
                break
        reclaimed += progress
    m.scan.proactive = 0
    return reclaimed


@entry
def memory_reclaim(m: State, memcg: int, pages: int, from_zswap: int) -> int:
    """Reclaim `pages` from the subtree; how many came back, maybe fewer (mm/memcontrol.c:memory_reclaim).

    With ``source=zswap``, which is proposed, they are written back from there.
    """
    reclaimed = zswap_proactive_writeback(m, memcg, pages) if from_zswap else reclaim_from_all(m, memcg, pages)
    run_background(m)
    return reclaimed


@jit
def tables_of(m: State, objcg: int) -> int:
    """Page tables that are charged to the objcg."""
    tables = 0
    for table in range(wide(m.first_table[wide(m.sizes.nr_tasks)])):
        owner = wide(m.table_memcg[table])
        tables += owner >= 0 and m.memcgs[owner].objcg == objcg
    return tables


@jit
def memcg_reparent_objcgs(m: State, memcg: int, parent: int) -> None:
    """Hand the cgroup's compressed bytes and page tables to its parent (mm/memcontrol.c:memcg_reparent_objcgs).

    Differs: the charge moves at once; the kernel's dead cgroup keeps it and the parent is uncharged for it later. And
    what was the cgroup's shares its last page with what is the parent's, so that one page less may be charged.
    """
    moved, had = wide(m.memcgs[memcg].objcg_bytes), wide(m.memcgs[parent].objcg_bytes)
    pages_moved, pages_had = whole_pages(moved), whole_pages(had)
    m.memcgs[memcg].usage -= pages_moved + tables_of(m, memcg)
    m.memcgs[memcg].objcg_bytes = 0
    m.memcgs[parent].zswap_bytes += m.memcgs[memcg].zswap_bytes
    m.memcgs[parent].zswapped += m.memcgs[memcg].zswapped
    m.memcgs[parent].incompressible += m.memcgs[memcg].incompressible
    m.memcgs[memcg].zswap_bytes = 0
    m.memcgs[memcg].zswapped = 0
    m.memcgs[memcg].incompressible = 0
    if parent:
        m.memcgs[parent].objcg_bytes = had + moved
        page_counter_charge(m, parent, whole_pages(had + moved) - pages_had - pages_moved)
    else:
        page_counter_charge(m, parent, -pages_moved)
    for each in range(memcg, wide(m.memcgs[memcg].end)):
        if m.memcgs[each].objcg == memcg:
            m.memcgs[each].objcg = parent


@jit
def memcg_reparent_list_lrus(m: State, memcg: int, parent: int) -> None:
    """Splice the cgroup's entries to its parent's oldest end (mm/list_lru.c:memcg_reparent_list_lru_node)."""
    source, target = lru_head(m, memcg, LRU_ZSWAP), lru_head(m, parent, LRU_ZSWAP)
    first, last, oldest = wide(m.folios[source].next), wide(m.folios[source].prev), wide(m.folios[target].next)
    if first == source:
        return
    m.folios[target].next = first
    m.folios[first].prev = target
    m.folios[last].next = oldest
    m.folios[oldest].prev = last
    m.folios[source].next = source
    m.folios[source].prev = source
    m.memcgs[parent].entries += m.memcgs[memcg].entries
    m.memcgs[memcg].entries = 0


# Folios of a removed cgroup, 7.2 --------------------------------------------------------------------------------------


@jit
def reparent_list(m: State, memcg: int, parent: int, lru: int) -> int:
    """Have the folios of a list follow the last of its parent's, so that they are evicted first; how many.

    Their objcg is the parent's from then on: it is charged for them, as it was for all below.
    """
    source, target = lru_head(m, memcg, lru), lru_head(m, parent, lru)
    count = 0
    page = wide(m.folios[source].next)
    while page != source:
        m.folios[page].memcg = parent
        count += 1
        page = wide(m.folios[page].next)
    if count:
        first, last, oldest = wide(m.folios[source].next), wide(m.folios[source].prev), wide(m.folios[target].prev)
        m.folios[oldest].next, m.folios[first].prev = first, oldest
        m.folios[last].next, m.folios[target].prev = target, last
        m.folios[source].next = m.folios[source].prev = source
    return count


@jit
def lru_gen_reparent_memcg(m: State, memcg: int, parent: int) -> int:
    """Move a cgroup's generations to its parent's lists of the same numbers, of any age (mm/vmscan.c).

    The parent gets four first, without a walk of its tasks (max_lru_gen_memcg). How many folios there were.
    """
    can_swap = 1 if m.memory.swappiness else 0
    while nr_gens(m, parent, 1) < MAX_NR_GENS or nr_gens(m, parent, 0) < MAX_NR_GENS:
        inc_max_seq(m, parent, can_swap)
    moved = 0
    for gen in range(MAX_NR_GENS):
        moved += reparent_list(m, memcg, parent, gen)
        pages = wide(m.gen_pages[memcg * MAX_NR_GENS + gen])
        m.gen_pages[memcg * MAX_NR_GENS + gen] = 0
        m.gen_pages[parent * MAX_NR_GENS + gen] += pages
        lru_account(m, parent, lru_gen_is_active(m, parent, gen), pages)
    return moved


@jit
def lru_reparent_memcg(m: State, memcg: int, parent: int) -> int:
    """Move a cgroup's active and inactive folios to its parent's lists; how many there were (mm/swap.c)."""
    m.memcgs[parent].anon_cost += m.memcgs[memcg].anon_cost
    m.memcgs[parent].inactive += m.memcgs[memcg].inactive
    m.memcgs[parent].active += m.memcgs[memcg].active
    return reparent_list(m, memcg, parent, LRU_INACTIVE) + reparent_list(m, memcg, parent, LRU_ACTIVE)


@jit
def reparent_folios(m: State, memcg: int, parent: int) -> None:
    """Make a removed cgroup's folios its parent's (mm/memcontrol.c:memcg_reparent_objcgs, 7.2)."""
    if m.mglru.enabled:
        m.memcgs[memcg].usage -= lru_gen_reparent_memcg(m, memcg, parent)
    else:
        m.memcgs[memcg].usage -= lru_reparent_memcg(m, memcg, parent)
    left, gets = m.memcgs[memcg], m.memcgs[parent]
    gets.anon += left.anon
    gets.shmem += left.shmem
    gets.swapcached += left.swapcached
    left.anon = left.shmem = left.swapcached = left.inactive = left.active = 0


# Removal --------------------------------------------------------------------------------------------------------------


@jit
def migrate_task(m: State, task: int, memcg: int) -> None:
    """Move a task to another cgroup, whose next walk is its first there (mm/vmscan.c:lru_gen_migrate_mm)."""
    m.task_memcg[task] = memcg
    m.mm_is_new[task] = 1
    for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
        m.filters[table] = 0


@entry
def css_offline(m: State, memcg: int, home: int) -> None:
    """Remove a cgroup without children: its tasks move to `home`, its folios stay charged to it, or in 7.2 move too.

    Models mm/memcontrol.c:mem_cgroup_css_offline, mm/zswap.c:zswap_memcg_offline_cleanup, mm/shrinker.c:
    reparent_shrinker_deferred.
    """
    parent = wide(m.memcgs[memcg].parent)
    drain_all_stock(m, memcg)
    for task in range(wide(m.sizes.nr_tasks)):
        if m.task_memcg[task] == memcg:
            migrate_task(m, task, home)
    if m.zswap.next_shrink == memcg:
        following = memcg + 1
        while following < m.sizes.nr_memcgs and not is_online(m, following):
            following += 1
        m.zswap.next_shrink = following if following < m.sizes.nr_memcgs else -1
    link_entries(m)  # while it is still known whose they are
    memcg_reparent_objcgs(m, memcg, parent)
    memcg_reparent_list_lrus(m, memcg, parent)
    if m.linux.lru_follows_objcg:
        reparent_folios(m, memcg, parent)
    m.memcgs[parent].nr_deferred += m.memcgs[memcg].nr_deferred
    m.memcgs[memcg].nr_deferred = 0
    m.memcgs[memcg].online = 0
