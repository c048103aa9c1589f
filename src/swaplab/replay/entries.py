"""zswap's LRUs, one per cgroup: its entries in the order of their stores (mm/zswap.c:zswap_lru_add, 6.12).

Most runs never look at them: without the shrinker, only a full pool, a cgroup over memory.zswap.max and the removal of
one do. Until one does, an entry has the number of its store instead of neighbours, so that freeing it needs no
more memory than its own; then all are sorted by that, once, and linked from there on.
"""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import list_add_tail, list_del, lru_head
from swaplab.replay.state import COMPRESSED, DIGIT_BITS, DIGITS, LRU_ZSWAP, NUMBER_BITS, STATE_MASK, STORES_MAX, State

__all__ = ["entries_head", "entry_add", "entry_del", "link_entries"]


@jit
def memcg_of_list(m: State, objcg: int) -> int:
    """Cgroup that has the list an entry is on: the root where there is one for all, as before Linux 6.8."""
    return 0 if unlikely(m.zswap.global_lru) else objcg


@jit
def sort_by_digit(m: State, chain: int, shift: int) -> int:
    """Sort entries chained by `prev` by one digit of their numbers, and leave the order of equals; the first."""
    while chain >= 0:
        page = chain
        chain = wide(m.folios[page].prev)
        digit = wide(m.folios[page].next) >> shift & DIGITS - 1
        m.folios[page].prev = m.stacks[digit]
        m.stacks[digit] = page
    for digit in range(DIGITS - 1, -1, -1):
        while m.stacks[digit] >= 0:
            page = wide(m.stacks[digit])
            m.stacks[digit] = m.folios[page].prev
            m.folios[page].prev = chain
            chain = page
    return chain


@jit
def link_entries(m: State) -> None:
    """Put all entries on their lists, in the order of their numbers, unless that was done before."""
    if m.zswap.entries_linked:
        return
    chain = -1
    for page in range(wide(m.sizes.fresh_folio)):
        if wide(m.folios[page].bits) & STATE_MASK == COMPRESSED:
            m.folios[page].prev = chain
            chain = page
    for shift in range(0, NUMBER_BITS, DIGIT_BITS):
        chain = sort_by_digit(m, chain, shift)
    while chain >= 0:
        page = chain
        chain = wide(m.folios[page].prev)
        memcg = memcg_of_list(m, wide(m.memcgs[wide(m.folios[page].memcg)].objcg))
        list_add_tail(m.folios, lru_head(m, memcg, LRU_ZSWAP), page)
    m.zswap.entries_linked = 1


@jit
def entries_head(m: State, memcg: int) -> int:
    """Record that heads the list of a cgroup's entries, the oldest first."""
    link_entries(m)
    return lru_head(m, memcg, LRU_ZSWAP)


@jit
def entry_add(m: State, page: int, objcg: int) -> None:
    """Put an entry at the young end of its objcg's list, or of the one for all (mm/zswap.c:zswap_lru_add)."""
    zswap = m.zswap
    if unlikely(zswap.stores == STORES_MAX):
        link_entries(m)
    memcg = memcg_of_list(m, objcg)
    if zswap.entries_linked:
        list_add_tail(m.folios, lru_head(m, memcg, LRU_ZSWAP), page)
    else:
        zswap.stores += 1
        m.folios[page].next = zswap.stores
    m.memcgs[memcg].entries += 1


@jit
def entry_del(m: State, page: int, objcg: int) -> None:
    """Take an entry off (mm/zswap.c:zswap_lru_del)."""
    if m.zswap.entries_linked:
        list_del(m.folios, page)
    m.memcgs[memcg_of_list(m, objcg)].entries -= 1
