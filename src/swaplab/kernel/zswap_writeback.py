"""zswap's reclaim: entries that go to the device after all.

mm/zswap.c, 6.12 and 7.2. How one is written is of a release: `swaplab.kernel.swapfile.SwapCalls`.
"""

from __future__ import annotations

from errno import EAGAIN, EEXIST, ENOENT

from swaplab.kernel.list_lru import ListLruOne, LruStatus
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_iter, mem_cgroup_online
from swaplab.kernel.swapfile import Swap
from swaplab.kernel.sync import SpinLock, queue_work
from swaplab.kernel.zswap_entry import NODE, ZswapEntry
from swaplab.kernel.zswap_pool import (
    Zswap,
    mem_cgroup_zswap_writeback_enabled,
    zswap_accept_thr_pages,
    zswap_total_pages,
)
from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES

__all__ = [
    "ShrinkWalk",
    "queue_shrink_work",
    "shrink_memcg",
    "shrink_worker",
    "zswap_memcg_offline_cleanup",
]


class ShrinkWalk:
    """One walk over a list of entries: what shrink_memcg_cb is told, and tells.

    Args:
        swap: with zswap.
        stops: whether a page found in the swap cache ends it, as it does for the shrinker.

    Attributes:
        scanned: entries met.
        met_swapcache: whether the walk ended so.
    """

    __slots__ = ("met_swapcache", "scanned", "stops", "swap")

    def __init__(self, swap: Swap, stops: bool) -> None:
        self.swap = swap
        self.stops = stops
        self.scanned = 0
        self.met_swapcache = False

    def __call__(self, entry: ZswapEntry, one: ListLruOne, lock: SpinLock) -> LruStatus:
        """A second chance, or writeback: mm/zswap.c:shrink_memcg_cb. The list's lock is held, and dropped.

        Since 6.13 it is left to the walk to take it again, of the list that is the memcg's by then.
        """
        self.scanned += 1
        if entry.referenced:
            entry.referenced = False
            return LruStatus.ROTATE
        # The task that frees the entry unlinks it; should it stay, the tail is the right place.
        one.list.move_tail(entry.lru)
        swpentry = entry.swpentry
        lock.release()
        result = self.swap.calls.zswap_writeback_entry(self.swap, entry, swpentry)
        status = self._status(result)
        if self.swap.zswap.list_lru.relocks:
            lock.acquire()
        return status

    def _status(self, result: int) -> LruStatus:
        stats = self.swap.zswap.stats
        if not result:
            stats.count("written_back_pages")
            return LruStatus.REMOVED_RETRY
        stats.count("reject_reclaim_fail")
        if result == -EEXIST and self.stops:
            self.met_swapcache = True
            return LruStatus.STOP
        return LruStatus.RETRY


def shrink_memcg(swap: Swap, memcg: MemCgroup) -> int:
    """Write one entry of a memcg back: mm/zswap.c:shrink_memcg. May sleep.

    Returns:
        0; -EAGAIN if the one that was tried stays; -ENOENT if there is none, or it must not be written.
    """
    if not mem_cgroup_zswap_writeback_enabled(swap.zswap, memcg) or not mem_cgroup_online(memcg):
        return -ENOENT
    walk = ShrinkWalk(swap, stops=False)
    shrunk = swap.zswap.list_lru.walk_one(NODE, memcg, walk, 1)
    if not walk.scanned:
        return -ENOENT
    return 0 if shrunk else -EAGAIN


# The worker -----------------------------------------------------------------------------------------------------------


def queue_shrink_work(swap: Swap) -> None:
    """Have entries written back until zswap accepts pages again, unless that is about to begin."""
    queue_work(swap.zswap.shrink_wq, swap.shrink_work)


def _next_online(zswap: Zswap) -> MemCgroup | None:
    """Advance the cursor to the next memcg that is online, and get a reference besides the cursor's."""
    with zswap.shrink_lock:
        while True:
            memcg = zswap.next_shrink = mem_cgroup_iter(zswap.root, zswap.next_shrink)
            if not memcg or memcg.tryget_online():
                return memcg


def shrink_worker(swap: Swap) -> None:
    """Write entries back, one memcg after the other, down to the accept threshold: mm/zswap.c:shrink_worker.

    It gives up after 16 failures: a memcg whose entry stays, or a walk over all of them that found no entry.
    """
    zswap = swap.zswap
    threshold = zswap_accept_thr_pages(zswap)
    failures = attempts = 0
    while True:
        memcg = _next_online(zswap)
        if not memcg:
            failures += not attempts
            attempts = 0
        else:
            result = shrink_memcg(swap, memcg)
            memcg.put()
            if result != -ENOENT:
                attempts += 1
                failures += result != 0
        if failures == MAX_RECLAIM_RETRIES or zswap_total_pages(zswap) <= threshold:
            return


def zswap_memcg_offline_cleanup(zswap: Zswap, memcg: MemCgroup) -> None:
    """Move the cursor off a memcg that goes offline: mm/zswap.c:zswap_memcg_offline_cleanup.

    This is done once for each, so that the cursor must not stay on one for which it was done.
    """
    with zswap.shrink_lock:
        if zswap.next_shrink is not memcg:
            return
        while True:
            following = zswap.next_shrink = mem_cgroup_iter(zswap.root, zswap.next_shrink)
            if not following or mem_cgroup_online(following):
                return
