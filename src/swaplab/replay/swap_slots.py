"""Which slot of a rotational device (mm/swapfile.c:scan_swap_map_slots, mm/swap_slots.c, 6.12): readahead goes by it.

Slots count from 1, since the header takes the first page. Differs: slots whose page is in memory as well are not taken
away from it when swap is nearly full (mm/swapfile.c:__try_to_reclaim_swap, 6.12).
"""

from __future__ import annotations

from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.replay.jit import jit, wide
from swaplab.replay.memcontrol import count_slot
from swaplab.replay.state import SLOT_CACHED, SLOT_FREE, SWAP_SLOTS_CACHE_SIZE, State

__all__ = ["alloc_cached_slot", "free_slot_directly", "return_slot"]

LATENCY_LIMIT = 256


@jit
def empty_cluster(m: State) -> int:
    """First of the first 512 free slots in a row, or 0 (the search in mm/swapfile.c:scan_swap_map_slots)."""
    free = 0
    for slot in range(wide(m.swap.lowest_bit), wide(m.swap.highest_bit) + 1):
        free = free + 1 if m.slot_page[slot] == SLOT_FREE else 0
        if free == SWAPFILE_CLUSTER:
            return slot - SWAPFILE_CLUSTER + 1
    return 0


@jit
def next_free(m: State, slot: int, end: int) -> int:
    """First free slot from `slot` up to `end`, or 0."""
    while slot <= end:
        if m.slot_page[slot] == SLOT_FREE:
            return slot
        slot += 1
    return 0


@jit
def begin_scan(m: State) -> int:
    """Where to look for a slot: go on in the current cluster, or begin an empty one."""
    swap = m.swap
    if swap.cluster_nr:
        swap.cluster_nr -= 1
        return wide(swap.cluster_next)
    swap.cluster_nr = SWAPFILE_CLUSTER - 1
    if swap.nr_slots - swap.slots_used < SWAPFILE_CLUSTER:
        return wide(swap.cluster_next)
    return empty_cluster(m) or wide(swap.lowest_bit)


@jit
def take(m: State, slot: int) -> None:
    """Allocate a free slot (mm/swapfile.c:swap_range_alloc)."""
    swap = m.swap
    m.slot_page[slot] = SLOT_CACHED
    if slot == swap.lowest_bit:
        swap.lowest_bit += 1
    if slot == swap.highest_bit:
        swap.highest_bit -= 1
    swap.slots_used += 1
    if swap.slots_used == swap.nr_slots:
        swap.lowest_bit = wide(swap.nr_slots) + 1
        swap.highest_bit = 0


@jit
def scan_swap_map_slots(m: State, count: int) -> int:
    """Allocate up to `count` slots into the cache; how many (mm/swapfile.c:scan_swap_map_slots)."""
    swap = m.swap
    if not swap.highest_bit:
        return 0
    slot = base = begin_scan(m)
    if slot > swap.highest_bit:
        slot = base = wide(swap.lowest_bit)
    first = next_free(m, slot, wide(swap.highest_bit)) or next_free(m, wide(swap.lowest_bit), base - 1)
    taken, ration, slot = 0, LATENCY_LIMIT, first
    while slot:
        take(m, slot)
        m.cached_slots[taken] = slot
        taken += 1
        swap.cluster_next = slot + 1
        ration -= 1
        if taken == count or slot >= swap.highest_bit or ration < 0:
            break
        if swap.cluster_nr and m.slot_page[slot + 1] == SLOT_FREE:
            swap.cluster_nr -= 1
            slot += 1
            continue
        following = slot + 1 if swap.cluster_nr else slot
        limit = base if following < base else wide(swap.highest_bit)
        limit = min(limit, following + ration - 2)
        slot = next_free(m, following, limit)
        ration -= slot - following + 1
        if not slot:
            swap.cluster_next = limit + 2
    return taken


@jit
def give_back(m: State, slot: int) -> None:
    """Free a slot (mm/swapfile.c:swap_range_free)."""
    swap = m.swap
    m.slot_page[slot] = SLOT_FREE
    swap.lowest_bit = min(wide(swap.lowest_bit), slot)
    swap.highest_bit = max(wide(swap.highest_bit), slot)
    swap.slots_used -= 1


@jit
def free_slot_directly(m: State, page: int, memcg: int) -> None:
    """Free the page's slot now, past the caches (mm/swapfile.c:swap_entry_range_free)."""
    give_back(m, wide(m.page_slot[page]))
    count_slot(m, memcg, -1)


@jit
def give_back_returned(m: State) -> None:
    """Free all slots that were returned (mm/swapfile.c:swapcache_free_entries)."""
    for i in range(wide(m.swap.cache_ret)):
        give_back(m, wide(m.returned_slots[i]))
        count_slot(m, wide(m.returned_memcg[i]), -1)
    m.swap.cache_ret = 0


@jit
def drain(m: State) -> None:
    """Empty both caches (mm/swap_slots.c:drain_slots_cache_cpu)."""
    swap = m.swap
    for i in range(wide(swap.cache_nr)):
        give_back(m, wide(m.cached_slots[wide(swap.cache_cur) + i]))
    swap.cache_nr = 0
    give_back_returned(m)


@jit
def check_cache_active(m: State) -> None:
    """Allocate ahead only where slots are plenty (mm/swap_slots.c:check_cache_active), with one processor."""
    swap = m.swap
    left = wide(swap.nr_slots) - wide(swap.slots_used)
    if not swap.cache_active:
        swap.cache_active = left > 5 * SWAP_SLOTS_CACHE_SIZE
    elif left < 2 * SWAP_SLOTS_CACHE_SIZE:
        swap.cache_active = 0
        drain(m)


@jit
def alloc_cached_slot(m: State, page: int) -> None:
    """Take a slot for `page`, of which there is one (mm/swap_slots.c:folio_alloc_swap)."""
    swap = m.swap
    check_cache_active(m)
    if not swap.cache_nr:
        swap.cache_cur = 0
        swap.cache_nr = scan_swap_map_slots(m, SWAP_SLOTS_CACHE_SIZE if swap.cache_active else 1)
    swap.cache_nr -= 1
    swap.cache_cur += 1
    slot = wide(m.cached_slots[wide(swap.cache_cur) - 1])
    m.slot_page[slot] = page
    m.page_slot[page] = slot


@jit
def return_slot(m: State, slot: int, memcg: int) -> None:
    """Free a slot, later (mm/swap_slots.c:free_swap_slot); until then `memcg` is charged for it."""
    swap = m.swap
    m.slot_page[slot] = SLOT_CACHED
    if not swap.cache_active:
        give_back(m, slot)
        count_slot(m, memcg, -1)
        return
    if swap.cache_ret == SWAP_SLOTS_CACHE_SIZE:
        give_back_returned(m)
    m.returned_slots[wide(swap.cache_ret)] = slot
    m.returned_memcg[wide(swap.cache_ret)] = memcg
    swap.cache_ret += 1
