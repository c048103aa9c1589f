"""Doubly linked lists over record arrays, and which one a folio is on (include/linux/list.h, mm_inline.h, 6.12).

A head is a record like any other.
"""

from __future__ import annotations

from swaplab.replay.hints import prefetch, unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.state import (
    FILE,
    LATER,
    LISTS_PER_MEMCG,
    LRU_ACTIVE,
    LRU_FILE,
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_INACTIVE,
    LRU_REFS,
    MAX_NR_GENS,
    MIN_NR_GENS,
    PAGEVEC_SIZE,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_WORKINGSET,
    PG_WRITEBACK,
    RESIDENT,
    STATE_MASK,
    Records,
    State,
)

__all__ = [
    "drain_activations",
    "fetch_later",
    "folio_activate",
    "folio_add_file",
    "folio_add_lru",
    "folio_is_file_lru",
    "folio_lru_gen",
    "folio_lru_list",
    "is_in_batch",
    "list_add",
    "list_add_tail",
    "list_del",
    "lru_account",
    "lru_add",
    "lru_add_batched",
    "lru_add_tail",
    "lru_del",
    "lru_gen_folio_seq",
    "lru_gen_from_seq",
    "lru_gen_is_active",
    "lru_gen_update_size",
    "lru_head",
    "next_batch",
    "note_later",
]


@jit
def list_insert(records: Records, before: int, item: int, after: int) -> None:
    """Link `item` between two neighbours."""
    record = records[item]
    record.prev = before
    record.next = after
    records[before].next = item
    records[after].prev = item


@jit
def list_add(records: Records, head: int, item: int) -> None:
    """Link `item` in right behind `head`."""
    list_insert(records, head, item, wide(records[head].next))


@jit
def list_add_tail(records: Records, head: int, item: int) -> None:
    """Link `item` in right before `head`: at the list's tail."""
    list_insert(records, wide(records[head].prev), item, head)


@jit
def list_del(records: Records, item: int) -> None:
    """Unlink `item` from the list that it is on."""
    before, after = wide(records[item].prev), wide(records[item].next)
    records[before].next = after
    records[after].prev = before


@jit
def lru_head(m: State, memcg: int, lru: int) -> int:
    """Record that heads list `lru` (LRU_INACTIVE, LRU_ACTIVE or LRU_ZSWAP, or a generation) of `memcg`."""
    return wide(m.sizes.nr_folios) + memcg * LISTS_PER_MEMCG + lru


@jit
def folio_is_file_lru(m: State, page: int) -> bool:
    """Whether a folio is a file's (include/linux/mm_inline.h:folio_is_file_lru)."""
    return wide(m.folios[page].kind) == FILE


@jit
def folio_lru_list(m: State, page: int) -> int:
    """Which of the classic lists a folio belongs on (include/linux/mm_inline.h:folio_lru_list)."""
    lru = LRU_ACTIVE if wide(m.folios[page].bits) & PG_ACTIVE else LRU_INACTIVE
    if m.has.file_memory and folio_is_file_lru(m, page):
        lru += LRU_FILE
    return lru


@jit
def lru_account(m: State, memcg: int, lru: int, count: int) -> None:
    """Add `count` folios to those that count as active or as inactive."""
    if m.has.file_memory and lru >= LRU_FILE:
        if lru == LRU_FILE + LRU_ACTIVE:
            m.memcgs[memcg].active_file += count
        else:
            m.memcgs[memcg].inactive_file += count
    elif lru:
        m.memcgs[memcg].active += count
    else:
        m.memcgs[memcg].inactive += count


@jit
def note_later(m: State, head: int, page: int) -> None:
    """Tell the folio that was put on a list `LATER` folios ago which one is now: a scan of it wants that soon.

    A list that is followed ahead of the scan waits for memory at every step. Nothing but a prefetch depends on it.
    """
    lru = head - wide(m.sizes.nr_folios)
    turn = wide(m.turns[lru])
    at = lru * LATER + turn
    earlier = m.folios[wide(m.added[at])]
    if wide(earlier.bits) & STATE_MASK == RESIDENT:
        earlier.later = page
    m.added[at] = page
    m.turns[lru] = turn + 1 & LATER - 1


@jit
def fetch_later(m: State, page: int) -> None:
    """Fetch a folio that is to be isolated a little later, and what a scan of this one needs."""
    prefetch(m.folios, wide(m.folios[page].later))
    prefetch(m.pte, page)


# Generations ----------------------------------------------------------------------------------------------------------


