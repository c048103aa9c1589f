"""zswap's front: pages on their way to the swap device are compressed and kept, and found again.

mm/zswap.c, 6.12.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOENT, ENOMEM

from swaplab.kernel.folio import Folio, folio_put
from swaplab.kernel.memcontrol import (
    ObjCgroup,
    count_objcg_events,
    get_mem_cgroup_from_objcg,
    obj_cgroup_charge_zswap,
    obj_cgroup_may_zswap,
)
from swaplab.kernel.swap_io import swap_writepage_bdev_sync
from swaplab.kernel.swapfile import Swap, SwapInfo, get_swap_device
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, current
from swaplab.kernel.zsmalloc import zs_free
from swaplab.kernel.zswap_entry import ZswapEntry, zswap_entry_free, zswap_invalidate, zswap_lru_add
from swaplab.kernel.zswap_pool import (
    Zswap,
    ZswapPool,
    zswap_check_limits,
    zswap_compress,
    zswap_decompress,
    zswap_pool_current_get,
)
from swaplab.kernel.zswap_writeback import queue_shrink_work, shrink_memcg
from swaplab.linux.page import PAGE_SIZE

__all__ = ["alloc_lists", "may_zswap", "store_or_invalidate", "zswap_load", "zswap_store", "zswap_writeback_entry"]


Store = Callable[[Swap, SwapInfo, Folio, ObjCgroup | None], bool]


def zswap_store(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Take a locked folio in the swap cache instead of the device: mm/zswap.c:zswap_store. May sleep."""
    return store_or_invalidate(swap, si, folio, _store)


def store_or_invalidate(swap: Swap, si: SwapInfo, folio: Folio, store: Store) -> bool:
    """Store a folio, in the order of a release; if it is not taken, what there is for its slot is older, and goes."""
    zswap = swap.zswap
    if READ_ONCE(zswap).enabled:
        assert folio.memcg_data
        objcg = folio.memcg_data.get_objcg()
        if store(swap, si, folio, objcg):
            return True
        if objcg:
            objcg.refcnt.put()
        if READ_ONCE(zswap).pool_reached_full:
            queue_shrink_work(swap)
    zswap_invalidate(zswap, si.tree, folio.swap)
    return False


def _store(swap: Swap, si: SwapInfo, folio: Folio, objcg: ObjCgroup | None) -> bool:
    """Store a folio, unless a limit or lack of memory is in the way."""
    zswap = swap.zswap
    if (objcg and not may_zswap(swap, objcg)) or zswap_check_limits(zswap):
        return False
    if current.runtime.fails("kmalloc"):
        zswap.stats.count("reject_kmemcache_fail")
        return False
    pool = zswap_pool_current_get(zswap)
    if not pool:
        return False
    entry = _compress(zswap, pool, folio, objcg)
    if not entry:
        pool.ref.put()
        return False
    _publish(zswap, si, entry)
    return True


def may_zswap(swap: Swap, objcg: ObjCgroup) -> bool:
    """Whether the cgroup's limits allow one more page, or one of its own made room for it."""
    if obj_cgroup_may_zswap(objcg):
        return True
    memcg = get_mem_cgroup_from_objcg(objcg)
    result = shrink_memcg(swap, memcg)
    memcg.put()
    return not result


def alloc_lists(zswap: Zswap, objcg: ObjCgroup | None) -> bool:
    """Make sure that there is a list for an entry: mm/list_lru.c:memcg_list_lru_alloc."""
    if not objcg:
        return True
    memcg = get_mem_cgroup_from_objcg(objcg)
    error = zswap.list_lru.alloc(memcg)
    memcg.put()
    return not error


def _compress(zswap: Zswap, pool: ZswapPool, folio: Folio, objcg: ObjCgroup | None) -> ZswapEntry | None:
    """Make sure that there is a list for an entry, and make the entry. Differs: it is made once it is filled."""
    if not alloc_lists(zswap, objcg):
        return None
    compressed = zswap_compress(pool, folio.data)
    if not compressed:
        return None
    handle, length = compressed
    # xa_store, which may need a node of the tree.
    if current.runtime.fails("kmalloc"):
        zswap.stats.count("reject_alloc_fail")
        zs_free(pool.zpool, handle)
        return None
    return ZswapEntry(pool, folio.swap, handle, length, objcg)


def _publish(zswap: Zswap, si: SwapInfo, entry: ZswapEntry) -> None:
    """Put an entry into the tree, then on its list, from where reclaim may take it at once: hence last.

    The folio lock keeps other stores and invalidations away.
    """
    old = si.tree.xa.store(entry.swpentry, entry)
    if old:
        zswap_entry_free(zswap, old)
    if entry.objcg:
        obj_cgroup_charge_zswap(entry.objcg, entry.length)
        count_objcg_events(entry.objcg, "zswpout", 1)
    zswap_lru_add(zswap, entry)
    zswap.stored_pages.add(1)
    if entry.length == PAGE_SIZE:
        zswap.stored_incompressible_pages.add(1)
    zswap.stats.count("zswpout")


def zswap_load(swap: Swap, si: SwapInfo, folio: Folio) -> int:
    """Fill a locked folio if zswap has its page: mm/zswap.c:zswap_load. Returns 0, or -ENOENT if it has not.

    A folio in the swap cache takes the entry's place, and is dirty. A private one may be dropped again if the fault
    does not succeed: the entry stays until the slot is freed.
    """
    zswap = swap.zswap
    swapcache = folio.swapcache
    entry = si.tree.xa.erase(folio.swap) if swapcache else si.tree.xa.load(folio.swap)
    if not entry:
        return -ENOENT
    folio.data = zswap_decompress(entry.pool, entry.handle, entry.length)
    zswap.stats.count("zswpin")
    if entry.objcg:
        count_objcg_events(entry.objcg, "zswpin", 1)
    if swapcache:
        zswap_entry_free(zswap, entry)
        WRITE_ONCE(folio).dirty = True
    WRITE_ONCE(folio).uptodate = True
    return 0


def zswap_writeback_entry(swap: Swap, entry: ZswapEntry, swpentry: int) -> int:
    """Write an entry to the device: mm/zswap.c:zswap_writeback_entry. May sleep.

    The entry is on a list that is not locked any more, and may be gone. Nothing may look at it before a folio in the
    swap cache pins its slot, so that no other page can take that, and the tree says that the slot's entry is still it.

    Returns:
        0; -EEXIST if the slot has a folio; -ENOMEM if it could get none, or the entry is gone.
    """
    si = get_swap_device(swap, swpentry)
    if not si:
        return -ENOMEM
    folio = si.alloc_folio(swap, swpentry, swap.zswap.root)
    si.users.put()  # the folio keeps swapoff from being done
    if isinstance(folio, int):
        return folio
    if si.tree.xa.cmpxchg(swpentry, entry, None) is not entry:
        si.delete_folio(swap, folio)
        folio.lock.release()
        folio_put(folio)
        return -ENOMEM
    folio.data = zswap_decompress(entry.pool, entry.handle, entry.length)
    swap.zswap.stats.count("zswpwb")
    if entry.objcg:
        count_objcg_events(entry.objcg, "zswpwb", 1)
    zswap_entry_free(swap.zswap, entry)
    WRITE_ONCE(folio).uptodate = True
    WRITE_ONCE(folio).reclaim = True
    swap_writepage_bdev_sync(swap, si, folio)
    folio_put(folio)
    return 0
