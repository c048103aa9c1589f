"""Reclaim: the classic active and inactive lists, and the tree of cgroups (mm/vmscan.c, 6.12), for anonymous memory."""

from __future__ import annotations

from math import sqrt

from swaplab.linux.reclaim import DEF_PRIORITY, SWAP_CLUSTER_MAX
from swaplab.replay.access import settle
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lists import fetch_later, lru_account, lru_add, lru_head, note_later
from swaplab.replay.lru_gen_eviction import lru_gen_shrink_lruvec, lru_gen_shrink_node
from swaplab.replay.memcontrol import (
    is_online,
    kswapd_try_clear_hopeless,
    payer,
    spend,
    swap_pages_left,
)
from swaplab.replay.rmap import referenced_by
from swaplab.replay.shrink_folio import shrink_folio_list
from swaplab.replay.state import ISOLATED, LRU_ACTIVE, LRU_INACTIVE, MANY, PG_ACTIVE, PG_WORKINGSET, YOUNG, State
from swaplab.replay.swap import blk_finish_plug, blk_start_plug, lru_add_drain
from swaplab.replay.workingset import lru_note_cost, workingset_age_nonresident
from swaplab.replay.zswap import do_shrink_slab

__all__ = ["balance_pgdat", "try_to_free_pages"]

MAX_SWAPPINESS = 200
PAGES_PER_GIB_SHIFT = 30 - 12


# The lists of one cgroup ----------------------------------------------------------------------------------------------


@inline
def isolate_lru_folios(m: State, memcg: int, lru: int, nr_to_scan: int) -> int:
    """Move up to 32 of the oldest folios of a list to `m.isolated`; their number (mm/vmscan.c)."""
    head = lru_head(m, memcg, lru)
    page = wide(m.folios[head].prev)
    taken = 0
    while taken < nr_to_scan and page != head:
        folio = m.folios[page]
        fetch_later(m, page)
        folio.next = ISOLATED
        m.isolated[taken] = page
        taken += 1
        page = wide(folio.prev)
    m.folios[head].prev = page
    m.folios[page].next = head
    lru_account(m, memcg, lru, -taken)
    m.memcgs[payer(m)].reclaim_ns += spend(m, taken * wide(m.cost.reclaim_page_ns))
    return taken


@inline
def move_folios_to_lru(m: State, memcg: int, kept: int) -> None:
    """Put back the first `kept` isolated folios (mm/vmscan.c:move_folios_to_lru)."""
    head = lru_head(m, memcg, LRU_INACTIVE)
    first = wide(m.folios[head].next)
    inactive = 0
    for i in range(kept):
        page = wide(m.isolated[i])
        folio = m.folios[page]
        if wide(folio.bits) & PG_ACTIVE:
            lru_add(m, page)
            workingset_age_nonresident(m, memcg)
            continue
        folio.next = first
        m.folios[first].prev = page
        first = page
        note_later(m, head, page)
        inactive += 1
    m.folios[head].next = first
    m.folios[first].prev = head
    lru_account(m, memcg, LRU_INACTIVE, inactive)


@inline
def shrink_inactive_list(m: State, memcg: int, nr_to_scan: int) -> int:
    """Scan up to 32 inactive folios; how many were freed (mm/vmscan.c:shrink_inactive_list)."""
    lru_add_drain(m)
    taken = isolate_lru_folios(m, memcg, LRU_INACTIVE, nr_to_scan)
    if not taken:
        return 0
    m.scan.nr_pageout = 0
    kept = shrink_folio_list(m, taken)
    move_folios_to_lru(m, memcg, kept)
    m.memcgs[memcg].pgscan += taken
    m.memcgs[memcg].pgsteal += taken - kept
    lru_note_cost(m, memcg, wide(m.scan.nr_pageout), kept)
    return taken - kept


@jit
def clear_young(m: State, page: int) -> None:
    """Forget that a folio was used (mm/rmap.c:folio_referenced, whose answer nobody needs)."""
    entry = wide(m.pte[page])
    m.pte[page] = entry & ~YOUNG
    if unlikely(entry & MANY):
        rmap = m.rmaps[page - wide(m.sizes.nr_pages)]
        owner = wide(rmap.first)
        for _ in range(wide(rmap.owners)):
            referenced_by(m, page, owner)
            owner = wide(m.folios[owner].next)


@jit
def shrink_active_list(m: State, memcg: int, nr_to_scan: int) -> None:
    """Deactivate up to 32 of the oldest active folios, used or not (mm/vmscan.c:shrink_active_list)."""
    lru_add_drain(m)
    taken = isolate_lru_folios(m, memcg, LRU_ACTIVE, nr_to_scan)
    for i in range(taken):
        page = wide(m.isolated[i])
        clear_young(m, page)
        m.folios[page].bits = wide(m.folios[page].bits) & ~PG_ACTIVE | PG_WORKINGSET
    move_folios_to_lru(m, memcg, taken)
    m.memcgs[memcg].pgrefill += taken
    m.memcgs[memcg].pgdeactivate += taken


