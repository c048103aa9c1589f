"""Reclaim: the classic active and inactive lists, and the tree of cgroups (mm/vmscan.c, 6.12)."""

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
from swaplab.replay.shrink_folio import shrink_file_list, shrink_folio_list
from swaplab.replay.state import (
    CLASSIC_LISTS,
    ISOLATED,
    LRU_ACTIVE,
    LRU_ACTIVE_FILE,
    LRU_FILE,
    LRU_INACTIVE,
    LRU_INACTIVE_FILE,
    MANY,
    PG_ACTIVE,
    PG_WORKINGSET,
    YOUNG,
    State,
)
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
def move_folios_to_lru(m: State, memcg: int, lru: int, kept: int) -> None:
    """Put back the first `kept` isolated folios, the inactive ones on `lru` (mm/vmscan.c:move_folios_to_lru)."""
    head = lru_head(m, memcg, lru)
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
    lru_account(m, memcg, lru, inactive)


@inline
def shrink_inactive_list(m: State, memcg: int, lru: int, nr_to_scan: int) -> int:
    """Scan up to 32 inactive folios; how many were freed (mm/vmscan.c:shrink_inactive_list)."""
    lru_add_drain(m)
    taken = isolate_lru_folios(m, memcg, lru, nr_to_scan)
    if not taken:
        return 0
    m.scan.nr_pageout = 0
    kept = shrink_file_list(m, taken) if m.has.file_memory and lru >= LRU_FILE else shrink_folio_list(m, taken)
    move_folios_to_lru(m, memcg, lru, kept)
    m.memcgs[memcg].pgscan += taken
    m.memcgs[memcg].pgsteal += taken - kept
    lru_note_cost(m, memcg, lru >= LRU_FILE, wide(m.scan.nr_pageout), kept)
    return taken - kept


@jit
def clear_young(m: State, page: int) -> None:
    """Forget that a folio was used (mm/rmap.c:folio_referenced; the answer is not needed)."""
    entry = wide(m.pte[page])
    m.pte[page] = entry & ~YOUNG
    if unlikely(entry & MANY):
        rmap = m.rmaps[page - wide(m.sizes.nr_pages)]
        owner = wide(rmap.first)
        for _ in range(wide(rmap.owners)):
            referenced_by(m, page, owner)
            owner = wide(m.folios[owner].next)


@jit
def shrink_active_list(m: State, memcg: int, lru: int, nr_to_scan: int) -> None:
    """Deactivate up to 32 of the oldest folios of an active list, used or not (mm/vmscan.c:shrink_active_list)."""
    lru_add_drain(m)
    taken = isolate_lru_folios(m, memcg, lru, nr_to_scan)
    for i in range(taken):
        page = wide(m.isolated[i])
        clear_young(m, page)
        m.folios[page].bits = wide(m.folios[page].bits) & ~PG_ACTIVE | PG_WORKINGSET
    move_folios_to_lru(m, memcg, lru - LRU_ACTIVE, taken)
    m.memcgs[memcg].pgrefill += taken
    m.memcgs[memcg].pgdeactivate += taken


@jit
def is_low(inactive: int, active: int) -> bool:
    """Whether of so many folios too many are active (in mm/vmscan.c:inactive_is_low)."""
    gib = (inactive + active) >> PAGES_PER_GIB_SHIFT
    ratio = int(sqrt(10 * gib)) if gib else 1
    return inactive * ratio < active


@jit
def inactive_is_low(m: State, memcg: int) -> bool:
    """Whether too many anonymous folios are active for the size of the cgroup (mm/vmscan.c:inactive_is_low)."""
    return is_low(wide(m.memcgs[memcg].flushed_inactive), wide(m.memcgs[memcg].flushed_active))


@inline
def scan_target(m: State, memcg: int, size: int) -> int:
    """How many folios of a list of `size` to scan at this priority, where there is no file memory (get_scan_count)."""
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


# And of its files -----------------------------------------------------------------------------------------------------


@jit
def scan_of_list(m: State, memcg: int, size: int, share: int, whole: int) -> int:
    """How many folios of a list of `size` to scan at this priority, `share` of the `whole` (in get_scan_count)."""
    online = is_online(m, memcg)
    scan = size >> wide(m.scan.priority)
    if not scan and not online:
        scan = min(size, SWAP_CLUSTER_MAX)
    if online:
        return scan * share // whole
    return (scan * share + whole - 1) // whole


