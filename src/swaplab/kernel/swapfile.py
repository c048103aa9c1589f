"""Swap areas: what all releases have of them.

mm/swapfile.c, 6.12 and 7.2. How slots are kept is in `swaplab.kernel.swap_map` for 6.12, in `swaplab.kernel.swap_table`
for 7.2.

Differs: one area at a time, so a swp_entry_t is the slot's number alone, and 0, the header's place, is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from swaplab.kernel.folio import Fault, Folio, Mm
from swaplab.kernel.memcontrol import MemCgroup
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.swap_device import SwapFile
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    KernelWarning,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    smp_load_acquire,
    smp_store_release,
)
from swaplab.kernel.vmstat import Counters
from swaplab.kernel.zswap_entry import ZswapEntry, ZswapTree
from swaplab.kernel.zswap_pool import Zswap

__all__ = ["SlotUse", "Swap", "SwapCalls", "SwapInfo", "get_swap_device", "swapon", "vm_swap_full"]


class SlotUse(NamedTuple):
    """What there is of a slot.

    Attributes:
        is_taken: whether it is not free.
        swap_count: page tables that name it.
        folio: in the swap cache.
        is_zero: whether it is noted that the page is all zeros.
        owner: ID of the memcg that is charged, 0 for none.
    """

    is_taken: bool
    swap_count: int
    folio: Folio | None
    is_zero: bool
    owner: int


class SwapInfo(Shared):
    """struct swap_info_struct: what all releases have. How they keep slots, and the folios of these, is different.

    Args:
        device: the file behind it.
        max: slots, with the header's, which is never used.
        synchronous: SWP_SYNCHRONOUS_IO: the device is fast.

    Attributes:
        users: tasks at work on it; swapoff waits for them.
        is_unused: whether they are all gone.
        writeok: SWP_WRITEOK: slots are handed out. Under the lock.
        tree: zswap's entries by slot.
    """

    device: Final[SwapFile]
    max: Final[int]
    synchronous: Final[bool]
    tree: Final[ZswapTree]
    lock: Final[SpinLock]
    users: Final[PercpuRef]
    writeok: bool
    is_unused: bool

    def __init__(self, device: SwapFile, slots: int, synchronous: bool) -> None:
        self.device = device
        self.max = slots
        self.synchronous = synchronous
        self.tree = ZswapTree()
        self.lock = SpinLock(self, "lock")
        self.users = PercpuRef(self, "users", self._complete)
        self.writeok = True
        self.is_unused = False

    def _complete(self) -> None:
        smp_store_release(self).is_unused = True

    @property
    def unused(self) -> bool:
        """swap_info_struct.comp: whether no task is at work on it any more after it was killed."""
        return smp_load_acquire(self).is_unused

    def inuse_pages(self) -> int:
        """swap_usage_in_pages: slots taken; what was done to free others is seen by then."""
        raise NotImplementedError

    def dup(self, entry: int) -> None:
        """One more page table names a slot, which another or the swap cache has."""
        raise NotImplementedError

    def put(self, swap: Swap, entry: int) -> bool:
        """One page table less names a slot; whether only the swap cache has it now."""
        raise NotImplementedError

    def count(self, entry: int) -> int:
        """How many page tables name a slot."""
        raise NotImplementedError

    def get_folio(self, entry: int) -> Folio | None:
        """Look a slot's folio up in the swap cache, and get a reference."""
        raise NotImplementedError

    def alloc_slot(self, swap: Swap, folio: Folio) -> bool:
        """Give a locked folio a slot and put it into the swap cache. Returns whether there was one for it."""
        raise NotImplementedError

    def alloc_folio(self, swap: Swap, entry: int, memcg: MemCgroup) -> Folio | int:
        """Make a folio in the swap cache for a slot, locked, charged and empty, unless it has one. May sleep.

        Args:
            swap: with the area.
            entry: the slot.
            memcg: charged if the slot's owner is gone.

        Returns:
            The folio with a reference, or why there is none: -EEXIST, -ENOENT or -ENOMEM.
        """
        raise NotImplementedError

    def delete_folio(self, swap: Swap, folio: Folio) -> None:
        """Take a locked folio out of the swap cache, with the cache's reference."""
        raise NotImplementedError

    def remove_mapping(self, swap: Swap, folio: Folio) -> bool:
        """Take the last references to a locked folio, if nobody has others and it is clean.

        Returns:
            Whether the folio is the caller's, with a reference count of zero.
        """
        raise NotImplementedError

    def set_zero(self, entry: int, is_zero: bool) -> None:
        """Note whether a slot's page is all zeros. The slot's folio is locked."""
        raise NotImplementedError

    def is_zero(self, entry: int) -> bool:
        """Whether it is. The slot's folio is locked."""
        raise NotImplementedError

    def cached(self) -> tuple[int, ...]:
        """Slots that have a folio, in order."""
        raise NotImplementedError

    def free(self) -> None:
        """What swapoff frees."""
        raise NotImplementedError

    def uses(self) -> list[SlotUse]:
        """What there is of each slot: a look from outside that is no operation of a task."""
        raise NotImplementedError


class SwapCalls(NamedTuple):
    """What releases do differently on the way out to swap and back.

    Attributes:
        swap_info: makes a swap area from its device, its slots and whether it is synchronous.
        zswap_store: takes a locked folio instead of the device, and tells whether it did.
        zswap_load: fills a locked folio: 0, -ENOENT if zswap has nothing for it, -EIO if that is broken.
        zswap_writeback_entry: writes an entry of a slot to the device: 0 or a negative error.
        do_swap_page: maps what was in a slot; takes a page table, a key, the slot and whether it is for writing.
    """

    swap_info: Callable[[SwapFile, int, bool], SwapInfo]
    zswap_store: Callable[[Swap, SwapInfo, Folio], bool]
    zswap_load: Callable[[Swap, SwapInfo, Folio], int]
    zswap_writeback_entry: Callable[[Swap, ZswapEntry, int], int]
    do_swap_page: Callable[[Swap, Mm, int, int, bool], Fault]


class Swap(Shared):
    """What is global about swap.

    Args:
        zone: the machine's memory.
        zswap: what takes pages before the device.
        reclaim: frees pages of a memcg, and tells how many: mm/vmscan.c:try_to_free_mem_cgroup_pages.
        shrink: writes zswap's entries back: mm/zswap.c:shrink_worker.
        calls: of a release.

    Attributes:
        info: the swap area; none before swapon and after swapoff.
        swap_info: its structure, which stays after swapoff, as its users are not counted: swap_info[].
        nr_swap_pages, total_swap_pages: slots that are free, and that there are.
        events: of /proc/vmstat.
        shrink_work: zswap_shrink_work.
    """

    zone: Final[Zone]
    zswap: Final[Zswap]
    reclaim: Final[Callable[[Swap, MemCgroup], int]]
    calls: Final[SwapCalls]
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
        calls: SwapCalls,
    ) -> None:
        self.zone = zone
        self.zswap = zswap
        self.reclaim = reclaim
        self.calls = calls
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
        si = swap.swap_info = swap.calls.swap_info(device, pages + 1, synchronous)
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
