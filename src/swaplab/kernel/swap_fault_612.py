"""Faults on pages in swap as of 6.12: with a fast device without the swap cache, and slots are freed before mapping.

mm/memory.c, 6.12.
"""

from __future__ import annotations

from swaplab.kernel.charge import alloc_folio
from swaplab.kernel.folio import Fault, Folio, Mm, SharedEntry, folio_add_lru, folio_put
from swaplab.kernel.memory import (
    SwapPte,
    back_out,
    count_major_fault,
    get_mem_cgroup_from_mm,
    map_folio,
    map_write_protected,
)
from swaplab.kernel.page_io import swap_read_folio
from swaplab.kernel.swap_cache import folio_free_swap, should_try_to_free_swap, swapin_charge_folio
from swaplab.kernel.swap_map import put_swap_folio, swap_free, swap_swapcount, swapcache_prepare
from swaplab.kernel.swap_state import SwapInfo612, read_swap_cache_async
from swaplab.kernel.swapfile import Swap, get_swap_device
from swaplab.kernel.sync import READ_ONCE, relax

__all__ = ["do_swap_page"]


def do_swap_page(swap: Swap, mm: Mm, key: int, entry: int, write: bool) -> Fault:
    """Map what was in a slot, if the page table still says so: mm/memory.c:do_swap_page. May sleep."""
    swap.events.count("pgfault")
    si = get_swap_device(swap, entry)
    if not si:
        return Fault.DONE
    assert isinstance(si, SwapInfo612)
    pte = SwapPte(mm, key, entry, write)
    folio = si.get_folio(entry)
    if folio:
        fault = finish_swapin(swap, si, pte, folio)
    elif si.synchronous and swap_swapcount(si, entry) == 1:
        fault = swapin_private(swap, si, pte)
    else:
        fault = swapin_cached(swap, si, pte)
    si.users.put()
    return fault


def swapin_cached(swap: Swap, si: SwapInfo612, pte: SwapPte) -> Fault:
    """Read a slot into the swap cache, and map that: mm/swap_state.c:read_swap_cache_async."""
    memcg = get_mem_cgroup_from_mm(pte.mm)
    folio, is_new = read_swap_cache_async(swap, si, pte.entry, memcg)
    if folio:
        count_major_fault(swap, memcg)
    memcg.put()
    if not folio:
        return back_out(pte)
    if is_new:
        swap_read_folio(swap, si, folio)
    return finish_swapin(swap, si, pte, folio)


def swapin_private(swap: Swap, si: SwapInfo612, pte: SwapPte) -> Fault:
    """Read a slot without the swap cache: mm/memory.c:do_swap_page, where SWP_SYNCHRONOUS_IO is set.

    The slot is pinned meanwhile: others could be faster, free it, and swap another page out to it, which the page
    table entry would not show.
    """
    memcg = get_mem_cgroup_from_mm(pte.mm)
    folio = alloc_folio(swap)
    charged = folio is not None and swapin_charge_folio(
        swap, folio, READ_ONCE(si.swap_map.cgroup_ids)[pte.entry], memcg
    )
    if folio and charged and swapcache_prepare(si, pte.entry):
        relax()
        folio_put(folio)
        memcg.put()
        return Fault.DONE
    if folio and charged:
        count_major_fault(swap, memcg)
    memcg.put()
    if not folio or not charged:
        if folio:
            folio_put(folio)
        return back_out(pte)
    folio.lock.acquire()
    folio_add_lru(folio)
    folio.swap = pte.entry
    swap_read_folio(swap, si, folio)
    folio.swap = 0
    fault = finish_swapin(swap, si, pte, folio)
    put_swap_folio(swap, si, pte.entry)
    return fault


def finish_swapin(swap: Swap, si: SwapInfo612, pte: SwapPte, folio: Folio) -> Fault:
    """Map a folio and drop the page table's use of the slot: the second half of mm/memory.c:do_swap_page.

    The caller's reference goes to the page table.
    """
    fault = Fault.DONE
    folio.lock.acquire()
    # A private folio has no slot of its own; one of the swap cache may have lost it before it was locked.
    if not folio.swap or folio.swap == pte.entry:
        with pte.mm.page_table_lock:
            if pte.is_same() and not READ_ONCE(folio).uptodate:
                fault = Fault.SIGBUS
            elif pte.is_same():
                swap_free(swap, si, pte.entry)
                if should_try_to_free_swap(swap, folio, pte.write):
                    folio_free_swap(swap, si, folio)
                if isinstance(pte.entry, SharedEntry) and folio.refcount.read() > 1:
                    map_write_protected(pte.mm, pte.key, folio)
                    folio.young = True
                else:
                    map_folio(pte.mm, pte.key, folio)
                # Before the page table is unlocked: a task that unmaps the folio then may free it.
                folio.lock.release()
                return Fault.DONE
    folio.lock.release()
    folio_put(folio)
    return fault
