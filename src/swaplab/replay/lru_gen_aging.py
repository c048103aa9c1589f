"""MGLRU's aging: page tables are walked, and what was used moves to a new generation (mm/vmscan.c, 6.12 and 7.2).

Differs: a page table counts as used while an entry in it is, where the kernel clears the table's own accessed bit even
if it then does not look inside; a task is walked whether or not it ran since the last time; Bloom filters have no false
positives; folios change lists at once, not in batches of 31.
"""

from __future__ import annotations

from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import (
    folio_lru_gen,
    list_add_tail,
    list_del,
    lru_account,
    lru_add,
    lru_del,
    lru_gen_from_seq,
    lru_gen_update_size,
    lru_head,
)
from swaplab.replay.lru_gen_tiers import count_protected, lru_gen_set_refs, reset_ctrl_pos
from swaplab.replay.memcontrol import task_of
from swaplab.replay.rmap import folio_of
from swaplab.replay.state import (
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_REFS,
    MAX_NR_GENS,
    MIN_LRU_BATCH,
    PG_ACTIVE,
    PG_REFERENCED,
    PG_WORKINGSET,
    PTRS_PER_TABLE,
    YOUNG,
    State,
)

__all__ = ["folio_inc_gen", "inc_max_seq", "lru_gen_look_around", "nr_gens", "refs_flags", "try_to_inc_max_seq"]

PTES_PER_CACHE_LINE = 8


@jit
def nr_gens(m: State, memcg: int, anon: int) -> int:
    """Generations of anonymous, or of file memory (mm/vmscan.c:get_nr_gens)."""
    lrugen = m.lru_gens[memcg]
    return wide(lrugen.max_seq) - wide(lrugen.min_seq if anon else lrugen.min_seq_file) + 1


@jit
def suitable_to_scan(total: int, young: int) -> bool:
    """Whether a page table is worth another look: one entry used in each cache line (suitable_to_scan)."""
    return young * PTES_PER_CACHE_LINE >= total


@jit
def update_bloom_filter(m: State, memcg: int, seq: int, table: int) -> None:
    """Note a page table for the walk that makes generation `seq` + 1 (mm/vmscan.c:update_bloom_filter)."""
    m.filters[table] |= wide(m.lru_gens[memcg].filters) & 1 << seq % 2


@jit
def refs_flags(m: State) -> int:
    """Flags that count a folio's uses (LRU_REFS_FLAGS); in 6.12 `PG_WORKINGSET` is one of them."""
    return PG_REFERENCED | LRU_REFS if m.linux.gen_by_use else PG_REFERENCED | PG_WORKINGSET | LRU_REFS


# Promotion ------------------------------------------------------------------------------------------------------------


@jit
def folio_update_gen(m: State, page: int, gen: int) -> None:
    """Mark a folio as of the youngest generation, without moving it (mm/vmscan.c:folio_update_gen).

    In 7.2 when it is found used for the second time.
    """
    folio = m.folios[page]
    flags = wide(folio.bits)
    old = folio_lru_gen(m, page)
    if m.linux.gen_by_use:
        if not flags & (PG_REFERENCED | PG_WORKINGSET):
            folio.bits = flags & ~LRU_REFS | PG_REFERENCED
            return
        if old < 0:
            return
        flags |= PG_WORKINGSET
    elif old < 0:
        folio.bits = flags | PG_REFERENCED
        return
    folio.bits = flags & ~(LRU_GEN_MASK | refs_flags(m)) | gen + 1 << LRU_GEN_SHIFT
    lru_gen_update_size(m, wide(folio.memcg), old, gen)


