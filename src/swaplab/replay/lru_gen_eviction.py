"""MGLRU's eviction, and the order in which global reclaim visits cgroups (mm/vmscan.c, 6.12 and 7.2).

For anonymous memory: with no file memory there is no choice of type to make. Of 6.12, tiers are left out: isolation
clears what they are told by unless a folio was read through a file descriptor, so that anonymous memory is all in the
first, and get_tier_idx() never protects another. What remains of them is `LRU_REFS`.
"""

from __future__ import annotations

from swaplab.linux.reclaim import DEF_PRIORITY
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import (
    fetch_later,
    folio_lru_gen,
    list_add,
    list_add_tail,
    list_del,
    lru_add,
    lru_del,
    lru_gen_folio_seq,
    lru_gen_from_seq,
    lru_head,
)
from swaplab.replay.lru_gen_aging import folio_inc_gen, nr_gens, refs_flags, try_to_inc_max_seq
from swaplab.replay.lru_gen_tiers import (
    count_protected,
    get_tier_idx,
    lru_refs_of,
    lru_tier_from_refs,
    reset_ctrl_pos,
)
from swaplab.replay.memcontrol import is_online, kswapd_try_clear_hopeless, payer, spend, swap_pages_left
from swaplab.replay.shrink_folio import shrink_folio_list
from swaplab.replay.state import (
    ISOLATED,
    LRU_REFS,
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MEMCG_NR_BINS,
    MEMCG_NR_GENS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_WORKINGSET,
    PG_WRITEBACK,
    PRESENT,
    State,
)
from swaplab.replay.swap import blk_finish_plug, blk_start_plug, complete_writes, lru_add_drain
from swaplab.replay.zswap import do_shrink_slab

__all__ = ["lru_gen_shrink_lruvec", "lru_gen_shrink_node"]

NOP, TAIL, YOUNG = 0, 2, 4  # MEMCG_LRU_NOP, MEMCG_LRU_TAIL, MEMCG_LRU_YOUNG


# The oldest generation ------------------------------------------------------------------------------------------------


@jit
def protect_by_tier(m: State, memcg: int, page: int, tier_idx: int) -> bool:
    """Move a folio of a tier that comes back too often on to the next generation (in mm/vmscan.c:sort_folio, 7.2)."""
    flags = wide(m.folios[page].bits)
    if lru_tier_from_refs(lru_refs_of(flags), flags & PG_WORKINGSET) <= tier_idx:
        return False
    gen = folio_inc_gen(m, page)
    list_del(m.folios, page)
    list_add(m.folios, lru_head(m, memcg, gen), page)
    count_protected(m, memcg, flags)
    return True


@jit
def sort_folio(m: State, memcg: int, page: int, tier_idx: int) -> bool:
    """Move on a folio that is not to be evicted now (mm/vmscan.c:sort_folio)."""
    gen = folio_lru_gen(m, page)
    if gen != lru_gen_from_seq(wide(m.lru_gens[memcg].min_seq)):
        list_del(m.folios, page)
        list_add(m.folios, lru_head(m, memcg, gen), page)
        return True
    if m.linux.gen_by_use:
        return protect_by_tier(m, memcg, page, tier_idx)
    if wide(m.folios[page].bits) & LRU_REFS:
        gen = folio_inc_gen(m, page)
        list_del(m.folios, page)
        list_add_tail(m.folios, lru_head(m, memcg, gen), page)
        return True
    return False


@jit
def isolate_folio(m: State, page: int) -> None:
    """Take a folio off its list; in 6.12, as if it had never been used (mm/vmscan.c:isolate_folio)."""
    lru_del(m, page)
    flags = wide(m.folios[page].bits)
    if not m.linux.gen_by_use:
        flags &= ~refs_flags(m)
    elif not flags & PG_REFERENCED:
        flags &= ~LRU_REFS
    m.folios[page].bits = flags
    m.folios[page].next = ISOLATED


@jit
def scan_folios(m: State, memcg: int, nr_to_scan: int) -> tuple[int, int]:
    """Isolate up to 64 of the oldest folios; how many were looked at, and taken (mm/vmscan.c:scan_folios)."""
    if nr_gens(m, memcg, 1) == MIN_NR_GENS:
        return 0, 0
    tier_idx = get_tier_idx(m, memcg) if m.linux.gen_by_use else 0
    head = lru_head(m, memcg, lru_gen_from_seq(wide(m.lru_gens[memcg].min_seq)))
    scanned = taken = 0
    while m.folios[head].prev != head and scanned < nr_to_scan and taken < MIN_LRU_BATCH:
        page = wide(m.folios[head].prev)
        fetch_later(m, page)
        scanned += 1
        if not sort_folio(m, memcg, page, tier_idx):
            isolate_folio(m, page)
            m.isolated[taken] = page
            taken += 1
    m.memcgs[memcg].pgscan += taken
    m.memcgs[memcg].pgrefill += scanned - taken
    m.memcgs[payer(m)].reclaim_ns += spend(m, scanned * wide(m.cost.reclaim_page_ns))
    if m.linux.gen_scan_stops:
        return scanned, taken
    return scanned if taken or scanned == MAX_LRU_BATCH else 0, taken


