"""Swapping in, and reading ahead (mm/swap_state.c, 6.12)."""

from __future__ import annotations

from swaplab.replay.charge import alloc_charged
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lists import folio_add_lru
from swaplab.replay.memcontrol import is_online, task_of
from swaplab.replay.rmap import folio_of, is_swapped
from swaplab.replay.state import (
    COMPRESSED,
    ENTRY_REFERENCED,
    ON_DISK,
    PG_DIRTY,
    PG_READAHEAD,
    PG_SWAPCACHE,
    PTRS_PER_TABLE,
    RESIDENT,
    STATE_MASK,
    ZERO_FILLED,
    State,
)
from swaplab.replay.stock import page_counter_charge
from swaplab.replay.swap import device_read
from swaplab.replay.workingset import workingset_refault
from swaplab.replay.zswap import zram_load, zswap_load

__all__ = ["found_in_swap_cache", "swapin_cluster", "swapin_readahead"]

SWAP_RA_ORDER_CEILING = 5
SWAP_RA_HITS_MAX = 63  # what vm_area_struct.swap_readahead_info has bits for
FIRST_ADDRESS = 2  # of a task's pages; 0 is nowhere, and nothing is next to that


@inline
def fill_folio(m: State, page: int, state: int, memcg: int, wait: bool) -> int:
    """Bring the contents in from where they are; PG_DIRTY if that leaves it so (mm/page_io.c:swap_read_folio)."""
    if unlikely(state == ZERO_FILLED):
        m.memcgs[memcg].swpin_zero += 1
        return 0
    if state == ON_DISK:
        m.memcgs[memcg].nr_disk_swapins += 1
        device_read(m, page, wait)
        return 0
    if unlikely(m.swap.zram):
        zram_load(m, page)
    else:
        zswap_load(m, page)
    return PG_DIRTY


@inline
def read_swap_cache(m: State, page: int, target: int, wait: bool) -> bool:
    """Read a page into a new folio in the swap cache (mm/swap_state.c:__read_swap_cache_async, swap_read_folio).

    False when the task that faults on `target` was killed. Reclaim for the folio may have ended with the page's own
    task being killed, too.
    """
    folio = m.folios[page]
    owner = wide(folio.memcg)
    memcg = owner if is_online(m, owner) else wide(m.task.current)
    m.task.swapping_in = page
    is_charged = alloc_charged(m, memcg, target)
    m.task.swapping_in = -1
    if unlikely(not is_charged):
        return False
    state = wide(folio.bits) & STATE_MASK
    if unlikely(not COMPRESSED <= state <= ZERO_FILLED):
        m.memory.free += 1
        page_counter_charge(m, memcg, -1)
        return True
    dirty = fill_folio(m, page, state, memcg, wait)
    workingset_refault(m, page, memcg)
    folio.memcg = memcg
    folio.other_memcg = owner
    folio.bits = wide(folio.bits) & ~(STATE_MASK | ENTRY_REFERENCED | PG_DIRTY) | RESIDENT | PG_SWAPCACHE | dirty
    m.memcgs[memcg].swapcached += 1
    folio_add_lru(m, page)
    return True


