"""Folios to the swap device and back, with nothing in between: the lower half of mm/page_io.c, 6.12."""

from __future__ import annotations

from swaplab.kernel.folio import Folio, folio_end_writeback
from swaplab.kernel.swapfile import Swap, SwapInfo
from swaplab.kernel.sync import WRITE_ONCE

__all__ = ["swap_read_folio_bdev_sync", "swap_writepage_bdev_sync"]


def swap_writepage_bdev_sync(swap: Swap, si: SwapInfo, folio: Folio) -> None:
    """Write a locked folio to its slot, and unlock it meanwhile: mm/page_io.c:swap_writepage_bdev_sync.

    If the device fails the folio is dirty again, which keeps it in memory. The caller has a reference.
    """
    swap.events.count("pswpout")
    slot, data = folio.swap, folio.data
    WRITE_ONCE(folio).writeback = True
    folio.lock.release()
    if not si.device.write(slot, data):
        WRITE_ONCE(folio).dirty = True
        WRITE_ONCE(folio).reclaim = False
    folio_end_writeback(folio)


def swap_read_folio_bdev_sync(swap: Swap, si: SwapInfo, folio: Folio) -> None:
    """Read a locked folio from its slot: mm/page_io.c:swap_read_folio_bdev_sync.

    If the device fails it is not up to date. Differs: the lock is the caller's to release.
    """
    swap.events.count("pswpin")
    data = si.device.read(folio.swap)
    if data is not None:
        folio.data = data
        WRITE_ONCE(folio).uptodate = True