@jit
def lru_gen_from_seq(seq: int) -> int:
    """Which list a generation has (include/linux/mm_inline.h:lru_gen_from_seq)."""
    return seq % MAX_NR_GENS


@jit
def folio_lru_gen(m: State, page: int) -> int:
    """List that the folio is on, -1 for none (include/linux/mm_inline.h:folio_lru_gen)."""
    return ((wide(m.folios[page].bits) & LRU_GEN_MASK) >> LRU_GEN_SHIFT) - 1


@jit
def lru_gen_is_active(m: State, memcg: int, gen: int) -> bool:
    """Whether it is one of the two youngest generations (include/linux/mm_inline.h:lru_gen_is_active)."""
    max_seq = wide(m.lru_gens[memcg].max_seq)
    return gen in (lru_gen_from_seq(max_seq), lru_gen_from_seq(max_seq - 1))


@jit
def lru_gen_update_size(m: State, memcg: int, old: int, new: int) -> None:
    """Count a folio that went from one list to another; -1 is none (mm_inline.h:lru_gen_update_size)."""
    if old >= 0:
        m.gen_pages[memcg * MAX_NR_GENS + old] -= 1
        lru_account(m, memcg, lru_gen_is_active(m, memcg, old), -1)
    if new >= 0:
        m.gen_pages[memcg * MAX_NR_GENS + new] += 1
        lru_account(m, memcg, lru_gen_is_active(m, memcg, new), 1)


@jit
def is_new_or_written(flags: int) -> bool:
    """Whether a folio with such flags has no slot yet, or is reclaimed and being written."""
    return not flags & PG_SWAPCACHE or (flags & PG_RECLAIM and flags & (PG_DIRTY | PG_WRITEBACK)) != 0


@jit
def lru_gen_folio_seq(m: State, page: int, reclaiming: int) -> int:
    """Generation that a folio is added to, by its uses (include/linux/mm_inline.h:lru_gen_folio_seq, 7.2)."""
    flags = wide(m.folios[page].bits)
    lrugen = m.lru_gens[wide(m.folios[page].memcg)]
    if flags & PG_ACTIVE:
        age = 0 if flags & PG_WORKINGSET else 1
    elif not reclaiming and is_new_or_written(flags):
        age = 1
    else:
        age = 2 if not reclaiming and flags & (PG_WORKINGSET | PG_REFERENCED) else 3
    return max(wide(lrugen.max_seq) - age, wide(lrugen.min_seq))


@jit
def seq_of_folio(m: State, page: int, reclaiming: int) -> int:
    """Generation that a folio is added to (include/linux/mm_inline.h:lru_gen_add_folio)."""
    if m.linux.gen_by_use:
        return lru_gen_folio_seq(m, page, reclaiming)
    flags = wide(m.folios[page].bits)
    lrugen = m.lru_gens[wide(m.folios[page].memcg)]
    max_seq, min_seq = wide(lrugen.max_seq), wide(lrugen.min_seq)
    if flags & PG_ACTIVE:
        return max_seq
    if is_new_or_written(flags):
        return max_seq - 1
    return min_seq if reclaiming or min_seq + MIN_NR_GENS >= max_seq else min_seq + 1


