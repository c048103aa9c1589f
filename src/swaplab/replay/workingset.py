"""Refault distance and the cost of reclaim (mm/workingset.c, mm/swap.c:lru_note_cost, 6.12)."""

from __future__ import annotations

from swaplab.linux.reclaim import SWAP_CLUSTER_MAX
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lru_gen_tiers import lru_refs_of, lru_tier_from_refs, tier_number
from swaplab.replay.memcontrol import is_online, swap_pages_left
from swaplab.replay.state import LRU_REFS, MAX_NR_GENS, PG_ACTIVE, PG_WORKINGSET, SHADOW, SHADOW_WORKINGSET, State

__all__ = [
    "lru_note_cost",
    "workingset_age_nonresident",
    "workingset_eviction",
    "workingset_refault",
    "workingset_refault_file",
]

AGE_MASK = (1 << 31) - 1
REFS_WIDTH = 2
REFAULTED, ACTIVATED, RESTORED = 1, 2, 3


@jit
def note_either_cost(m: State, memcg: int, is_file: bool, cost: int) -> None:
    """Add to what one of the two kinds of memory costs, and have both decay (in mm/swap.c:lru_note_cost)."""
    lruvec, files = m.memcgs[memcg], m.file_lrus[memcg]
    if is_file:
        files.cost += cost
    else:
        lruvec.anon_cost += cost
    size = wide(lruvec.flushed_inactive) + wide(lruvec.flushed_active)
    size += wide(files.flushed_inactive) + wide(files.flushed_active)
    if files.cost + lruvec.anon_cost > size // 4:
        files.cost //= 2
        lruvec.anon_cost //= 2


@jit
def lru_note_cost(m: State, memcg: int, is_file: bool, nr_io: int, nr_rotated: int) -> None:
    """Note what reclaim of anonymous memory or of files cost, here and above (mm/swap.c:lru_note_cost)."""
    cost = nr_io * SWAP_CLUSTER_MAX + nr_rotated
    while memcg >= 0:
        lruvec = m.memcgs[memcg]
        if m.has.file_memory:
            note_either_cost(m, memcg, is_file, cost)
            memcg = wide(lruvec.parent)
            continue
        lruvec.anon_cost += cost
        if lruvec.anon_cost > (wide(lruvec.flushed_inactive) + wide(lruvec.flushed_active)) // 4:
            lruvec.anon_cost //= 2
        memcg = wide(lruvec.parent)


@jit
def workingset_age_nonresident(m: State, memcg: int) -> None:
    """One eviction or activation ages what is not resident, here and above (mm/workingset.c)."""
    while memcg >= 0:
        m.memcgs[memcg].nonresident_age += 1
        memcg = wide(m.memcgs[memcg].parent)


@jit
def lru_gen_eviction(m: State, page: int) -> None:
    """Note which generation a folio was evicted from, in 7.2 with its uses (mm/workingset.c:lru_gen_eviction)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    folio.shadow = wide(m.lru_gens[memcg].min_seq) & AGE_MASK
    folio.other_memcg = memcg
    folio.bits |= SHADOW
    if m.linux.gen_by_use:
        flags = wide(folio.bits)
        refs = lru_refs_of(flags)
        tier = lru_tier_from_refs(refs, flags & PG_WORKINGSET)
        m.tiers[tier_number(memcg, tier)].evicted += 1
        folio.shadow = (wide(m.lru_gens[memcg].min_seq) << REFS_WIDTH & AGE_MASK) + max(refs - 1, 0)
        folio.bits = flags & ~SHADOW_WORKINGSET | (SHADOW_WORKINGSET if flags & PG_WORKINGSET else 0)


@jit
def refault_by_use(m: State, page: int, memcg: int, was_workingset: int) -> None:
    """Count a page coming back by its uses, and let it have them again (mm/workingset.c:lru_gen_refault, 7.2)."""
    folio, lruvec = m.folios[page], m.memcgs[memcg]
    max_seq = wide(m.lru_gens[memcg].max_seq) & AGE_MASK >> REFS_WIDTH
    if abs(max_seq - (wide(folio.shadow) >> REFS_WIDTH)) >= MAX_NR_GENS:
        return
    refs = (wide(folio.shadow) & (1 << REFS_WIDTH) - 1) + 1
    m.tiers[tier_number(memcg, lru_tier_from_refs(refs, was_workingset))].refaulted += 1
    if was_workingset:
        folio.bits |= PG_WORKINGSET
        lruvec.workingset_activate_anon += wide(m.task.in_lru_fault)
        lruvec.workingset_restore_anon += 1
    else:
        folio.bits = wide(folio.bits) & ~LRU_REFS | (LRU_REFS if refs > 1 else 0)


@jit
def lru_gen_refault(m: State, page: int, memcg: int) -> None:
    """Count a page coming back, from the oldest generation or not (mm/workingset.c:lru_gen_refault)."""
    folio = m.folios[page]
    was_workingset = wide(folio.bits) & SHADOW_WORKINGSET
    folio.bits = wide(folio.bits) & ~(SHADOW | SHADOW_WORKINGSET)
    lruvec = m.memcgs[memcg]
    if folio.other_memcg != memcg:
        return
    lruvec.workingset_refault_anon += 1
    if m.linux.gen_by_use:
        refault_by_use(m, page, memcg, was_workingset)
        return
    if wide(folio.shadow) != wide(m.lru_gens[memcg].min_seq) & AGE_MASK:
        return
    lruvec.workingset_activate_anon += 1
    if m.task.in_lru_fault:
        folio.bits |= LRU_REFS | PG_WORKINGSET
        lruvec.workingset_restore_anon += 1


@jit
def workingset_eviction(m: State, page: int, target: int) -> None:
    """Leave a shadow in the folio's place (mm/workingset.c:workingset_eviction)."""
    folio = m.folios[page]
    if unlikely(m.mglru.enabled):
        lru_gen_eviction(m, page)
        return
    folio.shadow = wide(m.memcgs[target].nonresident_age) & AGE_MASK
    folio.other_memcg = target
    flags = wide(folio.bits) & ~SHADOW_WORKINGSET | SHADOW
    if flags & PG_WORKINGSET:
        flags |= SHADOW_WORKINGSET
    folio.bits = flags
    workingset_age_nonresident(m, target)


