"""Page counters, and pages charged ahead of their use (mm/page_counter.c, mm/memcontrol.c:memcg_stock, 6.12 and 7.2).

A processor keeps what it has charged ahead for one cgroup, until another one's takes its place; in 7.2 for seven. There
is one processor.
"""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.state import NO_LIMIT, NR_MEMCG_STOCK, State

__all__ = [
    "MEMCG_CHARGE_BATCH",
    "charge",
    "charge_by_force",
    "drain_all_stock",
    "has_room",
    "over_limit",
    "page_counter_charge",
    "refill_stock",
]

MEMCG_CHARGE_BATCH = 64


@jit
def page_counter_charge(m: State, memcg: int, pages: int) -> None:
    """Charge `pages` (may be negative) to `memcg` and its ancestors, limits or not (mm/page_counter.c)."""
    while memcg >= 0:
        counter = m.memcgs[memcg]
        counter.usage += pages
        memcg = wide(counter.parent)


@jit
def over_limit(m: State, memcg: int, pages: int) -> int:
    """Nearest cgroup up from `memcg` without room for `pages`, or -1 (mm/page_counter.c:page_counter_try_charge)."""
    while memcg > 0:
        counter = m.memcgs[memcg]
        if counter.usage + pages > counter.memory_max:
            return memcg
        memcg = wide(counter.parent)
    return -1


@jit
def headroom(m: State, memcg: int) -> int:
    """Pages that can be charged to `memcg` and all above it."""
    room = NO_LIMIT
    while memcg > 0:
        counter = m.memcgs[memcg]
        room = min(room, wide(counter.memory_max) - wide(counter.usage))
        memcg = wide(counter.parent)
    return room


# Stocks for seven cgroups, 7.2 ----------------------------------------------------------------------------------------


@jit
def stock_of(m: State, memcg: int) -> int:
    """The number of a cgroup's stock, or for -1 of the first without a cgroup; -1 if there is none."""
    for slot in range(NR_MEMCG_STOCK):
        if m.stocks[slot].memcg == memcg:
            return slot
    return -1


@jit
def drain_slot(m: State, slot: int) -> None:
    """Uncharge the rest of one stock, which has no cgroup then (mm/memcontrol.c:drain_stock)."""
    stock = m.stocks[slot]
    if stock.memcg >= 0:
        page_counter_charge(m, wide(stock.memcg), -wide(stock.pages))
        stock.memcg = -1
        stock.pages = 0


@jit
def drain_stocks(m: State, memcg: int) -> int:
    """Uncharge all stocks, if one with pages belongs to the subtree; how many these had (is_memcg_drain_needed)."""
    pages = 0
    for slot in range(NR_MEMCG_STOCK):
        if memcg <= m.stocks[slot].memcg < m.memcgs[memcg].end:
            pages += wide(m.stocks[slot].pages)
    if pages:
        for slot in range(NR_MEMCG_STOCK):
            drain_slot(m, slot)
    return pages


@jit
def refill_one_of_seven(m: State, memcg: int, pages: int) -> None:
    """`refill_stock`; a cgroup that has none takes one without a cgroup, else they take turns to give way."""
    if pages > MEMCG_CHARGE_BATCH:
        page_counter_charge(m, memcg, -pages)
        return
    slot = stock_of(m, memcg)
    if slot < 0:
        slot = stock_of(m, -1)
    if slot < 0:
        slot = wide(m.memory.stock_drain_idx)
        m.memory.stock_drain_idx = (slot + 1) % NR_MEMCG_STOCK
        drain_slot(m, slot)
    stock = m.stocks[slot]
    stock.memcg = memcg
    stock.pages += pages
    if stock.pages > MEMCG_CHARGE_BATCH:
        drain_slot(m, slot)


# A stock for one, 6.12, and either ------------------------------------------------------------------------------------


