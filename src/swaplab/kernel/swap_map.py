"""Swap slots as of 6.12: a map of bytes and an array of owners beside the swap cache's array of folios.

mm/swapfile.c and mm/swap_slots.c, 6.12, as for a rotational device, which is what virtio disks say they are: the area's
lock guards the map, slots are taken in ascending order, and an empty cluster is looked for after each of its size.

Differs: no per-CPU caches of slots: they are taken and given back one by one.
"""

from __future__ import annotations

from errno import EEXIST, ENOENT
from typing import Final

from swaplab.kernel.folio import Folio
from swaplab.kernel.memcontrol import mem_cgroup_uncharge_swap
from swaplab.kernel.swap_device import SwapFile
from swaplab.kernel.swapfile import SlotUse, Swap, SwapInfo
from swaplab.kernel.sync import (
    WRITE_ONCE,
    Array,
    Bitmap,
    KernelWarning,
    Shared,
    XArray,
    kfree,
    smp_load_acquire,
    smp_store_release,
)
from swaplab.kernel.sync.bugs import Broken
from swaplab.kernel.zswap_entry import zswap_invalidate
from swaplab.linux.swap import SWAPFILE_CLUSTER

__all__ = [
    "SWAP_HAS_CACHE",
    "SwapMapInfo",
    "put_swap_folio",
    "scan_swap_map_slots",
    "swap_swapcount",
    "swapcache_prepare",
]

SWAP_HAS_CACHE = 0x40
SWAP_MAP_MAX = 0x3E
FREE = b"\0"


class SwapMap(Shared):
    """What swapoff frees of a swap area: swap_map, zeromap, swap_cgroup_ctrl.

    Attributes:
        counts: by slot, page table entries that name it, with SWAP_HAS_CACHE; uint8[max], under the area's lock.
        zeromap: by slot, whether the page is all zeros; bits[max]. The holder of the folio's lock decides.
        cgroup_ids: by slot, id of the memcg that is charged, 0 for none; int[max]. The owner of the slot decides.
    """

    counts: Final[Array[int]]
    zeromap: Final[Bitmap]
    cgroup_ids: Final[Array[int]]

    def __init__(self, slots: int) -> None:
        self.counts = Array(self, "counts", bytearray(slots))
        self.zeromap = Bitmap(self, "zeromap", slots)
        self.cgroup_ids = Array(self, "cgroup_ids", [0] * slots)


class SwapMapInfo(SwapInfo):
    """struct swap_info_struct, 6.12: slots by a map of bytes, under the area's lock.

    Attributes:
        inuse: slots taken; changed under the lock.
        cluster_next, cluster_nr: the next slot, and how many are left of the cluster. Under the lock.
        swap_cache: folios by slot: swapper_spaces.
    """

    swap_map: Final[SwapMap]
    swap_cache: Final[XArray[Folio]]
    inuse: int
    cluster_next: int
    cluster_nr: int

    def __init__(self, device: SwapFile, slots: int, synchronous: bool) -> None:
        super().__init__(device, slots, synchronous)
        self.swap_map = SwapMap(slots)
        self.swap_cache = XArray(self, "swap_cache")
        self.inuse = self.cluster_nr = 0
        self.cluster_next = 1

    def inuse_pages(self) -> int:
        """swap_usage_in_pages."""
        return smp_load_acquire(self).inuse

    def dup(self, entry: int) -> None:
        """swap_duplicate."""
        swap_duplicate(self, entry)

    def put(self, swap: Swap, entry: int) -> bool:
        """swap_free_nr."""
        return swap_free(swap, self, entry) == SWAP_HAS_CACHE

    def count(self, entry: int) -> int:
        """swap_swapcount."""
        return swap_swapcount(self, entry)

    def set_zero(self, entry: int, is_zero: bool) -> None:
        """swap_zeromap_folio_set and swap_zeromap_folio_clear, mm/page_io.c."""
        if is_zero:
            self.swap_map.zeromap.set_bit(entry)
        else:
            self.swap_map.zeromap.clear_bit(entry)

    def is_zero(self, entry: int) -> bool:
        """swap_zeromap_batch."""
        return self.swap_map.zeromap.test_bit(entry)

    def cached(self) -> tuple[int, ...]:
        """What is in the swap cache."""
        return self.swap_cache.indices()

    def free(self) -> None:
        """The end of swapoff."""
        kfree(self.swap_map)

    def uses(self) -> list[SlotUse]:
        """What there is of each slot, which has SWAP_HAS_CACHE if the swap cache has a folio for it.

        Raises:
            Broken: map and swap cache do not agree.
        """
        found, cached = [], self.swap_cache.items
        owners, zeros = self.swap_map.cgroup_ids.items, self.swap_map.zeromap.items
        for slot, used in enumerate(self.swap_map.counts.items):
            if bool(used & SWAP_HAS_CACHE) != (slot in cached):
                raise Broken(f"slot {slot} is used as {used:#x}, and has {cached.get(slot)} in the swap cache")
            count = used & ~SWAP_HAS_CACHE
            found.append(SlotUse(bool(used), count, cached.get(slot), bool(zeros[slot]), owners[slot]))
        return found


# Taking slots ---------------------------------------------------------------------------------------------------------


