"""The swap cache, as all releases have it: folios that have a slot.

mm/swap_state.c, mm/swapfile.c and mm/memcontrol.c, 6.12 and 7.2.
"""

from __future__ import annotations

from swaplab.kernel.charge import mem_cgroup_charge
from swaplab.kernel.folio import Folio, folio_put
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_from_id, mem_cgroup_swap_full
from swaplab.kernel.swapfile import Swap, SwapInfo, vm_swap_full
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, rcu

__all__ = ["folio_free_swap", "should_try_to_free_swap", "swapin_charge_folio", "try_to_reclaim_swap"]


def folio_free_swap(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Drop a locked folio's slot if only the swap cache needs it: mm/swapfile.c:folio_free_swap."""
    if not folio.swapcache or READ_ONCE(folio).writeback or si.count(folio.swap):
        return False
    si.delete_folio(swap, folio)
    WRITE_ONCE(folio).dirty = True
    return True


def should_try_to_free_swap(swap: Swap, folio: Folio, write: bool, is_fast: bool = False) -> bool:
    """Whether a folio's slot is better free: mm/memory.c:should_try_to_free_swap.

    Args:
        swap: with the area.
        folio: that a fault brought in.
        write: whether it is about to be written to, which makes the slot stale.
        is_fast: whether its device is: no slot is kept there, since 7.2.
    """
    if not READ_ONCE(folio).swapcache:
        return False
    assert folio.memcg_data
    if is_fast or vm_swap_full(swap) or folio.memcg_data.with_memcg(mem_cgroup_swap_full):
        return True
    # Two references: the swap cache's and the fault's.
    return write and folio.refcount.read() == 2


def try_to_reclaim_swap(swap: Swap, si: SwapInfo, entry: int) -> bool:
    """Free a slot that only the swap cache has: mm/swapfile.c:__try_to_reclaim_swap, with TTRS_ANYWAY."""
    folio = si.get_folio(entry)
    if not folio:
        return False
    freed = False
    if folio.lock.try_acquire():
        freed = folio.swap == entry and folio_free_swap(swap, si, folio)
        folio.lock.release()
    folio_put(folio)
    return freed


def swapin_charge_folio(swap: Swap, folio: Folio, owner_id: int, memcg: MemCgroup) -> bool:
    """Charge a folio to the owner of its slot, if that is online, else to `memcg`: mem_cgroup_swapin_charge_folio."""
    with rcu:
        owner = mem_cgroup_from_id(memcg.memcgs, owner_id)
        if not owner or not owner.tryget_online():
            owner = None
    charged = mem_cgroup_charge(swap, folio, owner or memcg)
    if owner:
        owner.put()
    return charged