@jit
def lru_gen_add_folio(m: State, page: int, reclaiming: int) -> None:
    """Put a folio on the list of a generation, at its old end if `reclaiming` (mm_inline.h:lru_gen_add_folio)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    gen = lru_gen_from_seq(seq_of_folio(m, page, reclaiming))
    cleared = LRU_GEN_MASK
    if wide(folio.bits) & PG_ACTIVE:
        cleared |= PG_ACTIVE if m.linux.gen_by_use else PG_ACTIVE | PG_REFERENCED | LRU_REFS
    folio.bits = wide(folio.bits) & ~cleared | gen + 1 << LRU_GEN_SHIFT
    lru_gen_update_size(m, memcg, -1, gen)
    head = lru_head(m, memcg, gen)
    if reclaiming:
        list_add_tail(m.folios, head, page)
    else:
        list_add(m.folios, head, page)
        note_later(m, head, page)


@jit
def lru_gen_del_folio(m: State, page: int) -> None:
    """Take a folio off its list (include/linux/mm_inline.h:lru_gen_del_folio)."""
    folio = m.folios[page]
    lru_gen_update_size(m, wide(folio.memcg), folio_lru_gen(m, page), -1)
    folio.bits = wide(folio.bits) & ~LRU_GEN_MASK
    list_del(m.folios, page)


# Either kind ----------------------------------------------------------------------------------------------------------


@inline
def lru_add(m: State, page: int) -> None:
    """Put a folio at the young end of the list that its flags say (mm_inline.h:lruvec_add_folio)."""
    if unlikely(m.mglru.enabled):
        lru_gen_add_folio(m, page, 0)
        return
    lru = folio_lru_list(m, page)
    memcg = wide(m.folios[page].memcg)
    head = lru_head(m, memcg, lru)
    list_add(m.folios, head, page)
    note_later(m, head, page)
    lru_account(m, memcg, lru, 1)


@jit
def next_batch(m: State) -> None:
    """Begin a batch of new folios; those of the last are on their lists (mm/swap.c:folio_batch_move_lru)."""
    m.memory.lru_batch += 1
    m.memory.lru_batch_nr = 0
    if m.has.file_memory:
        for i in range(wide(m.memory.files_added)):
            lru_add(m, wide(m.batch_added[i]))
        m.memory.files_added = 0


@inline
def lru_add_batched(m: State, page: int) -> None:
    """Put a new folio on its list (mm/swap.c:folio_batch_add_and_move).

    Differs: at once; but until its batch is full or drained, `end_writeback` takes it for one that is on no list yet.
    """
    lru_add(m, page)
    m.memory.lru_batch_nr += 1
    if unlikely(m.memory.lru_batch_nr == PAGEVEC_SIZE):
        next_batch(m)


# Batches of files -----------------------------------------------------------------------------------------------------


@jit
def folio_add_file(m: State, page: int) -> None:
    """Have a new folio of a file wait in the batch of new ones (mm/swap.c:folio_add_lru)."""
    memory = m.memory
    m.batch_added[wide(memory.files_added)] = page
    memory.files_added += 1
    memory.lru_batch_nr += 1
    if memory.lru_batch_nr == PAGEVEC_SIZE:
        next_batch(m)


@jit
def is_in_batch(m: State, page: int) -> bool:
    """Whether a folio of a file is new, and on no list yet (in mm/swap.c:__lru_cache_activate_folio)."""
    found = 0
    for i in range(wide(m.memory.files_added)):
        found += m.batch_added[i] == page
    return found > 0


@jit
def drain_activations(m: State) -> None:
    """Move those folios to the active list that were used again (mm/swap.c:lru_activate)."""
    for i in range(wide(m.memory.files_activated)):
        page = wide(m.batch_activated[i])
        if not wide(m.folios[page].bits) & PG_ACTIVE:
            lru_del(m, page)
            m.folios[page].bits |= PG_ACTIVE
            lru_add(m, page)
            m.memcgs[wide(m.folios[page].memcg)].pgactivate += 1
    m.memory.files_activated = 0


@jit
def folio_activate(m: State, page: int) -> None:
    """Have a folio of a file wait to be moved to the active list (mm/swap.c:folio_activate)."""
    m.batch_activated[wide(m.memory.files_activated)] = page
    m.memory.files_activated += 1
    if m.memory.files_activated == PAGEVEC_SIZE:
        drain_activations(m)


@jit
def note_first_use(m: State, page: int) -> None:
    """Have MGLRU know that a fault made a folio (in mm/swap.c:folio_add_lru)."""
    folio = m.folios[page]
    if not m.linux.gen_by_use or wide(folio.bits) & PG_WORKINGSET:
        folio.bits |= PG_ACTIVE
    elif not wide(folio.bits) & PG_REFERENCED:
        folio.bits = wide(folio.bits) & ~LRU_REFS | PG_REFERENCED


@inline
def folio_add_lru(m: State, page: int) -> None:
    """Put the folio that a fault made on its first list (mm/swap.c:folio_add_lru)."""
    if unlikely(m.mglru.enabled):
        note_first_use(m, page)
    lru_add_batched(m, page)


@jit
def lru_add_tail(m: State, page: int) -> None:
    """Put an inactive folio where reclaim looks next (include/linux/mm_inline.h:lruvec_add_folio_tail)."""
    if unlikely(m.mglru.enabled):
        lru_gen_add_folio(m, page, 1)
        return
    memcg = wide(m.folios[page].memcg)
    list_add_tail(m.folios, lru_head(m, memcg, LRU_INACTIVE), page)
    lru_account(m, memcg, 0, 1)


@jit
def lru_del(m: State, page: int) -> None:
    """Take a folio off its list (include/linux/mm_inline.h:lruvec_del_folio)."""
    if unlikely(m.mglru.enabled):
        lru_gen_del_folio(m, page)
        return
    list_del(m.folios, page)
    lru_account(m, wide(m.folios[page].memcg), folio_lru_list(m, page), -1)