@jit
def drain_stock(m: State) -> int:
    """Uncharge what is left of the stock; how many pages (mm/memcontrol.c:drain_stock)."""
    pages = wide(m.memory.stock_pages)
    page_counter_charge(m, wide(m.memory.stock_memcg), -pages)
    m.memory.stock_pages = 0
    return pages


@jit
def drain_all_stock(m: State, memcg: int) -> int:
    """Uncharge the stock if it belongs to the subtree; how many pages (mm/memcontrol.c:drain_all_stock)."""
    if m.linux.stock_of_seven:
        return drain_stocks(m, memcg)
    return drain_stock(m) if memcg <= m.memory.stock_memcg < m.memcgs[memcg].end else 0


@jit
def refill_stock(m: State, memcg: int, pages: int) -> None:
    """Keep `pages` that are charged to `memcg` for its next charges (mm/memcontrol.c:refill_stock).

    The root has none: it is not charged, so what it no longer uses is only counted.
    """
    memory = m.memory
    if not memcg:
        page_counter_charge(m, memcg, -pages)
        return
    if m.linux.stock_of_seven:
        refill_one_of_seven(m, memcg, pages)
        return
    if memory.stock_memcg != memcg:
        drain_stock(m)
        memory.stock_memcg = memcg
    memory.stock_pages += pages
    if memory.stock_pages > MEMCG_CHARGE_BATCH:
        drain_stock(m)


@jit
def is_stocked(m: State, memcg: int, pages: int) -> bool:
    """Whether `pages` for `memcg` are charged already."""
    if m.linux.stock_of_seven:
        slot = stock_of(m, memcg)
        return slot >= 0 and m.stocks[slot].pages >= pages
    return bool(m.memory.stock_memcg == memcg and m.memory.stock_pages >= pages)


@inline
def consume_stock(m: State, memcg: int, pages: int) -> bool:
    """Take `pages` from what is charged ahead for `memcg`, if that has them (mm/memcontrol.c:consume_stock)."""
    if m.linux.stock_of_seven:
        slot = stock_of(m, memcg)
        if slot < 0 or m.stocks[slot].pages < pages:
            return False
        m.stocks[slot].pages -= pages
        return True
    if not is_stocked(m, memcg, pages):
        return False
    m.memory.stock_pages -= pages
    return True


@jit
def has_room(m: State, memcg: int) -> int:
    """-1 if one more page can be charged to `memcg`, else the nearest cgroup up from there that is in the way."""
    return -1 if is_stocked(m, memcg, 1) else over_limit(m, memcg, 1)


@jit
def note_over_high(m: State, memcg: int, pages: int) -> None:
    """Have the running task reclaim for `pages` if the cgroup or an ancestor is above its memory.high."""
    while unlikely(m.memory.high_limits) and memcg > 0:
        if m.memcgs[memcg].usage > m.memcgs[memcg].memory_high:
            m.memcgs[wide(m.task.current)].over_high += pages
            return
        memcg = wide(m.memcgs[memcg].parent)


@inline
def charge(m: State, memcg: int, pages: int, batch: int) -> int:
    """Charge `pages` from the stock, as part of a `batch`, or alone where that does not fit; else none of them.

    Returns -1, or the cgroup that has no room for them (mm/memcontrol.c:try_charge_memcg before it reclaims).
    """
    if consume_stock(m, memcg, pages):
        return -1
    room = headroom(m, memcg)
    if room < batch:
        batch = pages
    if room < batch:
        return over_limit(m, memcg, pages)
    page_counter_charge(m, memcg, batch)
    if batch > pages:
        refill_stock(m, memcg, batch - pages)
    if not m.task.background:
        note_over_high(m, memcg, batch)
    return -1


@jit
def charge_by_force(m: State, memcg: int, pages: int) -> None:
    """Charge what reclaim itself needs, limits or not (mm/memcontrol.c:try_charge_memcg, label force)."""
    limited = charge(m, memcg, pages, MEMCG_CHARGE_BATCH)
    if limited >= 0:
        m.memcgs[limited].max_events += 1
        page_counter_charge(m, memcg, pages)