@jit
def inactive_is_low(m: State, memcg: int) -> bool:
    """Whether too many folios are active for the size of the cgroup (mm/vmscan.c:inactive_is_low)."""
    inactive, active = wide(m.memcgs[memcg].flushed_inactive), wide(m.memcgs[memcg].flushed_active)
    gib = (inactive + active) >> PAGES_PER_GIB_SHIFT
    ratio = int(sqrt(10 * gib)) if gib else 1
    return inactive * ratio < active


@inline
def scan_target(m: State, memcg: int, size: int) -> int:
    """How many folios of a list of `size` to scan at this priority (mm/vmscan.c:get_scan_count).

    There is no file memory, so the share of anonymous memory is all that is computed.
    """
    online = is_online(m, memcg)
    scan = size >> wide(m.scan.priority)
    if not scan and not online:
        scan = min(size, SWAP_CLUSTER_MAX)
    if not scan or swap_pages_left(m, memcg) <= 0 or (m.scan.target > 0 and not m.memory.swappiness):
        return 0
    if (not m.scan.priority and m.memory.swappiness) or m.scan.file_is_tiny:
        return scan
    anon, file = wide(m.scan.anon_share), wide(m.scan.file_share)
    if online:
        return scan * anon // (anon + file)
    return (scan * anon + anon + file - 1) // (anon + file)


@inline
def shrink_lruvec(m: State, memcg: int) -> None:
    """Reclaim from one cgroup's lists (mm/vmscan.c:shrink_lruvec)."""
    scan = m.scan
    if unlikely(m.mglru.enabled):
        lru_gen_shrink_lruvec(m, memcg)
        return
    inactive = scan_target(m, memcg, wide(m.memcgs[memcg].inactive))
    active = scan_target(m, memcg, wide(m.memcgs[memcg].active))
    blk_start_plug(m)
    to_the_end = scan.target == 0 and not scan.kswapd and scan.priority == DEF_PRIORITY
    reclaimed = 0
    while inactive:
        chunk = min(inactive, SWAP_CLUSTER_MAX)
        inactive -= chunk
        reclaimed += shrink_inactive_list(m, memcg, chunk)
        if active:
            chunk = min(active, SWAP_CLUSTER_MAX)
            active -= chunk
            if scan.may_deactivate:
                shrink_active_list(m, memcg, chunk)
            else:
                scan.skipped_deactivate = 1
        if reclaimed >= scan.nr_to_reclaim and not to_the_end:
            break
    blk_finish_plug(m)
    scan.nr_reclaimed += reclaimed
    if m.swap.nr_slots and inactive_is_low(m, memcg):
        shrink_active_list(m, memcg, SWAP_CLUSTER_MAX)


# The tree -------------------------------------------------------------------------------------------------------------


@jit
def inactive_of_node(m: State) -> int:
    """Inactive folios of the machine, which nobody has to flush (include/linux/vmstat.h:node_page_state)."""
    total = 0
    for each in range(wide(m.sizes.nr_memcgs)):
        total += wide(m.memcgs[each].inactive)
    return total


@jit
def prepare_scan_control(m: State) -> None:
    """Read the target's costs and decide whether to deactivate (mm/vmscan.c:prepare_scan_control).

    And share between anonymous and file memory by these costs, for all of the pass (mm/vmscan.c:get_scan_count).
    """
    memory, scan = m.memory, m.scan
    target = wide(scan.target)
    lruvec = m.memcgs[target]
    cost = wide(lruvec.anon_cost)
    scan.anon_share = wide(memory.swappiness) * (3 * cost + 1) // (2 * cost + 1)
    scan.file_share = (MAX_SWAPPINESS - wide(memory.swappiness)) * (3 * cost + 1) // (cost + 1)
    refaulting = lruvec.flushed_activations != lruvec.refaults
    scan.may_deactivate = scan.force_deactivate or refaulting or inactive_is_low(m, target)
    scan.file_is_tiny = 0
    if target == 0:
        few_free = memory.free <= memory.watermark_high
        some_anon = inactive_of_node(m) >> wide(scan.priority)
        scan.file_is_tiny = few_free and not scan.may_deactivate and some_anon > 0


@inline
def mem_cgroup_iter(m: State, target: int, memcg: int) -> int:
    """Cgroup of the subtree after `memcg`, of which -1 is before the first and after the last (mm/memcontrol.c).

    Unless a walk is to be a full one, all share their position.
    """
    shared = not m.scan.full_walk
    before = wide(m.memcgs[target].iterator) if shared else memcg
    following = target if before < 0 else before + 1
    if following >= m.memcgs[target].end:
        following = -1
    if shared:
        m.memcgs[target].iterator = following
    return following


