"""The swap cache of 6.12: folios that have a slot, in an array beside the map of slots.

mm/swap_state.c, 6.12, and what of mm/swapfile.c and mm/swap_slots.c needs the swap cache. Differs: no readahead, and no
shadows of folios that are gone.
"""

from __future__ import annotations

from errno import EEXIST, ENOMEM

from swaplab.kernel.charge import alloc_folio
from swaplab.kernel.folio import Folio, folio_add_lru, folio_put
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_try_charge_swap
from swaplab.kernel.swap_cache import swapin_charge_folio, try_to_reclaim_swap
from swaplab.kernel.swap_map import (
    SWAP_HAS_CACHE,
    SwapMapInfo,
    put_swap_folio,
    scan_swap_map_slots,
    swap_swapcount,
    swapcache_prepare,
)
from swaplab.kernel.swapfile import Swap
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, KernelWarning, current, relax

__all__ = ["SwapInfo612", "read_swap_cache_async"]


def filemap_get_folio(si: SwapMapInfo, entry: int) -> Folio | None:
    """Look a slot's folio up, and get a reference: mm/filemap.c:filemap_get_entry.

    Differs: under the array's lock. Linux reads under RCU and looks again once it has the reference, which needs a
    struct page that outlives its folio.
    """
    with si.swap_cache.lock:
        folio = si.swap_cache.load(entry)
        if folio:
            folio.refcount.add(1)
        return folio


def add_to_swap_cache(si: SwapMapInfo, folio: Folio, entry: int) -> int:
    """Put a locked folio into the swap cache: mm/swap_state.c:add_to_swap_cache. Returns 0 or -ENOMEM."""
    if current.runtime.fails("kmalloc"):
        return -ENOMEM
    folio.refcount.add(1)
    WRITE_ONCE(folio).swapcache = True
    folio.swap = entry
    si.swap_cache.store(entry, folio)
    return 0


def _delete_from_swap_cache(si: SwapMapInfo, folio: Folio) -> None:
    """mm/swap_state.c:__delete_from_swap_cache: the array's lock is held, and the folio's.

    Raises:
        KernelWarning: another folio is there.
    """
    if si.swap_cache.erase_locked(folio.swap) is not folio:
        raise KernelWarning(f"slot {folio.swap} has another folio than the one that leaves")
    folio.swap = 0
    WRITE_ONCE(folio).swapcache = False


def delete_from_swap_cache(swap: Swap, si: SwapMapInfo, folio: Folio) -> None:
    """Take a locked folio out of the swap cache: mm/swap_state.c:delete_from_swap_cache."""
    entry = folio.swap
    with si.swap_cache.lock:
        _delete_from_swap_cache(si, folio)
    put_swap_folio(swap, si, entry)
    folio.refcount.add(-1)


def remove_from_swap_cache(swap: Swap, si: SwapMapInfo, folio: Folio) -> bool:
    """Take the last references to a locked folio, if nobody has others and it is clean: mm/vmscan.c:__remove_mapping.

    Returns:
        Whether the folio is the caller's, with a reference count of zero.
    """
    entry = folio.swap
    with si.swap_cache.lock:
        # One reference is the caller's, one the cache's.
        if folio.refcount.cmpxchg(2, 0) != 2:
            return False
        if READ_ONCE(folio).dirty:
            folio.refcount.add(2)
            return False
        _delete_from_swap_cache(si, folio)
    put_swap_folio(swap, si, entry)
    return True


# Going out ------------------------------------------------------------------------------------------------------------


def get_swap_page(swap: Swap, si: SwapMapInfo) -> int:
    """Take a slot: mm/swapfile.c:get_swap_pages.

    Differs: slots that only the swap cache has are reclaimed when no other is left, not when the scan comes across
    them.

    Returns:
        The slot, or 0 if there is none.
    """
    entry = scan_swap_map_slots(swap, si)
    # Where Linux counts SWP_SCANNING, so that swapoff waits.
    if entry or not si.users.tryget_live():
        return entry
    cached = 0
    while not entry and (cached := READ_ONCE(si.swap_map.counts).find(bytes([SWAP_HAS_CACHE]), cached + 1)) > 0:
        if try_to_reclaim_swap(swap, si, cached):
            entry = scan_swap_map_slots(swap, si)
    si.users.put()
    return entry


