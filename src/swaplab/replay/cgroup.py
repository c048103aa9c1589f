"""Writes to cgroup files and removal of a cgroup (mm/memcontrol.c, kernel/cgroup/cgroup.c, 6.12)."""

from __future__ import annotations

from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES
from swaplab.replay.charge import out_of_memory
from swaplab.replay.entries import link_entries
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.lists import lru_head
from swaplab.replay.memcontrol import is_online, whole_pages
from swaplab.replay.memory import run_background
from swaplab.replay.state import LRU_ZSWAP, State
from swaplab.replay.stock import drain_all_stock, page_counter_charge
from swaplab.replay.swap import wait_for_write
from swaplab.replay.vmscan import try_to_free_pages

__all__ = ["css_offline", "memory_high_write", "memory_max_write", "memory_reclaim"]


@entry
def memory_max_write(m: State, memcg: int, pages: int) -> None:
    """Set memory.max and reclaim, then kill, down to it (mm/memcontrol.c:memory_max_write)."""
    m.memcgs[memcg].memory_max = pages
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
    drain_all_stock(m, memcg)
    retries = MAX_RECLAIM_RETRIES
    while m.memcgs[memcg].usage > pages:
        if not try_to_free_pages(m, memcg, wide(m.memcgs[memcg].usage) - pages) and not wait_for_write(m):
            retries -= 1
            if retries < 0:
                break
    run_background(m)


@entry
def memory_reclaim(m: State, memcg: int, pages: int) -> int:
    """Reclaim `pages` from the subtree; how many came back, maybe fewer (mm/memcontrol.c:memory_reclaim)."""
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


@jit
def migrate_task(m: State, task: int, memcg: int) -> None:
    """Move a task to another cgroup, whose next walk is its first there (mm/vmscan.c:lru_gen_migrate_mm)."""
    m.task_memcg[task] = memcg
    m.mm_is_new[task] = 1
    for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
        m.filters[table] = 0


@entry
def css_offline(m: State, memcg: int, home: int) -> None:
    """Remove a cgroup without children: its tasks move to `home`, its folios stay charged to it.

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
    m.memcgs[parent].nr_deferred += m.memcgs[memcg].nr_deferred
    m.memcgs[memcg].nr_deferred = 0
    m.memcgs[memcg].online = 0
