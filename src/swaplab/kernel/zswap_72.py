"""zswap's front as of 7.2: what does not compress is kept as it is, and an entry is found before it is finished.

mm/zswap.c, 7.2.
"""

from __future__ import annotations

from errno import EEXIST, EIO, ENOENT, ENOMEM
from functools import partial

from swaplab.compress import compress
from swaplab.kernel.folio import Folio, folio_put
from swaplab.kernel.memcontrol import (
    ObjCgroup,
    count_objcg_events,
    obj_cgroup_charge_zswap,
)
from swaplab.kernel.swap_io import swap_writepage_bdev_sync
from swaplab.kernel.swapfile import Swap, SwapInfo, get_swap_device
from swaplab.kernel.sync import WRITE_ONCE, KernelBug, current
from swaplab.kernel.zsmalloc import zs_free, zs_malloc, zs_map_object, zs_obj_write
from swaplab.kernel.zswap import alloc_lists, may_zswap, store_or_invalidate
from swaplab.kernel.zswap_entry import ZswapEntry, zswap_entry_free, zswap_lru_add
from swaplab.kernel.zswap_pool import (
    Zswap,
    ZswapPool,
    mem_cgroup_zswap_writeback_enabled,
    zswap_check_limits,
    zswap_decompress,
    zswap_pool_current_get,
)
from swaplab.linux.page import PAGE_SIZE

__all__ = ["zswap_load", "zswap_store", "zswap_writeback_entry"]


