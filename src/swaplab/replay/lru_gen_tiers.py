"""MGLRU's count of uses, and what tiers of folios refault (mm/vmscan.c, include/linux/mm_inline.h, 7.2).

A folio counts how often it was found used: `PG_REFERENCED` is the first, `LRU_REFS` one more, and `PG_WORKINGSET` says
that it lived on. Its tier goes by that. One whose folios come back more often than those of the first is not evicted.

Differs: there is no file memory, so that nothing is compared between the types.
"""

from __future__ import annotations

from swaplab.replay.jit import jit, wide
from swaplab.replay.state import (
    LRU_REFS,
    MAX_NR_TIERS,
    MIN_LRU_BATCH,
    PG_REFERENCED,
    PG_WORKINGSET,
    State,
)

__all__ = [
    "count_protected",
    "get_tier_idx",
    "lru_gen_set_refs",
    "lru_refs_of",
    "lru_tier_from_refs",
    "reset_ctrl_pos",
    "tier_number",
]

FIRST_GAIN, OTHER_GAIN = 2, 3


@jit
def lru_refs_of(flags: int) -> int:
    """How often a folio with such flags was found used (include/linux/mm_inline.h:folio_lru_refs)."""
    if not flags & PG_REFERENCED:
        return 0
    return 2 if flags & LRU_REFS else 1


@jit
def lru_tier_from_refs(refs: int, workingset: int) -> int:
    """Tier of a folio, the first being 0 (include/linux/mm_inline.h:lru_tier_from_refs)."""
    if workingset:
        return MAX_NR_TIERS - 1
    return 1 if refs > 1 else 0


@jit
def lru_gen_set_refs(m: State, page: int) -> bool:
    """Count that a folio was found used; whether that makes it worth promoting (mm/vmscan.c:lru_gen_set_refs)."""
    folio = m.folios[page]
    flags = wide(folio.bits)
    if not flags & (PG_REFERENCED | PG_WORKINGSET):
        folio.bits = flags & ~LRU_REFS | PG_REFERENCED
        return False
    if lru_refs_of(flags) > 1:
        folio.bits = flags & ~(LRU_REFS | PG_REFERENCED) | PG_WORKINGSET
    else:
        folio.bits = flags | LRU_REFS if flags & PG_REFERENCED else flags & ~LRU_REFS | PG_REFERENCED
    return True


@jit
def tier_number(memcg: int, tier: int) -> int:
    """Record of a cgroup's tier."""
    return memcg * MAX_NR_TIERS + tier


@jit
def count_protected(m: State, memcg: int, flags: int) -> None:
    """Count a folio with such flags that went to the next generation instead of being evicted."""
    tier = lru_tier_from_refs(lru_refs_of(flags), flags & PG_WORKINGSET)
    m.tiers[tier_number(memcg, tier)].protected += 1


@jit
def reset_ctrl_pos(m: State, memcg: int) -> None:
    """Carry what the oldest generation's tiers did over into averages (mm/vmscan.c:reset_ctrl_pos)."""
    for tier in range(MAX_NR_TIERS):
        record = m.tiers[tier_number(memcg, tier)]
        record.avg_refaulted = (wide(record.avg_refaulted) + wide(record.refaulted)) // 2
        record.avg_total = (wide(record.avg_total) + wide(record.protected) + wide(record.evicted)) // 2
        record.refaulted = record.protected = record.evicted = 0


@jit
def read_ctrl_pos(m: State, memcg: int, tier: int) -> tuple[int, int]:
    """Folios of a tier that came back, and that there were (mm/vmscan.c:read_ctrl_pos)."""
    record = m.tiers[tier_number(memcg, tier)]
    refaulted = wide(record.avg_refaulted) + wide(record.refaulted)
    return refaulted, wide(record.avg_total) + wide(record.protected) + wide(record.evicted)


@jit
def get_tier_idx(m: State, memcg: int) -> int:
    """The last tier that may be evicted (mm/vmscan.c:get_tier_idx, positive_ctrl_err)."""
    first, first_total = read_ctrl_pos(m, memcg, 0)
    for tier in range(1, MAX_NR_TIERS):
        refaulted, total = read_ctrl_pos(m, memcg, tier)
        margin = (first + 1) * total * OTHER_GAIN
        if refaulted >= MIN_LRU_BATCH and refaulted * (first_total + MIN_LRU_BATCH) * FIRST_GAIN > margin:
            return tier - 1
    return MAX_NR_TIERS - 1
