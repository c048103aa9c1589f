"""Reclaim: pages of a memcg and those below it that were not used go to swap, zswap's entries to the device.

mm/vmscan.c, 6.12. Differs: one list per memcg with a second chance for pages used since they were met last, instead of
active and inactive lists, refaults and generations, which the replay has.
"""

from __future__ import annotations

from swaplab.kernel.charge import memalloc
from swaplab.kernel.folio import Folio, folio_add_lru, folio_free, folio_put, lruvec_del_folio
from swaplab.kernel.lruvec import Lruvec
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_iter, mem_cgroup_online
from swaplab.kernel.memory import folio_referenced, try_to_unmap
from swaplab.kernel.page_io import swap_writepage
from swaplab.kernel.shrinker import shrink_slab
from swaplab.kernel.swap_state import add_to_swap, remove_from_swap_cache
from swaplab.kernel.swapfile import Swap, SwapInfo
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE

__all__ = ["SWAP_CLUSTER_MAX", "reclaim_folio", "shrink_node", "try_to_free_mem_cgroup_pages"]

SWAP_CLUSTER_MAX = 32
DEF_PRIORITY = 12


def pageout(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Write a locked, unmapped folio: mm/vmscan.c:pageout, 6.12. Returns whether it is clean, and locked again."""
    WRITE_ONCE(folio).dirty = False
    if not swap_writepage(swap, si, folio):
        folio.lock.release()
        return False
    if READ_ONCE(folio).writeback or READ_ONCE(folio).dirty or not folio.lock.try_acquire():
        return False
    if READ_ONCE(folio).writeback or READ_ONCE(folio).dirty:
        folio.lock.release()
        return False
    return True


def reclaim_folio(swap: Swap, folio: Folio) -> bool:
    """Free a folio that was taken off its list, if it is not in use: mm/vmscan.c:shrink_folio_list, 6.12, for one.

    The caller has a reference, and loses it if the folio is freed.
    """
    if not folio.lock.try_acquire():
        return False
    if not _prepare(swap, folio):
        folio.lock.release()
        return False
    si = READ_ONCE(swap).info
    assert si  # the folio is in the swap cache
    if READ_ONCE(folio).dirty and not pageout(swap, si, folio):
        return False
    freed = remove_from_swap_cache(swap, si, folio)
    folio.lock.release()
    if freed:
        folio_free(folio)
    return freed


def _prepare(swap: Swap, folio: Folio) -> bool:
    """Unmap a locked folio that was not used, with a slot to find it again, and make sure that nobody else has it."""
    if READ_ONCE(folio).writeback or folio_referenced(folio):
        return False
    if not READ_ONCE(folio).swapcache and not (READ_ONCE(folio).mapping and add_to_swap(swap, folio)):
        return False
    si = READ_ONCE(swap).info
    assert si
    try_to_unmap(si, folio)
    # is_page_cache_freeable: the caller's reference and the swap cache's are the only ones.
    return not READ_ONCE(folio).mapping and folio.refcount.read() == 2


# Lists ----------------------------------------------------------------------------------------------------------------


def isolate_lru_folios(lruvec: Lruvec, nr_to_scan: int) -> list[Folio]:
    """Take the oldest folios off a list, with references: mm/vmscan.c:isolate_lru_folios, 6.12."""
    taken: list[Folio] = []
    with lruvec.lru_lock:
        for _ in range(nr_to_scan):
            folio: Folio | None = lruvec.lru.first()
            if not folio:
                break
            if folio.refcount.inc_not_zero():
                lruvec_del_folio(folio)
                taken.append(folio)
            else:
                # Being freed, and about to be taken off by who does that.
                folio.lru.delete()
                lruvec.lru.add_tail(folio.lru)
    return taken


def folio_putback_lru(folio: Folio) -> None:
    """Put a folio back as the newest, and drop the reference: mm/vmscan.c:folio_putback_lru, 6.12."""
    folio_add_lru(folio)
    folio_put(folio)


def shrink_list(swap: Swap, lruvec: Lruvec, nr_to_scan: int) -> int:
    """Try to free the oldest folios: mm/vmscan.c:shrink_inactive_list, 6.12. Returns how many were."""
    reclaimed = 0
    for folio in isolate_lru_folios(lruvec, nr_to_scan):
        if reclaim_folio(swap, folio):
            reclaimed += 1
        else:
            folio_putback_lru(folio)
    return reclaimed


def get_scan_count(memcg: MemCgroup, priority: int) -> int:
    """How many folios to look at: mm/vmscan.c:get_scan_count, 6.12, where all pages are anonymous."""
    size = memcg.lruvec.size
    return size >> priority or (0 if mem_cgroup_online(memcg) else min(size, SWAP_CLUSTER_MAX))


def shrink_lruvec(swap: Swap, memcg: MemCgroup, priority: int, nr_to_reclaim: int) -> int:
    """Reclaim from one memcg: mm/vmscan.c:shrink_lruvec, 6.12. Returns pages."""
    left = get_scan_count(memcg, priority)
    reclaimed = 0
    while left > 0 and reclaimed < nr_to_reclaim:
        reclaimed += shrink_list(swap, memcg.lruvec, min(left, SWAP_CLUSTER_MAX))
        left -= SWAP_CLUSTER_MAX
    return reclaimed


def shrink_node(swap: Swap, target: MemCgroup, priority: int, nr_to_reclaim: int) -> int:
    """Reclaim from a memcg and all below it: mm/vmscan.c:shrink_node_memcgs, 6.12. Returns pages."""
    reclaimed = 0
    memcg = mem_cgroup_iter(target, None)
    while memcg:
        reclaimed += shrink_lruvec(swap, memcg, priority, nr_to_reclaim)
        shrink_slab(swap, memcg, priority)
        memcg = mem_cgroup_iter(target, memcg)
    return reclaimed


def try_to_free_mem_cgroup_pages(swap: Swap, memcg: MemCgroup, nr_pages: int = SWAP_CLUSTER_MAX) -> int:
    """Free pages of a memcg and all below it, with ever less reserve: mm/vmscan.c:try_to_free_mem_cgroup_pages, 6.12.

    Returns:
        Pages that were freed; may be more or less.
    """
    nr_to_reclaim = max(nr_pages, SWAP_CLUSTER_MAX)
    reclaimed = 0
    with memalloc():
        for priority in range(DEF_PRIORITY, -1, -1):
            reclaimed += shrink_node(swap, memcg, priority, nr_to_reclaim)
            if reclaimed >= nr_to_reclaim:
                break
    return reclaimed
