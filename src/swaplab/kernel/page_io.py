"""Folios out to swap and back: zeros are noted in a bitmap, the rest goes to zswap, and from there to the device.

mm/page_io.c, 6.12 and 7.2.
"""

from __future__ import annotations

from errno import ENOENT
from functools import partial

from swaplab.kernel.folio import ZERO_PAGE, Folio
from swaplab.kernel.memcontrol import count_objcg_events
from swaplab.kernel.swap_cache import folio_free_swap
from swaplab.kernel.swap_io import swap_read_folio_bdev_sync, swap_writepage_bdev_sync
from swaplab.kernel.swapfile import Swap, SwapInfo
from swaplab.kernel.sync import WRITE_ONCE
from swaplab.kernel.zswap_pool import mem_cgroup_zswap_writeback_enabled

__all__ = ["swap_read_folio", "swap_writepage"]


def count_zero(swap: Swap, folio: Folio, event: str) -> None:
    """Count a page of zeros that is swapped, for the charged memcg: mm/page_io.c:swap_zeromap_folio_set."""
    assert folio.memcg_data
    swap.events.count(event)
    objcg = folio.memcg_data.get_objcg()
    if objcg:
        count_objcg_events(objcg, event, 1)
        objcg.refcnt.put()


def swap_writepage(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Write a locked, unmapped folio that is not dirty any more: mm/page_io.c:swap_writepage. May sleep.

    Returns:
        Whether it was, or is no longer needed in swap; it is unlocked then. False is AOP_WRITEPAGE_ACTIVATE: only
        the device is left, and the memcg must not use it. It is dirty again and still locked.
    """
    if folio_free_swap(swap, si, folio):
        folio.lock.release()
        return True
    assert folio.memcg_data
    if folio.data == ZERO_PAGE:
        si.set_zero(folio.swap, True)
        count_zero(swap, folio, "swpout_zero")
        folio.lock.release()
        return True
    si.set_zero(folio.swap, False)
    if swap.calls.zswap_store(swap, si, folio):
        folio.lock.release()
        return True
    if not folio.memcg_data.with_memcg(partial(mem_cgroup_zswap_writeback_enabled, swap.zswap)):
        WRITE_ONCE(folio).dirty = True
        return False
    swap_writepage_bdev_sync(swap, si, folio)
    return True


def swap_read_folio(swap: Swap, si: SwapInfo, folio: Folio) -> None:
    """Fill a locked folio from its slot, and unlock it: mm/page_io.c:swap_read_folio.

    It is up to date then, unless the device failed, or zswap.
    """
    assert folio.memcg_data
    if si.is_zero(folio.swap):
        count_zero(swap, folio, "swpin_zero")
        folio.data = ZERO_PAGE
        WRITE_ONCE(folio).uptodate = True
    elif swap.calls.zswap_load(swap, si, folio) == -ENOENT:
        # zswap_folio_swapin: the device is slow, which speaks for keeping more pages in zswap.
        folio.memcg_data.with_memcg(lambda memcg: memcg.lruvec.nr_disk_swapins.add(1))
        swap_read_folio_bdev_sync(swap, si, folio)
    folio.lock.release()