@jit
def size_without_files(m: State, evictor: int) -> int:
    """Active anonymous memory of a cgroup that could be swapped out (in mm/workingset.c:workingset_test_recent)."""
    return wide(m.memcgs[evictor].flushed_active) if swap_pages_left(m, evictor) > 0 else 0


@jit
def size_of_workingset(m: State, evictor: int, is_file: bool) -> int:
    """What other memory a cgroup has that could make room for what comes back, but for what is just as inactive."""
    files = m.file_lrus[evictor]
    size = wide(files.flushed_active) + size_without_files(m, evictor)
    if not is_file:
        return size + wide(files.flushed_inactive)
    return size + (wide(m.memcgs[evictor].flushed_inactive) if swap_pages_left(m, evictor) > 0 else 0)


@inline
def workingset_test_recent(m: State, page: int, is_file: bool) -> bool:
    """Whether the page would still be here if other memory had made room (mm/workingset.c)."""
    evictor = wide(m.folios[page].other_memcg)
    if unlikely(not is_online(m, evictor)) and m.memcgs[evictor].swap_local == 0:
        return False  # its ID, which the shadow names, is gone
    distance = (wide(m.memcgs[evictor].nonresident_age) - wide(m.folios[page].shadow)) & AGE_MASK
    if m.has.file_memory:
        return distance <= size_of_workingset(m, evictor, is_file)
    return distance <= size_without_files(m, evictor)


@inline
def spend_shadow(m: State, page: int, memcg: int, is_file: bool) -> int:
    """Spend the shadow of a page coming back to `memcg`: `REFAULTED`, or more if it was evicted too early."""
    folio = m.folios[page]
    flags = wide(folio.bits)
    recent = workingset_test_recent(m, page, is_file)
    folio.bits = flags & ~(SHADOW | SHADOW_WORKINGSET)
    if not recent:
        return REFAULTED
    folio.bits |= PG_ACTIVE
    workingset_age_nonresident(m, memcg)
    if not flags & SHADOW_WORKINGSET:
        return ACTIVATED
    folio.bits |= PG_WORKINGSET
    lru_note_cost(m, memcg, is_file, 1, 0)
    return RESTORED


@jit
def workingset_refault(m: State, page: int, memcg: int) -> None:
    """Spend the shadow of a page coming back to `memcg`, active if evicted too early (mm/workingset.c)."""
    if not wide(m.folios[page].bits) & SHADOW:
        return
    if unlikely(m.mglru.enabled):
        lru_gen_refault(m, page, memcg)
        return
    found = spend_shadow(m, page, memcg, False)
    lruvec = m.memcgs[memcg]
    lruvec.workingset_refault_anon += 1
    lruvec.workingset_activate_anon += found >= ACTIVATED
    lruvec.workingset_restore_anon += found == RESTORED


@jit
def workingset_refault_file(m: State, page: int, memcg: int) -> None:
    """`workingset_refault` of a page of a file."""
    if not wide(m.folios[page].bits) & SHADOW:
        return
    found = spend_shadow(m, page, memcg, True)
    lruvec = m.memcgs[memcg]
    lruvec.workingset_refault_file += 1
    lruvec.workingset_activate_file += found >= ACTIVATED
    lruvec.workingset_restore_file += found == RESTORED
