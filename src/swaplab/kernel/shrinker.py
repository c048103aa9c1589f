"""Shrinkers: how reclaim asks zswap to give memory back.

mm/shrinker.c, 6.12, and zswap's shrinker of mm/zswap.c. Differs: there is one shrinker, and one node.
"""

from __future__ import annotations

from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_online
from swaplab.kernel.swapfile import Swap
from swaplab.kernel.sync import READ_ONCE, data_race, rcu, relax
from swaplab.kernel.zswap_entry import NODE
from swaplab.kernel.zswap_pool import mem_cgroup_zswap_writeback_enabled
from swaplab.kernel.zswap_writeback import ShrinkWalk
from swaplab.linux.page import PAGE_SHIFT

__all__ = ["do_shrink_slab", "shrink_slab", "zswap_shrinker_count", "zswap_shrinker_scan"]

SHRINK_BATCH = 128
SEEKS = 2


def list_lru_shrink_count(swap: Swap, memcg: MemCgroup) -> int:
    """Entries on a memcg's list, never negative: mm/list_lru.c:list_lru_count_one."""
    with rcu:
        one = swap.zswap.list_lru.from_memcg_idx(NODE, READ_ONCE(memcg).kmemcg_id)
        # list_lru_count_one, too, reads without the lock what is changed plainly under it.
        return max(0, data_race(one).nr_items) if one else 0


def spend_protection(memcg: MemCgroup, freeable: int) -> int:
    """Entries that pages read from the device lately protect, which are spent by that: zswap_shrinker_count."""
    swapins = memcg.lruvec.nr_disk_swapins
    while True:
        now = swapins.read()
        protected = min(freeable, now)
        if swapins.cmpxchg(now, now - protected) == now:
            return protected
        relax()


def zswap_shrinker_count(swap: Swap, memcg: MemCgroup) -> int:
    """Entries worth writing back: mm/zswap.c:zswap_shrinker_count."""
    if not READ_ONCE(swap.zswap).shrinker_enabled or not mem_cgroup_zswap_writeback_enabled(swap.zswap, memcg):
        return 0
    stored, freeable = memcg.zswapped.read(), list_lru_shrink_count(swap, memcg)
    if not stored or not freeable:
        return 0
    freeable -= spend_protection(memcg, freeable)
    return freeable * (memcg.zswap_bytes.read() >> PAGE_SHIFT) // stored


def zswap_shrinker_scan(swap: Swap, memcg: MemCgroup, nr_to_scan: int) -> int:
    """Write entries back; how many, or -1, SHRINK_STOP: mm/zswap.c:zswap_shrinker_scan."""
    walk = ShrinkWalk(swap, stops=True)
    written = swap.zswap.list_lru.walk_one(NODE, memcg, walk, nr_to_scan)
    return -1 if walk.met_swapcache or not written else written


def do_shrink_slab(swap: Swap, memcg: MemCgroup, priority: int) -> None:
    """Scan a share of what could go, and remember what was not: mm/shrinker.c:do_shrink_slab."""
    freeable = zswap_shrinker_count(swap, memcg)
    if not freeable:
        return
    deferred = memcg.nr_deferred.xchg(0)
    delta = (freeable >> priority) * 4 // SEEKS
    total_scan = min((deferred >> priority) + delta, 2 * freeable)
    scanned = 0
    while total_scan >= SHRINK_BATCH or total_scan >= freeable:
        batch = min(SHRINK_BATCH, total_scan)
        if zswap_shrinker_scan(swap, memcg, batch) < 0:
            break
        total_scan -= batch
        scanned += batch
    memcg.nr_deferred.add(min(max(deferred + delta - scanned, 0), 2 * freeable))


def shrink_slab(swap: Swap, memcg: MemCgroup, priority: int) -> None:
    """Let the shrinker look at a memcg that may have something for it: mm/shrinker.c:shrink_slab."""
    if not memcg.parent or (mem_cgroup_online(memcg) and READ_ONCE(memcg).shrinker_bit):
        do_shrink_slab(swap, memcg, priority)