@jit
def get_scan_count(m: State, memcg: int) -> None:
    """Set out how many folios of each list to scan (mm/vmscan.c:get_scan_count)."""
    scan, swappiness = m.scan, wide(m.memory.swappiness)
    anon, file = wide(scan.anon_share), wide(scan.file_share)
    whole = anon + file
    if swap_pages_left(m, memcg) <= 0 or (scan.target > 0 and not swappiness):
        anon, file, whole = 0, 1, 1
    elif not scan.priority and swappiness:
        anon, file, whole = 1, 1, 1
    elif scan.file_is_tiny:
        anon, file, whole = 1, 0, 1
    elif scan.cache_trim_mode:
        anon, file, whole = 0, 1, 1
    lruvec, counts = m.memcgs[memcg], m.scan_counts
    counts[LRU_INACTIVE] = scan_of_list(m, memcg, wide(lruvec.inactive), anon, whole)
    counts[LRU_ACTIVE] = scan_of_list(m, memcg, wide(lruvec.active), anon, whole)
    counts[LRU_INACTIVE_FILE] = scan_of_list(m, memcg, wide(lruvec.inactive_file), file, whole)
    counts[LRU_ACTIVE_FILE] = scan_of_list(m, memcg, wide(lruvec.active_file), file, whole)
    for lru in range(CLASSIC_LISTS):
        counts[CLASSIC_LISTS + lru] = counts[lru]


@jit
def shrink_list(m: State, memcg: int, lru: int) -> int:
    """Scan up to 32 folios of a list, those that are set out; how many were freed (mm/vmscan.c:shrink_list)."""
    scan, chunk = m.scan, min(wide(m.scan_counts[lru]), SWAP_CLUSTER_MAX)
    if not chunk:
        return 0
    m.scan_counts[lru] -= chunk
    if lru in (LRU_INACTIVE, LRU_INACTIVE_FILE):
        return shrink_inactive_list(m, memcg, lru, chunk)
    if scan.may_deactivate_file if lru >= LRU_FILE else scan.may_deactivate:
        shrink_active_list(m, memcg, lru, chunk)
    else:
        scan.skipped_deactivate = 1
    return 0


