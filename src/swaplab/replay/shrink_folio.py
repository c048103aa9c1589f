"""Reclaim of one folio (mm/vmscan.c: shrink_folio_list and its callees, 6.12)."""

from __future__ import annotations

from swaplab.replay.content import compressed_length
from swaplab.replay.free_folio import free_folios, remove_mapping
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lru_gen_aging import lru_gen_look_around
from swaplab.replay.lru_gen_tiers import lru_gen_set_refs
from swaplab.replay.memcontrol import swap_full, writeback_enabled
from swaplab.replay.rmap import referenced_by, unmap_all
from swaplab.replay.state import (
    COMPRESSED,
    ENTRY_REFERENCED,
    FOLIO_FLAGS,
    MANY,
    ON_DISK,
    PAGEVEC_SIZE,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTE_DIRTY,
    STATE_MASK,
    YOUNG,
    ZERO_FILLED,
    ZEROMAP,
    State,
)
from swaplab.replay.swap import device_write
from swaplab.replay.swapfile import add_to_swap, folio_free_swap
from swaplab.replay.workingset import workingset_eviction
from swaplab.replay.zswap import zram_store, zswap_store

__all__ = ["shrink_file_list", "shrink_folio_list"]

KEEP, ACTIVATE, FREED = 0, 1, 2
REDIRTIED, WRITING = -1, -2


@inline
def swap_writepage(m: State, page: int) -> int:
    """Write a dirty folio to swap: where it is now, WRITING or REDIRTIED (mm/page_io.c:swap_writepage)."""
    folio = m.folios[page]
    memcg = m.memcgs[wide(folio.memcg)]
    length = compressed_length(m, page)
    if unlikely(length == 0):
        folio.bits |= ZEROMAP
        memcg.swpout_zero += 1
        return ZERO_FILLED
    folio.bits = wide(folio.bits) & ~ZEROMAP
    if unlikely(m.swap.zram):
        return COMPRESSED if zram_store(m, page, length) else REDIRTIED
    if zswap_store(m, page, length):
        return COMPRESSED | ENTRY_REFERENCED
    if not writeback_enabled(m, wide(folio.memcg)):
        return REDIRTIED
    device_write(m, page, -1)
    return WRITING


@jit
def unmap(m: State, page: int) -> None:
    """Replace the page-table entry by a swap entry (mm/rmap.c:try_to_unmap)."""
    entry = wide(m.pte[page])
    if not entry & PRESENT:
        return
    if unlikely(entry & MANY):
        unmap_all(m, page)
        return
    if entry & PTE_DIRTY:
        m.folios[page].bits |= PG_DIRTY
    m.pte[page] = 0
    m.memcgs[wide(m.folios[page].memcg)].anon -= 1


@jit
def check_uses(m: State, folio: int) -> int:
    """KEEP or ACTIVATE a used folio by how often it was (in mm/vmscan.c:folio_check_references, MGLRU, 7.2)."""
    return ACTIVATE if lru_gen_set_refs(m, folio) else KEEP


@jit
def check_shared_references(m: State, folio: int) -> int:
    """`folio_check_references` of a folio that several pages may map: used by two of them, it is activated at once."""
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    m.pte[folio] = wide(m.pte[folio]) & ~YOUNG
    referenced, page = 0, wide(rmap.first)
    for _ in range(wide(rmap.owners)):
        if referenced_by(m, folio, page):
            referenced += 1
            if m.mglru.enabled:
                lru_gen_look_around(m, page)
        page = wide(m.folios[page].next)
    if m.linux.gen_by_use and m.mglru.enabled:
        return check_uses(m, folio) if referenced else FREED
    flags = wide(m.folios[folio].bits)
    m.folios[folio].bits = flags | PG_REFERENCED if referenced else flags & ~PG_REFERENCED
    if not referenced:
        return FREED
    return ACTIVATE if flags & PG_REFERENCED or referenced > 1 else KEEP


@jit
def folio_check_references(m: State, page: int) -> int:
    """KEEP or ACTIVATE what was used since the last scan, else FREED (mm/vmscan.c:folio_check_references)."""
    folio = m.folios[page]
    flags = wide(folio.bits)
    entry = wide(m.pte[page])
    if not entry & YOUNG:
        if not m.linux.gen_by_use or not m.mglru.enabled:
            folio.bits = flags & ~PG_REFERENCED
        return FREED
    if unlikely(entry & MANY):
        return check_shared_references(m, page)
    m.pte[page] = entry & ~YOUNG
    if unlikely(m.mglru.enabled):
        lru_gen_look_around(m, page)
        if m.linux.gen_by_use:
            return check_uses(m, page)
    folio.bits = flags | PG_REFERENCED
    return ACTIVATE if flags & PG_REFERENCED else KEEP