def zswap_store(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Take a locked folio in the swap cache instead of the device: mm/zswap.c:zswap_store. May sleep."""
    return store_or_invalidate(swap, si, folio, _store)


def _store(swap: Swap, si: SwapInfo, folio: Folio, objcg: ObjCgroup | None) -> bool:
    """Store a folio, unless a limit or lack of memory is in the way. The caller's objcg is put if that is done."""
    zswap = swap.zswap
    if (objcg and not may_zswap(swap, objcg)) or zswap_check_limits(zswap):
        return False
    pool = zswap_pool_current_get(zswap)
    if not pool:
        return False
    is_stored = alloc_lists(zswap, objcg) and zswap_store_page(zswap, si, folio, objcg, pool)
    if is_stored and objcg:
        count_objcg_events(objcg, "zswpout", 1)
    if is_stored:
        zswap.stats.count("zswpout")
    pool.ref.put()
    if is_stored and objcg:
        objcg.refcnt.put()
    return is_stored


def zswap_store_page(zswap: Zswap, si: SwapInfo, folio: Folio, objcg: ObjCgroup | None, pool: ZswapPool) -> bool:
    """Store a page: mm/zswap.c:zswap_store_page.

    The entry is in the tree before it says what it is of: others who store or invalidate are kept off by the folio
    lock, those who write entries back by that it is on no list yet.
    """
    if current.runtime.fails("kmalloc"):
        zswap.stats.count("reject_kmemcache_fail")
        return False
    compressed = zswap_compress(pool, folio)
    if not compressed:
        return False
    handle, length = compressed
    # xa_store, which may need a node of the tree.
    if current.runtime.fails("kmalloc"):
        zswap.stats.count("reject_alloc_fail")
        zs_free(pool.zpool, handle)
        return False
    entry = ZswapEntry.unfinished(handle, length)
    old = si.tree.xa.store(folio.swap, entry)
    if old:
        zswap_entry_free(zswap, old)
    pool.ref.get()
    if objcg:
        objcg.refcnt.get()
        obj_cgroup_charge_zswap(objcg, length)
    zswap.stored_pages.add(1)
    if length == PAGE_SIZE:
        zswap.stored_incompressible_pages.add(1)
    entry.pool = pool
    entry.swpentry = folio.swap
    entry.objcg = objcg
    entry.referenced = True
    zswap_lru_add(zswap, entry)
    return True


def zswap_compress(pool: ZswapPool, folio: Folio) -> tuple[int, int] | None:
    """Compress a page and put it into a pool, as it is if it does not get smaller: mm/zswap.c:zswap_compress.

    Where writeback is forbidden it is refused instead: it would take as much memory, and never leave it.

    Returns:
        Handle and length, or None.
    """
    zswap = pool.zswap
    data = compress(pool.tfm_name, folio.data)
    if len(data) >= PAGE_SIZE or current.runtime.fails("compress"):
        assert folio.memcg_data
        if not folio.memcg_data.with_memcg(partial(mem_cgroup_zswap_writeback_enabled, zswap)):
            # crypto/deflate.c alone says ENOSPC of what does not fit.
            is_poor = pool.tfm_name == "deflate" and len(data) > PAGE_SIZE
            zswap.stats.count("reject_compress_poor" if is_poor else "reject_compress_fail")
            return None
        data = folio.data
    handle = zs_malloc(pool.zpool, len(data))
    if handle < 0:
        zswap.stats.count("reject_alloc_fail")
        return None
    zs_obj_write(pool.zpool, handle, data)
    return handle, len(data)


def decompress_entry(entry: ZswapEntry) -> bytes | None:
    """Get an entry's page back, or None if its bytes are not what a compressor made: mm/zswap.c:zswap_decompress."""
    if entry.length == PAGE_SIZE:
        return zs_map_object(entry.pool.zpool, entry.handle, PAGE_SIZE)
    try:
        return zswap_decompress(entry.pool, entry.handle, entry.length)
    except KernelBug:
        entry.pool.zswap.stats.count("decompress_fail")
        return None


def zswap_load(swap: Swap, si: SwapInfo, folio: Folio) -> int:
    """Fill a locked folio, which is in the swap cache, if zswap has its page: mm/zswap.c:zswap_load.

    It takes the entry's place, and is dirty.

    Returns:
        0; -ENOENT if zswap has nothing, -EIO if that is broken: it stays, and the folio is not up to date.
    """
    zswap = swap.zswap
    entry = si.tree.xa.load(folio.swap)
    if not entry:
        return -ENOENT
    data = decompress_entry(entry)
    if data is None:
        return -EIO
    folio.data = data
    WRITE_ONCE(folio).uptodate = True
    zswap.stats.count("zswpin")
    if entry.objcg:
        count_objcg_events(entry.objcg, "zswpin", 1)
    WRITE_ONCE(folio).dirty = True
    si.tree.xa.erase(folio.swap)
    zswap_entry_free(zswap, entry)
    return 0


def zswap_writeback_entry(swap: Swap, entry: ZswapEntry, swpentry: int) -> int:
    """Write an entry to the device: mm/zswap.c:zswap_writeback_entry. May sleep.

    The entry is on a list that is not locked any more, and may be gone. Nothing may look at it before a folio in the
    swap cache pins its slot, so that no other page can take that, and the tree says that the slot's entry is still it.

    Returns:
        0; -EEXIST if the slot has a folio, be it one that is yet to be charged, or there is no such area any more;
        -ENOENT if the slot is free; -ENOMEM if it could get no folio, or the entry is gone; -EIO if it is broken.
    """
    si = get_swap_device(swap, swpentry)
    if not si:
        return -EEXIST
    folio = si.alloc_folio(swap, swpentry, swap.zswap.root)
    si.users.put()  # the folio keeps swapoff from being done
    if isinstance(folio, int):
        return folio
    result = _fill_from(si, entry, folio)
    if not result:
        swap.zswap.stats.count("zswpwb")
        if entry.objcg:
            count_objcg_events(entry.objcg, "zswpwb", 1)
        zswap_entry_free(swap.zswap, entry)
        WRITE_ONCE(folio).uptodate = True
        WRITE_ONCE(folio).reclaim = True
        swap_writepage_bdev_sync(swap, si, folio)
    else:
        si.delete_folio(swap, folio)
        folio.lock.release()
    folio_put(folio)
    return result


def _fill_from(si: SwapInfo, entry: ZswapEntry, folio: Folio) -> int:
    """Fill a locked folio in the swap cache from an entry, if that is its slot's, and take that from the tree."""
    if si.tree.xa.load(folio.swap) is not entry:
        return -ENOMEM
    data = decompress_entry(entry)
    if data is None:
        return -EIO
    folio.data = data
    si.tree.xa.erase(folio.swap)
    return 0