@jit
def try_to_inc_min_seq(m: State, memcg: int, can_swap: int) -> int:
    """Give up generations that are empty; 1 if there were any (mm/vmscan.c:try_to_inc_min_seq)."""
    lrugen = m.lru_gens[memcg]
    anon, file = wide(lrugen.min_seq), wide(lrugen.max_seq) - MIN_NR_GENS + 1
    if can_swap:
        while anon + MIN_NR_GENS <= lrugen.max_seq:
            head = lru_head(m, memcg, lru_gen_from_seq(anon))
            if m.folios[head].prev != head:
                break
            anon += 1
        file = max(anon, wide(lrugen.min_seq_file))
        if m.linux.gen_by_use and anon > lrugen.min_seq:
            reset_ctrl_pos(m, memcg)
    changed = anon != lrugen.min_seq or file != lrugen.min_seq_file
    lrugen.min_seq, lrugen.min_seq_file = anon, file
    return 1 if changed else 0


@jit
def is_worth_retrying(m: State, page: int) -> bool:
    """Whether nothing is left to keep an isolated folio, its write having ended (in mm/vmscan.c:evict_folios)."""
    busy = PG_ACTIVE | PG_DIRTY | PG_WRITEBACK | (0 if m.linux.gen_by_use else PG_REFERENCED)
    return not wide(m.folios[page].bits) & busy and not m.pte[page] & PRESENT


@jit
def put_back(m: State, page: int) -> None:
    """Return an isolated folio, to the youngest generation unless it is being written (evict_folios).

    In 7.2 to where it belongs, but for the oldest generation.
    """
    folio = m.folios[page]
    flags = wide(folio.bits)
    if m.linux.gen_by_use:
        is_kept_young = lru_gen_folio_seq(m, page, 0) == m.lru_gens[wide(folio.memcg)].min_seq
    else:
        is_kept_young = not (flags & PG_RECLAIM and flags & (PG_DIRTY | PG_WRITEBACK))
    if is_kept_young:
        folio.bits = flags & ~refs_flags(m) | PG_ACTIVE
    lru_add(m, page)


@jit
def put_back_all(m: State, kept: int, retry: int) -> int:
    """Return what is left of the isolated folios, but to `retry` keep some in front; how many."""
    again = 0
    for i in range(kept):
        page = wide(m.isolated[i])
        if retry and is_worth_retrying(m, page):
            m.isolated[again] = page
            again += 1
        else:
            put_back(m, page)
    return again


@jit
def isolate_folios(m: State, memcg: int, can_swap: int, nr_to_scan: int) -> tuple[int, int]:
    """`scan_folios`, and give up generations that this leaves empty (in mm/vmscan.c:evict_folios)."""
    scanned = taken = 0
    if m.linux.gen_scan_stops:
        try_to_inc_min_seq(m, memcg, can_swap)
        if can_swap:
            scanned, taken = scan_folios(m, memcg, nr_to_scan)
        if scanned:
            try_to_inc_min_seq(m, memcg, can_swap)
        return scanned, taken
    if can_swap:
        scanned, taken = scan_folios(m, memcg, MAX_LRU_BATCH)
    scanned += try_to_inc_min_seq(m, memcg, can_swap)
    return (0 if nr_gens(m, memcg, can_swap) == MIN_NR_GENS else scanned), taken


@jit
def evict_folios(m: State, memcg: int, can_swap: int, nr_to_scan: int) -> int:
    """Evict up to 64 folios; how many were looked at, 0 at the end (mm/vmscan.c:evict_folios)."""
    complete_writes(m)
    scanned, taken = isolate_folios(m, memcg, can_swap, nr_to_scan)
    if not taken:
        return scanned
    kept = shrink_folio_list(m, taken)
    reclaimed = taken - kept
    again = put_back_all(m, kept, 1)
    if again:
        kept = shrink_folio_list(m, again)
        reclaimed += again - kept
        put_back_all(m, kept, 0)
    m.memcgs[memcg].pgsteal += reclaimed
    m.scan.nr_reclaimed += reclaimed
    return scanned


# One cgroup -----------------------------------------------------------------------------------------------------------


@jit
def can_swap_of(m: State, memcg: int) -> int:
    """Whether anonymous memory may be evicted at all (mm/vmscan.c:get_swappiness)."""
    return 1 if m.memory.swappiness and swap_pages_left(m, memcg) >= MIN_LRU_BATCH else 0


