"""A swap slot, as far as races about its reuse need one."""

from __future__ import annotations

from errno import EEXIST, ENOENT
from typing import Final

from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock

__all__ = [
    "SWAP_HAS_CACHE",
    "SwapSlot",
    "get_swap_page",
    "read_disk",
    "swap_free",
    "swapcache_clear",
    "swapcache_prepare",
    "write_disk",
]

SWAP_HAS_CACHE = 0x40


class SwapSlot(Shared):
    """A slot of a swap device, with the lock that guards it.

    Attributes:
        swap_map: how many page tables name it, and SWAP_HAS_CACHE for a task that pins it.
        disk: what the device has there.
    """

    name: Final[str]
    swap_map: int
    disk: str

    def __init__(self, swap_map: int, disk: str = "zeros", name: str = "X") -> None:
        self.name = name
        self.swap_map = swap_map
        self.disk = disk
        self.lock = SpinLock(self, "lock")


def swapcache_prepare(slot: SwapSlot) -> int:
    """mm/swapfile.c:swapcache_prepare, 6.12: pin a slot in use; 0, -ENOENT or -EEXIST."""
    with slot.lock:
        found = READ_ONCE(slot).swap_map
        if not found:
            return -ENOENT
        if found & SWAP_HAS_CACHE:
            return -EEXIST
        WRITE_ONCE(slot).swap_map = found | SWAP_HAS_CACHE
        return 0


def swapcache_clear(slot: SwapSlot) -> bool:
    """mm/swapfile.c:swapcache_clear, 6.12: unpin a slot; return whether it is free now."""
    with slot.lock:
        left = READ_ONCE(slot).swap_map & ~SWAP_HAS_CACHE
        WRITE_ONCE(slot).swap_map = left
        return not left


def swap_free(slot: SwapSlot) -> bool:
    """mm/swapfile.c:swap_free, 6.12: one page table less names a slot; return whether it is free now."""
    with slot.lock:
        left = READ_ONCE(slot).swap_map - 1
        WRITE_ONCE(slot).swap_map = left
        return not left


def get_swap_page(slot: SwapSlot) -> bool:
    """mm/swap_slots.c:folio_alloc_swap, 6.12: pin a free slot; return whether it was.

    Differs: the page table that is going to name it is counted already.
    """
    with slot.lock:
        if READ_ONCE(slot).swap_map:
            return False
        WRITE_ONCE(slot).swap_map = SWAP_HAS_CACHE | 1
        return True


def read_disk(slot: SwapSlot) -> str:
    """mm/page_io.c:swap_read_folio, 6.12; other tasks may read or write the device meanwhile."""
    return READ_ONCE(slot).disk


def write_disk(slot: SwapSlot, data: str) -> None:
    """mm/page_io.c:__swap_writepage, 6.12."""
    WRITE_ONCE(slot).disk = data
