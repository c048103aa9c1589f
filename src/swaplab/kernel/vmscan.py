"""Reclaim: pages of a memcg and those below it that were not used go to swap, zswap's entries to the device.

mm/vmscan.c, 6.12 and 7.2. Differs: one list per memcg with a second chance for pages used since they were met last,
instead of active and inactive lists, refaults and generations, which the replay has.
"""

from __future__ import annotations

from dataclasses import dataclass

from swaplab.kernel.charge import memalloc
from swaplab.kernel.folio import Folio, folio_add_lru, folio_free, folio_put, lruvec_del_folio
from swaplab.kernel.lruvec import Lruvec
from swaplab.kernel.memcontrol import (
    MemCgroup,
    ReclaimCookie,
    mem_cgroup_get_nr_swap_pages,
    mem_cgroup_iter,
    mem_cgroup_iter_break,
    mem_cgroup_online,
)
from swaplab.kernel.memory import folio_referenced, try_to_unmap
from swaplab.kernel.page_io import swap_writepage
from swaplab.kernel.shrinker import shrink_slab
from swaplab.kernel.swapfile import Swap, SwapInfo
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, data_race
from swaplab.linux.reclaim import DEF_PRIORITY, SWAP_CLUSTER_MAX

__all__ = ["reclaim_folio", "try_to_free_mem_cgroup_pages"]


def pageout(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Write a locked, unmapped folio: mm/vmscan.c:pageout. Returns whether it is clean, and locked again."""
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
    """Free a folio that was taken off its list, if it is not in use: mm/vmscan.c:shrink_folio_list, for one.

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
    freed = si.remove_mapping(swap, folio)
    folio.lock.release()
    if freed:
        folio_free(folio)
    return freed


def _prepare(swap: Swap, folio: Folio) -> bool:
    """Unmap a locked folio that was not used, with a slot to find it again, and make sure that no other task has it."""
    if READ_ONCE(folio).writeback or folio_referenced(folio):
        return False
    si = READ_ONCE(swap).info
    if not si:
        return False
    if not READ_ONCE(folio).swapcache and not (READ_ONCE(folio).mappings and si.alloc_slot(swap, folio)):
        return False
    try_to_unmap(si, folio)
    # is_page_cache_freeable: the caller's reference and the swap cache's are the only ones.
    return not READ_ONCE(folio).mappings and folio.refcount.read() == 2


# Lists ----------------------------------------------------------------------------------------------------------------


def isolate_lru_folios(lruvec: Lruvec, nr_to_scan: int) -> list[Folio]:
    """Take the oldest folios off a list, with references: mm/vmscan.c:isolate_lru_folios."""
    taken: list[Folio] = []
    with lruvec.lru_lock:
        for _ in range(nr_to_scan):
            folio: Folio | None = lruvec.lru.first()
            if not folio:
                break
            if folio.refcount.inc_not_zero():
                lruvec_del_folio(lruvec, folio)
                taken.append(folio)
            else:
                # Being freed, and about to be taken off by the task that frees it.
                folio.lru.delete()
                lruvec.lru.add_tail(folio.lru)
    return taken


def folio_putback_lru(folio: Folio) -> None:
    """Put a folio back as the newest, and drop the reference: mm/vmscan.c:folio_putback_lru."""
    folio_add_lru(folio)
    folio_put(folio)


def shrink_list(swap: Swap, lruvec: Lruvec, nr_to_scan: int) -> int:
    """Try to free the oldest folios: mm/vmscan.c:shrink_inactive_list. Returns how many were."""
    reclaimed = 0
    for folio in isolate_lru_folios(lruvec, nr_to_scan):
        if reclaim_folio(swap, folio):
            reclaimed += 1
        else:
            folio_putback_lru(folio)
    return reclaimed


def get_scan_count(swap: Swap, memcg: MemCgroup, priority: int) -> int:
    """How many folios to look at: mm/vmscan.c:get_scan_count, where all pages are anonymous.

    None if a page could not get a slot, even of those that have one: swapoff would bring them back again and again.
    """
    if mem_cgroup_get_nr_swap_pages(swap.nr_swap_pages, memcg) <= 0:
        return 0
    # mem_cgroup_get_zone_lru_size: without the lock under which mem_cgroup_update_lru_size changes it plainly.
    size = data_race(memcg.lruvec).size
    return size >> priority or (0 if mem_cgroup_online(memcg) else min(size, SWAP_CLUSTER_MAX))


@dataclass
class ScanControl:
    """struct scan_control: one reclaim.

    Attributes:
        target: memcg that it is for, with all below it.
        nr_to_reclaim: pages that are enough.
        full_walk: whether to go through all memcgs, instead of on where the last reclaim stopped.
        priority: 1 / 2**priority of each list is looked at.
        nr_reclaimed: pages so far.
    """

    target: MemCgroup
    nr_to_reclaim: int
    full_walk: bool = False
    priority: int = DEF_PRIORITY
    nr_reclaimed: int = 0


def shrink_lruvec(swap: Swap, memcg: MemCgroup, sc: ScanControl) -> None:
    """Reclaim from one memcg: mm/vmscan.c:shrink_lruvec."""
    left = get_scan_count(swap, memcg, sc.priority)
    reclaimed = 0
    while left > 0 and reclaimed < sc.nr_to_reclaim:
        reclaimed += shrink_list(swap, memcg.lruvec, min(left, SWAP_CLUSTER_MAX))
        left -= SWAP_CLUSTER_MAX
    sc.nr_reclaimed += reclaimed


def shrink_node(swap: Swap, sc: ScanControl) -> None:
    """Reclaim from a memcg and all below it: mm/vmscan.c:shrink_node_memcgs."""
    partial = None if sc.full_walk else ReclaimCookie()
    memcg = mem_cgroup_iter(sc.target, None, partial)
    while memcg:
        shrink_lruvec(swap, memcg, sc)
        shrink_slab(swap, memcg, sc.priority)
        if partial and sc.nr_reclaimed >= sc.nr_to_reclaim:
            mem_cgroup_iter_break(sc.target, memcg)
            break
        memcg = mem_cgroup_iter(sc.target, memcg, partial)


def do_try_to_free_pages(swap: Swap, sc: ScanControl) -> int:
    """Reclaim with ever less reserve, until there is enough: mm/vmscan.c:do_try_to_free_pages.

    Returns:
        Pages that were freed; may be more or less than enough.
    """
    while sc.priority >= 0 and sc.nr_reclaimed < sc.nr_to_reclaim:
        shrink_node(swap, sc)
        sc.priority -= 1
    if sc.nr_reclaimed or sc.full_walk:
        return sc.nr_reclaimed
    return do_try_to_free_pages(swap, ScanControl(sc.target, sc.nr_to_reclaim, full_walk=True))


def try_to_free_mem_cgroup_pages(swap: Swap, memcg: MemCgroup, nr_pages: int = SWAP_CLUSTER_MAX) -> int:
    """Free pages of a memcg and all below it: mm/vmscan.c:try_to_free_mem_cgroup_pages. Returns how many."""
    with memalloc():
        return do_try_to_free_pages(swap, ScanControl(memcg, max(nr_pages, SWAP_CLUSTER_MAX)))