@inline
def pageout(m: State, page: int) -> int:
    """Write and free an unmapped dirty folio, or say what to do with it instead (mm/vmscan.c:pageout)."""
    state = swap_writepage(m, page)
    if unlikely(state == REDIRTIED):
        return ACTIVATE
    m.scan.nr_pageout += 1
    if state == WRITING:
        return KEEP
    remove_mapping(m, page, state, wide(m.scan.target))
    return FREED


@inline
def drop_clean(m: State, page: int) -> int:
    """Free an unmapped folio that its slot still has."""
    state = ZERO_FILLED if wide(m.folios[page].bits) & ZEROMAP else ON_DISK
    remove_mapping(m, page, state, wide(m.scan.target))
    return FREED


@jit
def shrink_shmem(m: State, folio: int) -> int:
    """Write and free an unused folio of shared memory, or say what to do with it instead (shmem_writepage)."""
    unmap(m, folio)
    if not add_to_swap(m, folio):
        return ACTIVATE
    m.memcgs[wide(m.folios[folio].memcg)].shmem -= 1
    return pageout(m, folio)


@jit
def was_found_used(m: State, page: int) -> bool:
    """Whether a mapped folio's neighbour found it used (in mm/vmscan.c:shrink_folio_list, 6.12)."""
    return bool(m.pte[page] & PRESENT and wide(m.folios[page].bits) & PG_REFERENCED)


@inline
def shrink_folio(m: State, page: int) -> int:
    """Try to free one isolated folio (the body of mm/vmscan.c:shrink_folio_list's loop)."""
    folio = m.folios[page]
    if not m.linux.gen_by_use and unlikely(m.mglru.enabled) and was_found_used(m, page):
        return KEEP
    if unlikely(wide(folio.bits) & PG_WRITEBACK):
        folio.bits |= PG_RECLAIM
        return ACTIVATE
    references = folio_check_references(m, page)
    if references != FREED:
        return references
    if not wide(folio.bits) & PG_SWAPCACHE:
        if unlikely(m.pte[page] & MANY) and m.rmaps[page - wide(m.sizes.nr_pages)].shmem:
            return shrink_shmem(m, page)
        if not add_to_swap(m, page):
            return ACTIVATE
    unmap(m, page)
    return pageout(m, page) if wide(folio.bits) & PG_DIRTY else drop_clean(m, page)


@inline
def activate(m: State, page: int) -> None:
    """Mark a folio that reclaim gives up on as active (mm/vmscan.c:shrink_folio_list, label activate_locked)."""
    memcg = wide(m.folios[page].memcg)
    if wide(m.folios[page].bits) & PG_SWAPCACHE and swap_full(m, memcg):
        folio_free_swap(m, page)
    m.folios[page].bits |= PG_ACTIVE
    m.memcgs[memcg].pgactivate += 1


@inline
def shrink_folio_list(m: State, taken: int) -> int:
    """Try to free the first `taken` isolated folios; how many are left (mm/vmscan.c:shrink_folio_list).

    All are of one cgroup, which is charged for them until 31 can be freed at once: meanwhile, what zswap needs for what
    it stores goes over the limit.
    """
    memcg = wide(m.folios[wide(m.isolated[0])].memcg)
    kept = waiting = 0
    for i in range(taken):
        page = wide(m.isolated[i])
        outcome = shrink_folio(m, page)
        if outcome == ACTIVATE:
            activate(m, page)
        if outcome != FREED:
            m.isolated[kept] = page
            kept += 1
        else:
            waiting += 1
            if unlikely(waiting == PAGEVEC_SIZE):
                free_folios(m, memcg, waiting)
                waiting = 0
    free_folios(m, memcg, waiting)
    m.scan.nr_scanned += taken
    return kept


# Of files -------------------------------------------------------------------------------------------------------------


@jit
def shrink_file_list(m: State, taken: int) -> int:
    """`shrink_folio_list` of a file's folios, which are clean and not mapped: all are freed, read once or not."""
    memcg = wide(m.folios[wide(m.isolated[0])].memcg)
    for i in range(taken):
        page = wide(m.isolated[i])
        workingset_eviction(m, page, wide(m.scan.target))
        m.folios[page].bits = wide(m.folios[page].bits) & ~(STATE_MASK | FOLIO_FLAGS)
    m.memcgs[memcg].file -= taken
    free_folios(m, memcg, taken)
    m.scan.nr_scanned += taken
    return 0