@jit
def window(previous: int, position: int, hits: int, max_pages: int, last_window: int) -> int:
    """Pages to read, the fault's own included (mm/swap_state.c:__swapin_nr_pages)."""
    pages = hits + 2
    if pages == 2:
        if abs(position - previous) != 1:
            pages = 1
    else:
        size = 4
        while size < pages:
            size *= 2
        pages = size
    return max(min(pages, max_pages), last_window // 2)


@jit
def cluster_of(m: State, folio: int) -> tuple[int, int]:
    """First and end of the slots to read around the folio's (mm/swap_state.c:swap_cluster_readahead)."""
    swap = m.swap
    slot = wide(m.page_slot[folio])
    hits = wide(swap.ra_hits)
    swap.ra_hits = 0
    pages = window(wide(swap.ra_offset), slot, hits, 1 << wide(swap.page_cluster), wide(swap.ra_pages))
    if not hits:
        swap.ra_offset = slot
    swap.ra_pages = pages
    if pages == 1:
        return 0, 0
    mask = pages - 1
    return max(slot & ~mask, 1), min(slot | mask, wide(swap.nr_slots)) + 1


@jit
def neighbours_of(m: State, page: int) -> tuple[int, int]:
    """First and end of the pages to read around this one (mm/swap_state.c:swap_vma_ra_win).

    Differs: page tables begin where a task's memory does.
    """
    task = task_of(m, page)
    info = m.readahead[task]
    first = wide(m.task_first[task])
    address = page - first + FIRST_ADDRESS
    before, last = wide(info.address), wide(info.window)
    max_pages = 1 << min(wide(m.swap.page_cluster), SWAP_RA_ORDER_CEILING)
    pages = window(before, address, wide(info.hits), max_pages, last)
    info.address, info.window, info.hits = address, pages, 0
    if pages == 1:
        return 0, 0
    if address == before + 1:
        left = page
    elif before == address + 1:
        left = page - pages + 1
    else:
        left = page - (pages - 1) // 2
    table = first + (page - first) // PTRS_PER_TABLE * PTRS_PER_TABLE
    return max(left, table), min(left + pages, wide(m.task_first[task + 1]), table + PTRS_PER_TABLE)


@jit
def read_ahead(m: State, page: int, folio: int, first: int, end: int) -> bool:
    """Swap in what may be needed next, and the folio: in its turn, or in the end if it is not among that.

    `first` and `end` are slots of a rotational device, else pages. False when the faulting task was killed.
    """
    rotational = m.device.rotational
    for each in range(first, end):
        neighbour = wide(m.slot_page[each]) if rotational else folio_of(m, each)
        if neighbour < 0 or not is_swapped(m, neighbour):
            continue
        if not read_swap_cache(m, neighbour, page, neighbour == folio):
            return False
        if neighbour != folio and wide(m.folios[neighbour].bits) & PG_SWAPCACHE:
            m.folios[neighbour].bits |= PG_READAHEAD
    return not is_swapped(m, folio) or read_swap_cache(m, folio, page, True)


@inline
def swapin_readahead(m: State, page: int, folio: int) -> bool:
    """Swap in the folio of a page, and what may be needed next (mm/swap_state.c:swapin_readahead).

    False when the faulting task was killed. Differs: does not sleep for what is read ahead.
    """
    if unlikely(m.swap.page_cluster) and not m.swap.zram:
        first, end = cluster_of(m, folio) if m.device.rotational else neighbours_of(m, page)
        return read_ahead(m, page, folio, first, end)
    return read_swap_cache(m, folio, page, True)


@jit
def swapin_cluster(m: State, page: int, folio: int) -> bool:
    """Swap in a folio, and what is near its slot (mm/swap_state.c:swap_cluster_readahead).

    False when the task that faults on `page` was killed.
    """
    if m.swap.page_cluster and m.device.rotational:
        first, end = cluster_of(m, folio)
        return read_ahead(m, page, folio, first, end)
    return read_swap_cache(m, folio, page, True)


@jit
def found_in_swap_cache(m: State, page: int, folio: int) -> None:
    """Note that a fault found its folio there already (mm/swap_state.c:swap_cache_get_folio)."""
    ahead = wide(m.folios[folio].bits) & PG_READAHEAD
    m.folios[folio].bits = wide(m.folios[folio].bits) & ~PG_READAHEAD
    if m.device.rotational:
        m.swap.ra_hits += ahead != 0
        return
    task = task_of(m, page)
    info = m.readahead[task]
    info.address = page - wide(m.task_first[task]) + FIRST_ADDRESS
    info.hits = min(wide(info.hits) + (ahead != 0), SWAP_RA_HITS_MAX)