@jit
def folio_inc_gen(m: State, page: int) -> int:
    """Move an oldest folio on by a generation, unless it was promoted; its list (mm/vmscan.c:folio_inc_gen)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    old = lru_gen_from_seq(wide(m.lru_gens[memcg].min_seq))
    gen = folio_lru_gen(m, page)
    if gen != old:
        return gen
    gen = lru_gen_from_seq(old + 1)
    folio.bits = wide(folio.bits) & ~(LRU_GEN_MASK | refs_flags(m)) | gen + 1 << LRU_GEN_SHIFT
    lru_gen_update_size(m, memcg, old, gen)
    return gen


@jit
def folio_activate(m: State, page: int) -> None:
    """Move a folio to the youngest generation's list (mm/swap.c:lru_activate)."""
    lru_del(m, page)
    cleared = 0 if m.linux.gen_by_use else refs_flags(m)
    m.folios[page].bits = wide(m.folios[page].bits) & ~cleared | PG_ACTIVE
    lru_add(m, page)
    m.memcgs[wide(m.folios[page].memcg)].pgactivate += 1


# Walks ----------------------------------------------------------------------------------------------------------------


@jit
def is_table_used(m: State, page: int, end: int) -> bool:
    """Whether an entry from `page` to `end` is present and was used."""
    while page < end:
        if wide(m.pte[page]) & YOUNG:
            return True
        page += 1
    return False


@jit
def get_pfn_folio(m: State, page: int, memcg: int) -> int:
    """Folio of a page that may be promoted; -1 if it is another cgroup's or, in 7.2, isolated (mm/vmscan.c)."""
    folio = folio_of(m, page)
    is_on_list = not m.linux.gen_by_use or folio_lru_gen(m, folio) >= 0
    return folio if is_on_list and m.folios[folio].memcg == memcg else -1


@jit
def walk_pte_range(m: State, memcg: int, page: int, end: int) -> bool:
    """Promote what was used from `page` to `end`; whether that is dense (mm/vmscan.c:walk_pte_range)."""
    total, young = end - page, 0
    gen = lru_gen_from_seq(wide(m.lru_gens[memcg].max_seq))
    while page < end:
        if wide(m.pte[page]) & YOUNG:
            folio = get_pfn_folio(m, page, memcg)
            if folio >= 0:
                m.pte[page] = wide(m.pte[page]) & ~YOUNG
                young += 1
                folio_update_gen(m, folio, gen)
        page += 1
    return suitable_to_scan(total, young)


@jit
def walk_mm(m: State, memcg: int, task: int, force_scan: int) -> None:
    """Walk those page tables of a task that its cgroup's Bloom filter names, or all (mm/vmscan.c:walk_mm)."""
    seq = wide(m.lru_gens[memcg].max_seq)
    filters = wide(m.lru_gens[memcg].filters)
    table = wide(m.first_table[task])
    last = wide(m.task_first[task + 1])
    for page in range(wide(m.task_first[task]), last, PTRS_PER_TABLE):
        end = min(page + PTRS_PER_TABLE, last)
        bit = 1 << seq % 2
        if force_scan or ((not filters & bit or m.filters[table] & bit) and is_table_used(m, page, end)):
            is_dense = walk_pte_range(m, memcg, page, end)
            if is_dense:
                update_bloom_filter(m, memcg, seq + 1, table)
        table += 1


@jit
def reset_bloom_filter(m: State, memcg: int, seq: int) -> None:
    """Forget what was noted for the walk before the last (mm/vmscan.c:reset_bloom_filter)."""
    for task in range(wide(m.sizes.nr_tasks)):
        if m.task_memcg[task] == memcg:
            for table in range(wide(m.first_table[task]), wide(m.first_table[task + 1])):
                m.filters[table] = wide(m.filters[table]) & ~(1 << seq % 2)
    m.lru_gens[memcg].filters |= 1 << seq % 2


@jit
def walk_mm_list(m: State, memcg: int) -> None:
    """Walk the tasks of a cgroup, fully from the first that is new on (mm/vmscan.c:iterate_mm_list)."""
    reset_bloom_filter(m, memcg, wide(m.lru_gens[memcg].max_seq) + 1)
    force_scan = 0
    for task in range(wide(m.sizes.nr_tasks)):
        if m.task_memcg[task] == memcg:
            force_scan |= wide(m.mm_is_new[task])
            m.mm_is_new[task] = 0
            walk_mm(m, memcg, task, force_scan)


