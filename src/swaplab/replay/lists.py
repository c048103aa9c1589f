"""Doubly linked lists over record arrays (include/linux/list.h, 6.12): a head is a record like any other."""

from __future__ import annotations

from swaplab.replay.jit import jit, wide
from swaplab.replay.state import (
    LISTS_PER_MEMCG,
    LRU_ACTIVE,
    LRU_INACTIVE,
    LRU_ZSWAP,
    PG_ACTIVE,
    Machine,
    Records,
)

__all__ = [
    "entry_add",
    "entry_del",
    "list_add",
    "list_add_tail",
    "list_del",
    "lru_add",
    "lru_add_tail",
    "lru_del",
    "lru_head",
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
    """Unlink `item` from whatever list it is on."""
    before, after = wide(records[item].prev), wide(records[item].next)
    records[before].next = after
    records[after].prev = before


@jit
def lru_head(m: Machine, memcg: int, lru: int) -> int:
    """Record that heads list `lru` (LRU_INACTIVE, LRU_ACTIVE or LRU_ZSWAP) of `memcg`."""
    return wide(m.control.nr_pages) + memcg * LISTS_PER_MEMCG + lru


@jit
def lru_account(m: Machine, memcg: int, active: int, count: int) -> None:
    """Add `count` folios to the length of the active or the inactive list."""
    if active:
        m.memcgs[memcg].active += count
    else:
        m.memcgs[memcg].inactive += count


@jit
def lru_add(m: Machine, page: int) -> None:
    """Put a folio at the young end of the list that PG_active says (mm_inline.h:lruvec_add_folio, 6.12)."""
    folio = m.folios[page]
    active = wide(folio.bits) & PG_ACTIVE
    memcg = wide(folio.memcg)
    list_add(m.folios, lru_head(m, memcg, LRU_ACTIVE if active else LRU_INACTIVE), page)
    lru_account(m, memcg, active, 1)


@jit
def lru_add_tail(m: Machine, page: int) -> None:
    """Put an inactive folio where reclaim looks next (include/linux/mm_inline.h:lruvec_add_folio_tail, 6.12)."""
    memcg = wide(m.folios[page].memcg)
    list_add_tail(m.folios, lru_head(m, memcg, LRU_INACTIVE), page)
    lru_account(m, memcg, 0, 1)


@jit
def lru_del(m: Machine, page: int) -> None:
    """Take a folio off its list (include/linux/mm_inline.h:lruvec_del_folio, 6.12)."""
    folio = m.folios[page]
    list_del(m.folios, page)
    lru_account(m, wide(folio.memcg), wide(folio.bits) & PG_ACTIVE, -1)


@jit
def entry_add(m: Machine, page: int, objcg: int) -> None:
    """Put an entry at the young end of its objcg's list, or of the one for all (mm/zswap.c:zswap_lru_add, 6.12)."""
    memcg = 0 if m.control.zswap_global_lru else objcg
    list_add_tail(m.folios, lru_head(m, memcg, LRU_ZSWAP), page)
    m.memcgs[memcg].entries += 1


@jit
def entry_del(m: Machine, page: int, objcg: int) -> None:
    """Take an entry off (mm/zswap.c:zswap_lru_del, 6.12)."""
    list_del(m.folios, page)
    m.memcgs[0 if m.control.zswap_global_lru else objcg].entries -= 1