@jit
def leave_unscanned(m: State, lru: int, percentage: int) -> None:
    """Have a list scanned to the same part as another of which `percentage` is left (in mm/vmscan.c:shrink_lruvec)."""
    counts = m.scan_counts
    wanted = wide(counts[CLASSIC_LISTS + lru])
    scanned = wanted - wide(counts[lru])
    counts[lru] = max(wanted * (100 - percentage) // 100 - scanned, 0)


@jit
def scan_in_proportion(m: State) -> bool:
    """Stop scanning the kind of memory of which less is left, and the other where it is as far; False at the end."""
    counts, targets = m.scan_counts, CLASSIC_LISTS
    file = wide(counts[LRU_INACTIVE_FILE]) + wide(counts[LRU_ACTIVE_FILE])
    anon = wide(counts[LRU_INACTIVE]) + wide(counts[LRU_ACTIVE])
    if not file or not anon:
        return False
    stopped, other = (0, LRU_FILE) if file > anon else (LRU_FILE, 0)
    target = wide(counts[targets + stopped]) + wide(counts[targets + stopped + LRU_ACTIVE]) + 1
    percentage = min(file, anon) * 100 // target
    counts[stopped] = counts[stopped + LRU_ACTIVE] = 0
    leave_unscanned(m, other, percentage)
    leave_unscanned(m, other + LRU_ACTIVE, percentage)
    return True


@jit
def shrink_lists(m: State, memcg: int) -> None:
    """`shrink_lruvec` where there is file memory as well."""
    scan, counts = m.scan, m.scan_counts
    get_scan_count(m, memcg)
    blk_start_plug(m)
    to_the_end = scan.target == 0 and not scan.kswapd and scan.priority == DEF_PRIORITY
    reclaimed = 0
    while counts[LRU_INACTIVE] or counts[LRU_ACTIVE_FILE] or counts[LRU_INACTIVE_FILE]:
        for lru in range(CLASSIC_LISTS):
            reclaimed += shrink_list(m, memcg, lru)
        if reclaimed >= scan.nr_to_reclaim and not to_the_end and not scan_in_proportion(m):
            break
    blk_finish_plug(m)
    scan.nr_reclaimed += reclaimed
    if m.swap.nr_slots and inactive_is_low(m, memcg):
        shrink_active_list(m, memcg, LRU_ACTIVE, SWAP_CLUSTER_MAX)


# Either ---------------------------------------------------------------------------------------------------------------


@inline
def shrink_lruvec(m: State, memcg: int) -> None:
    """Reclaim from one cgroup's lists (mm/vmscan.c:shrink_lruvec)."""
    scan = m.scan
    if unlikely(m.mglru.enabled):
        lru_gen_shrink_lruvec(m, memcg)
        return
    if m.has.file_memory:
        shrink_lists(m, memcg)
        return
    inactive = scan_target(m, memcg, wide(m.memcgs[memcg].inactive))
    active = scan_target(m, memcg, wide(m.memcgs[memcg].active))
    blk_start_plug(m)
    to_the_end = scan.target == 0 and not scan.kswapd and scan.priority == DEF_PRIORITY
    reclaimed = 0
    while inactive:
        chunk = min(inactive, SWAP_CLUSTER_MAX)
        inactive -= chunk
        reclaimed += shrink_inactive_list(m, memcg, LRU_INACTIVE, chunk)
        if active:
            chunk = min(active, SWAP_CLUSTER_MAX)
            active -= chunk
            if scan.may_deactivate:
                shrink_active_list(m, memcg, LRU_ACTIVE, chunk)
            else:
                scan.skipped_deactivate = 1
        if reclaimed >= scan.nr_to_reclaim and not to_the_end:
            break
    blk_finish_plug(m)
    scan.nr_reclaimed += reclaimed
    if m.swap.nr_slots and inactive_is_low(m, memcg):
        shrink_active_list(m, memcg, LRU_ACTIVE, SWAP_CLUSTER_MAX)


# The tree -------------------------------------------------------------------------------------------------------------


@jit
def inactive_of_node(m: State) -> int:
    """Inactive folios of the machine, which need no flush (include/linux/vmstat.h:node_page_state)."""
    total = 0
    for each in range(wide(m.sizes.nr_memcgs)):
        total += wide(m.memcgs[each].inactive)
    return total


@jit
def files_of_node(m: State) -> int:
    """Folios of files of the machine."""
    total = 0
    for each in range(wide(m.sizes.nr_memcgs)):
        total += wide(m.memcgs[each].inactive_file) + wide(m.memcgs[each].active_file)
    return total


@jit
def prepare_scan_of_files(m: State) -> None:
    """`prepare_scan_control`, of what file memory has a part in."""
    memory, scan = m.memory, m.scan
    target = wide(scan.target)
    files = m.file_lrus[target]
    anon_cost, file_cost = wide(m.memcgs[target].anon_cost), wide(files.cost)
    anon_cost, file_cost = 2 * anon_cost + file_cost, anon_cost + 2 * file_cost
    scan.anon_share = wide(memory.swappiness) * (anon_cost + file_cost + 1) // (anon_cost + 1)
    scan.file_share = (MAX_SWAPPINESS - wide(memory.swappiness)) * (anon_cost + file_cost + 1) // (file_cost + 1)
    refaulting = files.flushed_activations != files.refaults
    few_inactive = is_low(wide(files.flushed_inactive), wide(files.flushed_active))
    scan.may_deactivate_file = scan.force_deactivate or refaulting or few_inactive
    many_inactive = wide(files.flushed_inactive) >> wide(scan.priority)
    scan.cache_trim_mode = many_inactive and not scan.may_deactivate_file and not scan.no_cache_trim_mode
    if scan.file_is_tiny and files_of_node(m) + memory.free > memory.watermark_high:
        scan.file_is_tiny = 0


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
    if m.has.file_memory:
        prepare_scan_of_files(m)


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
    elif m.has.file_memory and scan.cache_trim_mode:
        scan.cache_trim_mode_failed = 1


@jit
def snapshot_refaults(m: State, target: int) -> None:
    """Note how many pages that came back were activated up to now (mm/vmscan.c:snapshot_refaults)."""
    m.memcgs[target].refaults = m.memcgs[target].flushed_activations
    if m.has.file_memory:
        m.file_lrus[target].refaults = m.file_lrus[target].flushed_activations


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
    snapshot_refaults(m, wide(scan.target))


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
    if m.has.file_memory:
        scan.cache_trim_mode_failed = scan.no_cache_trim_mode = 0


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
            shrink_active_list(m, memcg, LRU_ACTIVE, SWAP_CLUSTER_MAX)


@jit
def balance_by_priority(m: State) -> None:
    """Scan more and more of the machine until enough is free (in mm/vmscan.c:balance_pgdat)."""
    memory, scan = m.memory, m.scan
    scan.priority = DEF_PRIORITY
    while scan.priority >= 1 and memory.free <= memory.watermark_high:
        before = wide(scan.nr_reclaimed)
        kswapd_age_node(m)
        scan.nr_scanned = 0
        shrink_node(m)
        progress = wide(scan.nr_reclaimed) - before
        if not progress or max(wide(scan.nr_scanned), progress) < scan.nr_to_reclaim:
            scan.priority -= 1


@jit
def balance_pgdat(m: State) -> None:
    """kswapd: reclaim until more than the high watermark is free (mm/vmscan.c:balance_pgdat)."""
    start_reclaim(m, 0, wide(m.memory.watermark_high), 1)
    balance_by_priority(m)
    scan = m.scan
    if m.has.file_memory and scan.priority < 1 and not scan.nr_reclaimed and scan.cache_trim_mode_failed:
        scan.no_cache_trim_mode = 1
        balance_by_priority(m)
    if scan.priority < 1 and not scan.nr_reclaimed:
        m.memory.kswapd_failures += 1
    snapshot_refaults(m, 0)
