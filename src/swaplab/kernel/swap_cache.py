"""The swap cache, as all releases have it: folios that have a slot.

mm/swap_state.c, mm/swapfile.c and mm/memcontrol.c, 6.12 and 7.2.
"""

from __future__ import annotations

from swaplab.kernel.charge import mem_cgroup_charge
from swaplab.kernel.folio import Folio, folio_put
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_from_id
from swaplab.kernel.swapfile import Swap, SwapInfo
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, rcu

__all__ = ["folio_free_swap", "swapin_charge_folio", "try_to_reclaim_swap"]


def folio_free_swap(swap: Swap, si: SwapInfo, folio: Folio) -> bool:
    """Drop a locked folio's slot if only the swap cache needs it: mm/swapfile.c:folio_free_swap."""
    if not folio.swapcache or READ_ONCE(folio).writeback or si.count(folio.swap):
        return False
    si.delete_folio(swap, folio)
    WRITE_ONCE(folio).dirty = True
    return True


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
    """Charge a folio to who has its slot, if that is online, else to `memcg`: mem_cgroup_swapin_charge_folio."""
    with rcu:
        owner = mem_cgroup_from_id(memcg.memcgs, owner_id)
        if not owner or not owner.tryget_online():
            owner = None
    charged = mem_cgroup_charge(swap, folio, owner or memcg)
    if owner:
        owner.put()
    return charged
