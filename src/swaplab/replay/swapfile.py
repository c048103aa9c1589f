"""Swap slots, and when they are freed (mm/swapfile.c, mm/swap_state.c, 6.12 and 7.2).

Differs: but for rotational devices, where alone it matters which number a slot has (`swaplab.replay.swap_slots`, and
`swaplab.replay.swap_clusters` for 7.2), slots are only counted, and freed at once.
"""

from __future__ import annotations

from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import jit, wide
from swaplab.replay.memcontrol import charge_slot, count_slot, slot_owner
from swaplab.replay.rmap import swap_count
from swaplab.replay.state import (
    CLUSTER_FRAG,
    CLUSTER_FREE,
    CLUSTER_FULL,
    CLUSTER_NONFULL,
    MANY,
    PG_DIRTY,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    RESIDENT,
    SLOT_FREE,
    STATE_MASK,
    ZEROMAP,
    State,
)
from swaplab.replay.swap_clusters import (
    free_clustered_slot,
    is_cluster_usable,
    isolate_cluster,
    relocate_cluster,
    take_from_cluster,
)
from swaplab.replay.swap_slots import alloc_cached_slot, return_slot

__all__ = ["add_to_swap", "alloc_slot", "folio_free_swap", "free_slot"]


# Freeing --------------------------------------------------------------------------------------------------------------


@jit
def free_slot(m: State, page: int, memcg: int) -> None:
    """Give the page's slot back and uncharge `memcg` for it (mm/swap_slots.c:free_swap_slot)."""
    if unlikely(m.device.rotational) and not m.linux.slots_from_clusters:
        return_slot(m, wide(m.page_slot[page]), memcg)
    else:
        if unlikely(m.device.rotational):
            free_clustered_slot(m, wide(m.page_slot[page]))
        m.swap.slots_used -= 1
        count_slot(m, memcg, -1)


@jit
def is_slot_named(m: State, page: int) -> bool:
    """Whether a page table entry names the slot of a folio that is in memory (mm/swapfile.c:folio_swapped)."""
    entry = wide(m.pte[page])
    return swap_count(m, page) > 0 if unlikely(entry & MANY) else not entry & PRESENT


@jit
def folio_free_swap(m: State, page: int) -> bool:
    """Drop a slot that no page table needs: the folio is the only copy then (mm/swapfile.c:folio_free_swap)."""
    folio = m.folios[page]
    flags = wide(folio.bits)
    if not flags & PG_SWAPCACHE or flags & PG_WRITEBACK or is_slot_named(m, page):
        return False
    free_slot(m, page, wide(folio.other_memcg))
    folio.bits = flags & ~(PG_SWAPCACHE | ZEROMAP) | PG_DIRTY
    m.memcgs[wide(folio.memcg)].swapcached -= 1
    return True


# Allocating from clusters ---------------------------------------------------------------------------------------------


@jit
def try_to_reclaim_swap(m: State, slot: int) -> bool:
    """Free a slot if the folio in memory is all that has it (mm/swapfile.c:__try_to_reclaim_swap)."""
    page = wide(m.slot_page[slot])
    return page >= 0 and wide(m.folios[page].bits) & STATE_MASK == RESIDENT and folio_free_swap(m, page)


@jit
def vm_swap_full(m: State) -> bool:
    """Whether half of all slots are used (include/linux/swap.h:vm_swap_full)."""
    return bool(2 * m.swap.slots_used > m.swap.nr_slots)


@jit
def alloc_swap_scan_cluster(m: State, cluster: int, slot: int) -> int:
    """Take the first slot of a cluster from `slot` on that is free, or can be freed; 0 if there is none.

    Models mm/swapfile.c:alloc_swap_scan_cluster, cluster_scan_range, cluster_reclaim_range.
    """
    m.swap.cluster_next = 0
    end = (cluster + 1) * SWAPFILE_CLUSTER
    while slot < end and m.clusters[cluster].count < SWAPFILE_CLUSTER:
        is_reclaimed = m.slot_page[slot] != SLOT_FREE and vm_swap_full(m) and try_to_reclaim_swap(m, slot)
        if is_reclaimed and not m.clusters[cluster].count:
            return 0  # it was the last, and the cluster has no table any more
        if m.slot_page[slot] == SLOT_FREE:
            take_from_cluster(m, cluster, slot)
            if m.clusters[cluster].count < SWAPFILE_CLUSTER and slot + 1 < end:
                m.swap.cluster_next = slot + 1
            relocate_cluster(m, cluster)
            return slot
        slot += 1
    relocate_cluster(m, cluster)
    return 0


@jit
def alloc_swap_scan_list(m: State, kind: int) -> int:
    """Take a slot from the first cluster of a list that has one; 0 if there is none (alloc_swap_scan_list)."""
    while True:
        cluster = isolate_cluster(m, kind)
        if cluster < 0:
            return 0
        slot = alloc_swap_scan_cluster(m, cluster, cluster * SWAPFILE_CLUSTER)
        if slot or kind != CLUSTER_NONFULL:
            return slot


@jit
def swap_reclaim_full_cluster(m: State) -> None:
    """Free what only folios in memory have of a full cluster's slots (mm/swapfile.c:swap_reclaim_full_clusters)."""
    cluster = isolate_cluster(m, CLUSTER_FULL)
    if cluster >= 0:
        for slot in range(cluster * SWAPFILE_CLUSTER, (cluster + 1) * SWAPFILE_CLUSTER):
            try_to_reclaim_swap(m, slot)
        relocate_cluster(m, cluster)


@jit
def cluster_alloc_swap_entry(m: State) -> int:
    """Take a slot: holes of clusters that were used before come ahead of new ones (cluster_alloc_swap_entry)."""
    slot = wide(m.swap.cluster_next)
    if slot and is_cluster_usable(m, slot // SWAPFILE_CLUSTER):
        slot = alloc_swap_scan_cluster(m, slot // SWAPFILE_CLUSTER, slot)
        if slot:
            return slot
    slot = alloc_swap_scan_list(m, CLUSTER_NONFULL) or alloc_swap_scan_list(m, CLUSTER_FREE)
    if slot:
        return slot
    if vm_swap_full(m):
        swap_reclaim_full_cluster(m)
    return alloc_swap_scan_list(m, CLUSTER_FRAG) or alloc_swap_scan_list(m, CLUSTER_NONFULL)


# Allocating -----------------------------------------------------------------------------------------------------------


@jit
def alloc_slot(m: State, page: int) -> None:
    """Take a slot for `page`, of which there is one (mm/swap_slots.c:folio_alloc_swap)."""
    if unlikely(m.device.rotational):
        if m.linux.slots_from_clusters:
            slot = cluster_alloc_swap_entry(m)
            m.slot_page[slot] = page
            m.page_slot[page] = slot
            m.swap.slots_used += 1
        else:
            alloc_cached_slot(m, page)
    else:
        m.swap.slots_used += 1


@jit
def add_to_swap(m: State, page: int) -> bool:
    """Give a folio a slot and put it, dirty, into the swap cache (mm/swap_state.c:add_to_swap)."""
    folio = m.folios[page]
    owner = slot_owner(m, wide(folio.memcg))
    if m.swap.slots_used - m.swap.cache_nr == m.swap.nr_slots or not charge_slot(m, owner):
        return False
    alloc_slot(m, page)
    folio.other_memcg = owner
    folio.bits = wide(folio.bits) & ~ZEROMAP | PG_SWAPCACHE | PG_DIRTY
    m.memcgs[wide(folio.memcg)].swapcached += 1
    return True