def scan_swap_map_slots(swap: Swap, si: SwapMapInfo) -> int:
    """Take the next free slot for the swap cache: mm/swapfile.c:scan_swap_map_slots.

    Differs: with the lock held all the time, and without the reclaim of slots that only the swap cache has, which is
    the caller's.

    Returns:
        The slot, or 0 if none is free.
    """
    with si.lock:
        if not si.writeok:
            return 0
        counts = si.swap_map.counts
        if not si.cluster_nr:
            si.cluster_nr = SWAPFILE_CLUSTER
            cluster = counts.find(bytes(SWAPFILE_CLUSTER), 1)
            if cluster > 0:
                si.cluster_next = cluster
        si.cluster_nr -= 1
        slot = counts.find(FREE, si.cluster_next)
        if slot < 0:
            slot = counts.find(FREE, 1)
        if slot < 0:
            return 0
        WRITE_ONCE(counts)[slot] = SWAP_HAS_CACHE
        si.cluster_next = slot + 1
        WRITE_ONCE(si).inuse = si.inuse + 1
        swap.nr_swap_pages.add(-1)
        return slot


def _swap_duplicate(si: SwapMapInfo, entry: int, usage: int) -> int:
    """mm/swapfile.c:__swap_duplicate. Differs: no counts above SWAP_MAP_MAX."""
    with si.lock:
        counts = si.swap_map.counts
        used = counts[entry]
        if not used:
            return -ENOENT
        if usage == SWAP_HAS_CACHE:
            if used & SWAP_HAS_CACHE:
                return -EEXIST
            WRITE_ONCE(counts)[entry] = used | SWAP_HAS_CACHE
            return 0
        if used & ~SWAP_HAS_CACHE >= SWAP_MAP_MAX:
            raise KernelWarning(f"slot {entry} is named by {used & ~SWAP_HAS_CACHE} page tables, and by another")
        WRITE_ONCE(counts)[entry] = used + usage
        return 0


def swap_duplicate(si: SwapMapInfo, entry: int) -> int:
    """One more page table names a slot: mm/swapfile.c:swap_duplicate. Returns 0 or -ENOENT."""
    return _swap_duplicate(si, entry, 1)


def swapcache_prepare(si: SwapMapInfo, entry: int) -> int:
    """Pin a slot for the swap cache: mm/swapfile.c:swapcache_prepare.

    Returns:
        0, -EEXIST if another task has done so, -ENOENT if the slot is free.
    """
    return _swap_duplicate(si, entry, SWAP_HAS_CACHE)


def swap_swapcount(si: SwapMapInfo, entry: int) -> int:
    """How many page tables name a slot: mm/swapfile.c:swap_swapcount."""
    with si.lock:
        return si.swap_map.counts[entry] & ~SWAP_HAS_CACHE


# Giving them back -----------------------------------------------------------------------------------------------------


def _swap_entry_free_locked(si: SwapMapInfo, entry: int, usage: int) -> int:
    """Drop one use of a slot; what is left: mm/swapfile.c:__swap_entry_free_locked.

    A slot without any keeps SWAP_HAS_CACHE, so that it is not taken before `free_swap_slot`.
    """
    counts = si.swap_map.counts
    used = counts[entry]
    if not (used & SWAP_HAS_CACHE if usage == SWAP_HAS_CACHE else used & ~SWAP_HAS_CACHE):
        raise KernelWarning(f"slot {entry} is freed by who does not have it: {used:#x}")
    left = used - usage
    WRITE_ONCE(counts)[entry] = left or SWAP_HAS_CACHE
    return left


def _swap_entry_free(swap: Swap, si: SwapMapInfo, entry: int, usage: int) -> int:
    """mm/swapfile.c:__swap_entry_free."""
    with si.lock:
        left = _swap_entry_free_locked(si, entry, usage)
    if not left:
        free_swap_slot(swap, si, entry)
    return left


def swap_free(swap: Swap, si: SwapMapInfo, entry: int) -> int:
    """One page table less names a slot: mm/swapfile.c:swap_free_nr. Returns what is left."""
    return _swap_entry_free(swap, si, entry, 1)


def put_swap_folio(swap: Swap, si: SwapMapInfo, entry: int) -> None:
    """The swap cache does not need a slot any more: mm/swapfile.c:put_swap_folio; swapcache_clear is the same."""
    _swap_entry_free(swap, si, entry, SWAP_HAS_CACHE)


def free_swap_slot(swap: Swap, si: SwapMapInfo, entry: int) -> None:
    """Free a slot that is not needed any more: mm/swap_slots.c:free_swap_slot, mm/swapfile.c:swap_entry_range_free."""
    zswap_invalidate(swap.zswap, si.tree, entry)
    with si.lock:
        swap_map = si.swap_map
        used = swap_map.counts[entry]
        if used != SWAP_HAS_CACHE:
            raise KernelWarning(f"slot {entry} is freed, but used: {used:#x}")
        mem_cgroup_uncharge_swap(swap.zswap.root.memcgs, swap_map.cgroup_ids[entry], 1)
        WRITE_ONCE(swap_map.cgroup_ids)[entry] = 0
        swap_map.zeromap.clear_bit(entry)
        WRITE_ONCE(swap_map.counts)[entry] = 0
        swap.nr_swap_pages.add(1)
        # try_to_unuse looks at this without the lock: last of all.
        smp_store_release(si).inuse = si.inuse - 1