@jit
def size_of(m: State, memcg: int) -> int:
    """Anonymous folios of the cgroup, of all generations."""
    return wide(m.memcgs[memcg].active) + wide(m.memcgs[memcg].inactive)


@jit
def should_run_aging(m: State, memcg: int, can_swap: int) -> bool:
    """Whether there are too few cold folios to evict from (mm/vmscan.c:should_run_aging)."""
    lrugen = m.lru_gens[memcg]
    max_seq = wide(lrugen.max_seq)
    min_seq = wide(lrugen.min_seq if can_swap else lrugen.min_seq_file)
    if m.linux.gen_scan_stops:
        return bool(min_seq + MIN_NR_GENS > max_seq - (m.scan.priority < DEF_PRIORITY))
    if min_seq + MIN_NR_GENS != max_seq:
        return min_seq + MIN_NR_GENS > max_seq
    if not can_swap:
        return False
    total = size_of(m, memcg)
    young = wide(m.gen_pages[memcg * MAX_NR_GENS + lru_gen_from_seq(max_seq)])
    old = wide(m.gen_pages[memcg * MAX_NR_GENS + lru_gen_from_seq(min_seq)])
    return young * MIN_NR_GENS > total or old * (MIN_NR_GENS + 2) < total


@jit
def get_nr_to_scan(m: State, memcg: int, can_swap: int) -> int:
    """How many folios to scan at this priority, -1 after aging instead (mm/vmscan.c:get_nr_to_scan)."""
    lrugen = m.lru_gens[memcg]
    none_cold = wide(lrugen.min_seq if can_swap else lrugen.min_seq_file) + MIN_NR_GENS > lrugen.max_seq
    total = size_of(m, memcg) if can_swap and not none_cold else 0
    needs_aging = should_run_aging(m, memcg, can_swap)
    if total and not is_online(m, memcg):
        return total
    if not needs_aging or m.scan.priority == DEF_PRIORITY:
        return total >> wide(m.scan.priority)
    try_to_inc_max_seq(m, memcg, can_swap)
    return -1


@jit
def should_abort_scan(m: State) -> bool:
    """Whether reclaim has enough, in 6.12 that for the machine's sake (mm/vmscan.c:should_abort_scan)."""
    scan = m.scan
    if scan.target > 0 and not m.linux.gen_scan_stops:
        return False
    if scan.nr_reclaimed >= scan.nr_to_reclaim:
        return True
    return bool(scan.kswapd) and m.memory.free > m.memory.watermark_high + MIN_LRU_BATCH


@jit
def shrink_share(m: State, memcg: int, can_swap: int) -> bool:
    """Evict a share of one cgroup's folios; whether it was aged (mm/vmscan.c:try_to_shrink_lruvec, 7.2)."""
    aged = False
    evictable = size_of(m, memcg) if can_swap else 0
    nr_to_scan = evictable >> wide(m.scan.priority) if is_online(m, memcg) else evictable
    while nr_to_scan > 0:
        if should_run_aging(m, memcg, can_swap):
            try_to_inc_max_seq(m, memcg, can_swap)
            aged = True
        scanned = evict_folios(m, memcg, can_swap, min(nr_to_scan, MIN_LRU_BATCH))
        if not scanned or should_abort_scan(m) or (aged and not m.scan.target):
            break
        nr_to_scan -= scanned
    return aged


@jit
def try_to_shrink_lruvec(m: State, memcg: int) -> bool:
    """Evict from one cgroup; whether it was aged, in 6.12 instead in the end (mm/vmscan.c:try_to_shrink_lruvec)."""
    can_swap = can_swap_of(m, memcg)
    if m.linux.gen_scan_stops:
        return shrink_share(m, memcg, can_swap)
    scanned = 0
    while True:
        nr_to_scan = get_nr_to_scan(m, memcg, can_swap)
        if nr_to_scan <= 0:
            return nr_to_scan < 0
        delta = evict_folios(m, memcg, can_swap, MAX_LRU_BATCH)
        scanned += delta
        if not delta or scanned >= nr_to_scan or should_abort_scan(m):
            return False


@jit
def lru_gen_shrink_lruvec(m: State, memcg: int) -> None:
    """Evict from one cgroup for a limit's sake (mm/vmscan.c:lru_gen_shrink_lruvec)."""
    lru_add_drain(m)
    blk_start_plug(m)
    m.mglru.mm_walk = m.scan.proactive
    if try_to_shrink_lruvec(m, memcg):
        lru_gen_rotate_memcg(m, memcg, YOUNG)
    m.mglru.mm_walk = 0
    blk_finish_plug(m)


# All cgroups ----------------------------------------------------------------------------------------------------------


