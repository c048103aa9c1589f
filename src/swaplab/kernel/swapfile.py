"""Swap areas and their slots.

mm/swapfile.c and mm/swap_slots.c, 6.12, as for a rotational device, which is what virtio disks say they are: the area's
lock guards the map, slots are taken in ascending order, and an empty cluster is looked for after each of its size.

Differs: one area at a time, so a swp_entry_t is the slot's number alone, and 0, the header's place, is none. No per-CPU
caches of slots: they are taken and given back one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EEXIST, ENOENT
from typing import Final

from swaplab.kernel.folio import Folio
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_uncharge_swap
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.swap_device import SwapFile
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    Bitmap,
    KernelWarning,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    XArray,
    smp_load_acquire,
    smp_store_release,
)
from swaplab.kernel.vmstat import Counters
from swaplab.kernel.zswap_entry import ZswapTree, zswap_invalidate
from swaplab.kernel.zswap_pool import Zswap
from swaplab.linux.swap import SWAPFILE_CLUSTER

__all__ = [
    "SWAP_HAS_CACHE",
    "Swap",
    "SwapInfo",
    "SwapMap",
    "free_swap_slot",
    "get_swap_device",
    "put_swap_folio",
    "scan_swap_map_slots",
    "swap_duplicate",
    "swap_free",
    "swap_swapcount",
    "swapcache_prepare",
    "swapon",
    "vm_swap_full",
]

SWAP_HAS_CACHE = 0x40
SWAP_MAP_MAX = 0x3E
FREE = b"\0"


class SwapMap(Shared):
    """What swapoff frees of a swap area: swap_map, zeromap, swap_cgroup_ctrl.

    Attributes:
        counts: by slot, page table entries that name it, with SWAP_HAS_CACHE; uint8[max], under the area's lock.
        zeromap: by slot, whether the page is all zeros; bits[max]. Who has the slot's folio locked decides.
        cgroup_ids: by slot, id of the memcg that is charged, 0 for none; int[max]. Whoever has the slot decides.
    """

    counts: Final[Array[int]]
    zeromap: Final[Bitmap]
    cgroup_ids: Final[Array[int]]

    def __init__(self, slots: int) -> None:
        self.counts = Array(self, "counts", bytearray(slots))
        self.zeromap = Bitmap(self, "zeromap", slots)
        self.cgroup_ids = Array(self, "cgroup_ids", [0] * slots)


class SwapInfo(Shared):
    """struct swap_info_struct.

    Args:
        device: the file behind it.
        max: slots, with the header's, which is never used.
        synchronous: SWP_SYNCHRONOUS_IO: a fault on a slot that one page table names does without the swap cache.

    Attributes:
        users: who is at work on it; swapoff waits for them.
        is_unused: whether they are all gone.
        writeok: SWP_WRITEOK: slots are handed out. Under the lock.
        inuse_pages: slots taken; changed under the lock.
        cluster_next, cluster_nr: the next slot, and how many are left of the cluster. Under the lock.
        swap_cache: folios by slot: swapper_spaces.
        tree: zswap's entries by slot.
    """

    device: Final[SwapFile]
    max: Final[int]
    synchronous: Final[bool]
    swap_map: Final[SwapMap]
    tree: Final[ZswapTree]
    lock: Final[SpinLock]
    users: Final[PercpuRef]
    swap_cache: Final[XArray[Folio]]
    writeok: bool
    inuse_pages: int
    cluster_next: int
    cluster_nr: int
    is_unused: bool

    def __init__(self, device: SwapFile, slots: int, synchronous: bool) -> None:
        self.device = device
        self.max = slots
        self.synchronous = synchronous
        self.swap_map = SwapMap(slots)
        self.tree = ZswapTree()
        self.lock = SpinLock(self, "lock")
        self.users = PercpuRef(self, "users", self._complete)
        self.swap_cache = XArray(self, "swap_cache")
        self.writeok = True
        self.inuse_pages = self.cluster_nr = 0
        self.cluster_next = 1
        self.is_unused = False

    def _complete(self) -> None:
        smp_store_release(self).is_unused = True

    @property
    def unused(self) -> bool:
        """swap_info_struct.comp: whether nobody is at work on it any more after it was killed."""
        return smp_load_acquire(self).is_unused


class Swap(Shared):
    """What is global about swap.

    Args:
        zone: the machine's memory.
        zswap: what takes pages before the device.
        reclaim: frees pages of a memcg, and tells how many: mm/vmscan.c:try_to_free_mem_cgroup_pages.
        shrink: writes zswap's entries back: mm/zswap.c:shrink_worker.

    Attributes:
        info: the swap area; none before swapon and after swapoff.
        swap_info: its structure, which stays after swapoff, as nobody counts who still looks at it: swap_info[].
        nr_swap_pages, total_swap_pages: slots that are free, and that there are.
        events: of /proc/vmstat.
        shrink_work: zswap_shrink_work.
    """

    zone: Final[Zone]
    zswap: Final[Zswap]
    reclaim: Final[Callable[[Swap, MemCgroup], int]]
    events: Final[Counters]
    nr_swap_pages: Final[Atomic]
    swapon_mutex: Final[Mutex]
    shrink_work: Final[Work]
    info: SwapInfo | None
    swap_info: SwapInfo | None
    total_swap_pages: int

    def __init__(
        self,
        zone: Zone,
        zswap: Zswap,
        reclaim: Callable[[Swap, MemCgroup], int],
        shrink: Callable[[Swap], object],
    ) -> None:
        self.zone = zone
        self.zswap = zswap
        self.reclaim = reclaim
        self.events = Counters("vmstat")
        self.nr_swap_pages = Atomic(self, "nr_swap_pages")
        self.swapon_mutex = Mutex(self, "swapon_mutex")
        self.shrink_work = Work(self, "shrink_work", shrink, self)
        self.info = self.swap_info = None
        self.total_swap_pages = 0


def swapon(swap: Swap, device: SwapFile, pages: int, synchronous: bool = False) -> SwapInfo:
    """Use a file of `pages` slots: mm/swapfile.c:swapon.

    Raises:
        KernelWarning: there is a swap area.
    """
    with swap.swapon_mutex:
        if READ_ONCE(swap).info:
            raise KernelWarning("there is a swap area already")
        si = swap.swap_info = SwapInfo(device, pages + 1, synchronous)
        swap.nr_swap_pages.add(pages)
        WRITE_ONCE(swap).total_swap_pages = pages
        smp_store_release(swap).info = si
    return si


def vm_swap_full(swap: Swap) -> bool:
    """Whether more than half of the slots are taken: include/linux/swap.h:vm_swap_full."""
    return swap.nr_swap_pages.read() * 2 < READ_ONCE(swap).total_swap_pages


def get_swap_device(swap: Swap, entry: int) -> SwapInfo | None:
    """Keep swapoff away: mm/swapfile.c:get_swap_device; with `users.put` it may go on."""
    si = smp_load_acquire(swap).info
    if si and 0 < entry < si.max and si.users.tryget_live():
        return si
    return None


# Taking slots ---------------------------------------------------------------------------------------------------------


def scan_swap_map_slots(swap: Swap, si: SwapInfo) -> int:
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
        WRITE_ONCE(si).inuse_pages = si.inuse_pages + 1
        swap.nr_swap_pages.add(-1)
        return slot


def _swap_duplicate(si: SwapInfo, entry: int, usage: int) -> int:
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


def swap_duplicate(si: SwapInfo, entry: int) -> int:
    """One more page table names a slot: mm/swapfile.c:swap_duplicate. Returns 0 or -ENOENT."""
    return _swap_duplicate(si, entry, 1)


def swapcache_prepare(si: SwapInfo, entry: int) -> int:
    """Pin a slot for the swap cache: mm/swapfile.c:swapcache_prepare.

    Returns:
        0, -EEXIST if somebody has done so, -ENOENT if the slot is free.
    """
    return _swap_duplicate(si, entry, SWAP_HAS_CACHE)


def swap_swapcount(si: SwapInfo, entry: int) -> int:
    """How many page tables name a slot: mm/swapfile.c:swap_swapcount."""
    with si.lock:
        return si.swap_map.counts[entry] & ~SWAP_HAS_CACHE


# Giving them back -----------------------------------------------------------------------------------------------------


def _swap_entry_free_locked(si: SwapInfo, entry: int, usage: int) -> int:
    """Drop one use of a slot; what is left: mm/swapfile.c:__swap_entry_free_locked.

    A slot without any keeps SWAP_HAS_CACHE, so that nobody takes it before `free_swap_slot`.
    """
    counts = si.swap_map.counts
    used = counts[entry]
    if not (used & SWAP_HAS_CACHE if usage == SWAP_HAS_CACHE else used & ~SWAP_HAS_CACHE):
        raise KernelWarning(f"slot {entry} is freed by who does not have it: {used:#x}")
    left = used - usage
    WRITE_ONCE(counts)[entry] = left or SWAP_HAS_CACHE
    return left


def _swap_entry_free(swap: Swap, si: SwapInfo, entry: int, usage: int) -> int:
    """mm/swapfile.c:__swap_entry_free."""
    with si.lock:
        left = _swap_entry_free_locked(si, entry, usage)
    if not left:
        free_swap_slot(swap, si, entry)
    return left


def swap_free(swap: Swap, si: SwapInfo, entry: int) -> int:
    """One page table less names a slot: mm/swapfile.c:swap_free_nr. Returns what is left."""
    return _swap_entry_free(swap, si, entry, 1)


def put_swap_folio(swap: Swap, si: SwapInfo, entry: int) -> None:
    """The swap cache does not need a slot any more: mm/swapfile.c:put_swap_folio; swapcache_clear is the same."""
    _swap_entry_free(swap, si, entry, SWAP_HAS_CACHE)


def free_swap_slot(swap: Swap, si: SwapInfo, entry: int) -> None:
    """Nobody needs a slot any more: mm/swap_slots.c:free_swap_slot, mm/swapfile.c:swap_entry_range_free."""
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
        smp_store_release(si).inuse_pages = si.inuse_pages - 1