def add_to_swap(swap: Swap, si: SwapMapInfo, folio: Folio) -> bool:
    """Give a locked folio a slot and put it, dirty, into the swap cache: mm/swap_state.c:add_to_swap."""
    entry = get_swap_page(swap, si)
    if not entry:
        return False
    assert folio.memcg_data
    memcg_id = mem_cgroup_try_charge_swap(folio.memcg_data, 1)
    if memcg_id == -ENOMEM:
        put_swap_folio(swap, si, entry)
        return False
    WRITE_ONCE(si.swap_map.cgroup_ids)[entry] = memcg_id
    if add_to_swap_cache(si, folio, entry):
        put_swap_folio(swap, si, entry)
        return False
    WRITE_ONCE(folio).dirty = True
    return True


# Coming in ------------------------------------------------------------------------------------------------------------


def _fill_slot(swap: Swap, si: SwapMapInfo, folio: Folio, entry: int, memcg: MemCgroup) -> bool:
    """Charge a new folio and put it, locked, where the slot's folio belongs. The slot is pinned."""
    folio.lock.acquire()
    if not swapin_charge_folio(swap, folio, READ_ONCE(si.swap_map.cgroup_ids)[entry], memcg) or add_to_swap_cache(
        si, folio, entry
    ):
        put_swap_folio(swap, si, entry)
        folio.lock.release()
        return False
    folio_add_lru(folio)
    return True


def _find_or_pin(swap: Swap, si: SwapMapInfo, entry: int, skip_if_exists: bool) -> tuple[Folio | None, Folio | None]:
    """Return the slot's folio, or else a new one for which the slot was pinned."""
    new = None
    while True:
        folio = filemap_get_folio(si, entry)
        if folio or not swap_swapcount(si, entry):
            break
        # Before the slot is pinned: reclaim may want the same slot.
        new = new or alloc_folio(swap)
        if not new:
            break
        error = swapcache_prepare(si, entry)
        if not error:
            return None, new
        # The task that pinned it may be waiting for this very caller, which reclaims memory for it: skip_if_exists.
        if error != -EEXIST or skip_if_exists:
            break
        relax()
    if new:
        folio_put(new)
    return folio, None


class SwapInfo612(SwapMapInfo):
    """struct swap_info_struct, 6.12, with the swap cache."""

    def get_folio(self, entry: int) -> Folio | None:
        """filemap_get_folio."""
        return filemap_get_folio(self, entry)

    def alloc_slot(self, swap: Swap, folio: Folio) -> bool:
        """add_to_swap."""
        return add_to_swap(swap, self, folio)

    def alloc_folio(self, swap: Swap, entry: int, memcg: MemCgroup) -> Folio | int:
        """__read_swap_cache_async, which gives up where the slot is pinned, but has no folio yet."""
        folio, is_new = read_swap_cache_async(swap, self, entry, memcg, skip_if_exists=True)
        if folio and not is_new:
            folio_put(folio)
            return -EEXIST
        return folio or -ENOMEM

    def delete_folio(self, swap: Swap, folio: Folio) -> None:
        """delete_from_swap_cache."""
        delete_from_swap_cache(swap, self, folio)

    def remove_mapping(self, swap: Swap, folio: Folio) -> bool:
        """__remove_mapping, mm/vmscan.c."""
        return remove_from_swap_cache(swap, self, folio)


def read_swap_cache_async(
    swap: Swap, si: SwapMapInfo, entry: int, memcg: MemCgroup, skip_if_exists: bool = False
) -> tuple[Folio | None, bool]:
    """Find a slot's folio, or make one that is to be filled: mm/swap_state.c:__read_swap_cache_async. May sleep.

    Args:
        swap: with the area.
        si: the area, which is kept.
        entry: the slot.
        memcg: charged if the slot's owner is gone.
        skip_if_exists: give up where the slot is pinned, but has no folio yet.

    Returns:
        The folio with a reference, or None; and whether it is new, and so locked, charged and empty.
    """
    folio, new = _find_or_pin(swap, si, entry, skip_if_exists)
    is_filled = new is not None and _fill_slot(swap, si, new, entry, memcg)
    if new and not is_filled:
        folio_put(new)
    return (new, True) if is_filled else (folio, False)