@jit
def get_random_bin(m: State) -> int:
    """One of eight lists. Differs: the same ones for the same seed."""
    m.mglru.random = (wide(m.mglru.random) * 1103515245 + 12345) % (1 << 31)
    return wide(m.mglru.random) >> 16 & MEMCG_NR_BINS - 1


@jit
def memcg_head(m: State, gen: int, bin_: int) -> int:
    """Record that heads a list of cgroups."""
    return wide(m.sizes.nr_memcgs) + gen * MEMCG_NR_BINS + bin_


@jit
def is_gen_empty(m: State, gen: int) -> bool:
    """Whether a generation of cgroups has none."""
    for bin_ in range(MEMCG_NR_BINS):
        head = memcg_head(m, gen, bin_)
        if m.lru_gens[head].next != head:
            return False
    return True


@jit
def lru_gen_rotate_memcg(m: State, memcg: int, operation: int) -> None:
    """Move a cgroup to a random list of its own or of the young generation (mm/vmscan.c:lru_gen_rotate_memcg)."""
    lrugen = m.lru_gens[memcg]
    old = wide(lrugen.gen)
    seq = wide(m.mglru.memcg_seq)
    lrugen.seg = TAIL if operation == TAIL else NOP
    if operation == YOUNG:
        lrugen.gen = (seq + 1) % MEMCG_NR_GENS
    list_del(m.lru_gens, memcg)
    list_add_tail(m.lru_gens, memcg_head(m, wide(lrugen.gen), get_random_bin(m)), memcg)
    if old == seq % MEMCG_NR_GENS and is_gen_empty(m, old):
        m.mglru.memcg_seq += 1


@jit
def shrink_one(m: State, memcg: int) -> int:
    """Evict from one cgroup for the machine's sake; where to move it then (mm/vmscan.c:shrink_one)."""
    aged = try_to_shrink_lruvec(m, memcg)
    do_shrink_slab(m, memcg, wide(m.scan.priority))
    online = is_online(m, memcg)
    if aged and online:
        return YOUNG
    size = size_of(m, memcg) if can_swap_of(m, memcg) else 0
    if not aged and size >> (wide(m.scan.priority) if online else 0):
        return NOP
    return TAIL if m.lru_gens[memcg].seg != TAIL else YOUNG


@jit
def shrink_bin(m: State, head: int) -> bool:
    """Evict from the cgroups of one list; whether that was enough."""
    memcg, operation = wide(m.lru_gens[head].next), NOP
    last = -1
    while memcg != head:
        if operation:
            lru_gen_rotate_memcg(m, last, operation)
        operation, last = shrink_one(m, memcg), memcg
        if should_abort_scan(m):
            break
        memcg = wide(m.lru_gens[memcg].next)
    enough = memcg != head
    if operation:
        lru_gen_rotate_memcg(m, last, operation)
    return enough


@jit
def shrink_many(m: State) -> None:
    """Visit the lists of the old generation of cgroups, from a random one on (mm/vmscan.c:shrink_many)."""
    gen = wide(m.mglru.memcg_seq) % MEMCG_NR_GENS
    first = get_random_bin(m)
    for i in range(MEMCG_NR_BINS):
        if shrink_bin(m, memcg_head(m, gen, (first + i) % MEMCG_NR_BINS)):
            return


@jit
def bit_length(number: int) -> int:
    """Position of the highest bit set, from 1 (fls_long)."""
    bits = 0
    while number:
        number >>= 1
        bits += 1
    return bits


@jit
def set_initial_priority(m: State) -> None:
    """Begin where kswapd is likely to find enough (mm/vmscan.c:set_initial_priority)."""
    scan = m.scan
    if scan.priority != DEF_PRIORITY or scan.nr_to_reclaim < MIN_LRU_BATCH:
        return
    reclaimable = 0
    if swap_pages_left(m, 0) > 0:
        for memcg in range(wide(m.sizes.nr_memcgs)):
            reclaimable += wide(m.memcgs[memcg].inactive)
    priority = bit_length(reclaimable) - 1 - bit_length(wide(scan.nr_to_reclaim) - 1)
    scan.priority = min(max(priority, DEF_PRIORITY // 2), DEF_PRIORITY)


@jit
def lru_gen_shrink_node(m: State) -> None:
    """One pass over all cgroups (mm/vmscan.c:lru_gen_shrink_node)."""
    scan = m.scan
    before = wide(scan.nr_reclaimed)
    lru_add_drain(m)
    blk_start_plug(m)
    m.mglru.mm_walk = scan.kswapd or scan.proactive
    set_initial_priority(m)
    if scan.kswapd:
        scan.nr_reclaimed = 0
    shrink_many(m)
    if scan.kswapd:
        scan.nr_reclaimed += before
    m.mglru.mm_walk = 0
    blk_finish_plug(m)
    if scan.nr_reclaimed > before:
        kswapd_try_clear_hopeless(m)