@jit
def inc_min_seq(m: State, memcg: int, can_swap: int) -> None:
    """Give up the oldest of four generations, whose folios join the next (mm/vmscan.c:inc_min_seq)."""
    head = lru_head(m, memcg, lru_gen_from_seq(wide(m.lru_gens[memcg].min_seq)))
    while can_swap and m.folios[head].prev != head:
        page = wide(m.folios[head].prev)
        if m.linux.gen_by_use:
            count_protected(m, memcg, wide(m.folios[page].bits))
        gen = folio_inc_gen(m, page)
        list_del(m.folios, page)
        list_add_tail(m.folios, lru_head(m, memcg, gen), page)
    if m.linux.gen_by_use:
        reset_ctrl_pos(m, memcg)
    m.lru_gens[memcg].min_seq += 1


@jit
def inc_max_seq(m: State, memcg: int, can_swap: int) -> None:
    """Begin a generation; what is now the third counts as inactive (mm/vmscan.c:inc_max_seq)."""
    lrugen = m.lru_gens[memcg]
    if nr_gens(m, memcg, 0) == MAX_NR_GENS:
        lrugen.min_seq_file += 1
    if nr_gens(m, memcg, 1) == MAX_NR_GENS:
        inc_min_seq(m, memcg, can_swap)
    max_seq = wide(lrugen.max_seq)
    first = memcg * MAX_NR_GENS
    ageing = wide(m.gen_pages[first + lru_gen_from_seq(max_seq - 1)])
    reused = wide(m.gen_pages[first + lru_gen_from_seq(max_seq + 1)])
    lru_account(m, memcg, 0, ageing - reused)
    lru_account(m, memcg, 1, reused - ageing)
    lrugen.max_seq += 1


@jit
def try_to_inc_max_seq(m: State, memcg: int, can_swap: int) -> None:
    """Age a cgroup: walk its tasks and begin a generation (mm/vmscan.c:try_to_inc_max_seq)."""
    m.mglru.mm_walk = 1
    walk_mm_list(m, memcg)
    inc_max_seq(m, memcg, can_swap)


# Feedback from eviction -----------------------------------------------------------------------------------------------


@jit
def window_around(page: int, start: int, end: int) -> tuple[int, int]:
    """The 64 pages of a page table around one of them (in mm/vmscan.c:lru_gen_look_around)."""
    if end - start <= MIN_LRU_BATCH:
        return start, end
    if page - start < MIN_LRU_BATCH // 2:
        return start, start + MIN_LRU_BATCH
    if end - page < MIN_LRU_BATCH // 2:
        return end - MIN_LRU_BATCH, end
    return page - MIN_LRU_BATCH // 2, page + MIN_LRU_BATCH // 2


@jit
def promote_neighbour(m: State, page: int, gen: int) -> None:
    """Promote what was used beside a folio that eviction found used."""
    old = folio_lru_gen(m, page)
    if m.mglru.mm_walk or old < 0:
        folio_update_gen(m, page, gen)
    elif (not m.linux.gen_by_use or lru_gen_set_refs(m, page)) and old != gen:
        folio_activate(m, page)


@jit
def lru_gen_look_around(m: State, page: int) -> None:
    """Promote what else was used near a used page, and note the table if it is dense (lru_gen_look_around)."""
    memcg = wide(m.folios[folio_of(m, page)].memcg)
    task = task_of(m, page)
    first = wide(m.task_first[task])
    table = (page - first) // PTRS_PER_TABLE
    base = first + table * PTRS_PER_TABLE
    start, end = window_around(page, base, min(base + PTRS_PER_TABLE, wide(m.task_first[task + 1])))
    if end - start == 1:
        return
    gen = lru_gen_from_seq(wide(m.lru_gens[memcg].max_seq))
    young = 1
    for each in range(start, end):
        if wide(m.pte[each]) & YOUNG:
            folio = get_pfn_folio(m, each, memcg)
            if folio >= 0:
                m.pte[each] = wide(m.pte[each]) & ~YOUNG
                young += 1
                promote_neighbour(m, folio, gen)
    if suitable_to_scan(end - start, young):
        update_bloom_filter(m, memcg, wide(m.lru_gens[memcg].max_seq), wide(m.first_table[task]) + table)