@inline
def shrink_one(m: State, memcg: int) -> None:
    """Reclaim folios, then compressed pages, of one cgroup."""
    shrink_lruvec(m, memcg)
    do_shrink_slab(m, memcg, wide(m.scan.priority))


@inline
def shrink_node_memcgs(m: State, target: int) -> None:
    """Shrink all of a subtree; or, from where the last walk stopped, as much as is needed (mm/vmscan.c)."""
    scan = m.scan
    memcg = mem_cgroup_iter(m, target, -1)
    if memcg < 0:
        memcg = mem_cgroup_iter(m, target, -1)
    while memcg >= 0:
        shrink_one(m, memcg)
        if not scan.full_walk and scan.nr_reclaimed >= scan.nr_to_reclaim:
            break
        memcg = mem_cgroup_iter(m, target, memcg)


@jit
def shrink_node(m: State) -> None:
    """One pass over the target's subtree: kswapd's and retries' over all of it (mm/vmscan.c:shrink_node)."""
    scan = m.scan
    if unlikely(m.mglru.enabled) and not scan.target:
        lru_gen_shrink_node(m)
        return
    prepare_scan_control(m)
    before = wide(scan.nr_reclaimed)
    shrink_node_memcgs(m, wide(scan.target))
    if scan.nr_reclaimed > before:
        kswapd_try_clear_hopeless(m)


@jit
def shrink_by_priority(m: State) -> None:
    """Scan more and more of the subtree until enough is reclaimed (mm/vmscan.c:do_try_to_free_pages)."""
    scan = m.scan
    scan.priority = DEF_PRIORITY
    while scan.priority >= 0:
        shrink_node(m)
        if scan.nr_reclaimed >= scan.nr_to_reclaim:
            break
        scan.priority -= 1
    target = m.memcgs[wide(scan.target)]
    target.refaults = target.flushed_activations


@inline
def start_reclaim(m: State, target: int, pages: int, kswapd: int) -> None:
    """Set out to reclaim `pages`, 32 at least, from a subtree (include/linux/swap.h:struct scan_control)."""
    settle(m)
    scan = m.scan
    m.task.reclaimed = 1
    scan.target = target
    scan.nr_to_reclaim = max(pages, SWAP_CLUSTER_MAX)
    scan.nr_reclaimed = 0
    scan.nr_scanned = 0
    scan.kswapd = kswapd
    scan.full_walk = kswapd
    scan.force_deactivate = 0
    scan.skipped_deactivate = 0


@jit
def try_to_free_pages(m: State, target: int, pages: int) -> int:
    """Reclaim at least 32 pages from a subtree, the root's for the machine; how many came back.

    Models mm/vmscan.c:try_to_free_mem_cgroup_pages, try_to_free_pages, do_try_to_free_pages.
    """
    scan = m.scan
    start_reclaim(m, target, pages, 0)
    while True:
        shrink_by_priority(m)
        if scan.nr_reclaimed:
            break
        if not scan.full_walk:
            scan.full_walk = 1
        elif scan.skipped_deactivate and not scan.force_deactivate:
            scan.force_deactivate = 1
        else:
            break
    return wide(scan.nr_reclaimed)


@jit
def kswapd_age_node(m: State) -> None:
    """Deactivate some folios of every cgroup ahead of their scan (mm/vmscan.c:kswapd_age_node)."""
    if m.swap.nr_slots and not m.mglru.enabled and inactive_is_low(m, 0):
        for memcg in range(wide(m.sizes.nr_memcgs)):
            shrink_active_list(m, memcg, SWAP_CLUSTER_MAX)


@jit
def balance_pgdat(m: State) -> None:
    """kswapd: reclaim until more than the high watermark is free (mm/vmscan.c:balance_pgdat)."""
    memory, scan = m.memory, m.scan
    start_reclaim(m, 0, wide(memory.watermark_high), 1)
    scan.priority = DEF_PRIORITY
    while scan.priority >= 1 and memory.free <= memory.watermark_high:
        before = wide(scan.nr_reclaimed)
        kswapd_age_node(m)
        scan.nr_scanned = 0
        shrink_node(m)
        progress = wide(scan.nr_reclaimed) - before
        if not progress or max(wide(scan.nr_scanned), progress) < scan.nr_to_reclaim:
            scan.priority -= 1
    if scan.priority < 1 and not scan.nr_reclaimed:
        memory.kswapd_failures += 1
    m.memcgs[0].refaults = m.memcgs[0].flushed_activations
