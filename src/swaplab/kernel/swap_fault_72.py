"""Faults on pages in swap as of 7.2: always through the swap cache, and a slot is freed, or kept, after mapping.

mm/memory.c and mm/swap_state.c, 7.2.
"""

from __future__ import annotations

from errno import EEXIST

from swaplab.kernel.folio import Fault, Folio, Mm, SharedEntry, folio_put
from swaplab.kernel.memory import (
    SwapPte,
    back_out,
    count_major_fault,
    get_mem_cgroup_from_mm,
    map_folio,
    map_write_protected,
)
from swaplab.kernel.page_io import swap_read_folio
from swaplab.kernel.swap_cache import folio_free_swap, should_try_to_free_swap
from swaplab.kernel.swapfile import Swap, SwapInfo, get_swap_device
from swaplab.kernel.sync import READ_ONCE, relax

__all__ = ["do_swap_page"]


def do_swap_page(swap: Swap, mm: Mm, key: int, entry: int, write: bool) -> Fault:
    """Map what was in a slot, if the page table still says so: mm/memory.c:do_swap_page. May sleep."""
    swap.events.count("pgfault")
    si = get_swap_device(swap, entry)
    if not si:
        return Fault.DONE
    pte = SwapPte(mm, key, entry, write)
    folio = si.get_folio(entry) or swapin_sync(swap, si, pte)
    fault = finish_swapin(swap, si, pte, folio) if folio else back_out(pte)
    si.users.put()
    return fault


def swapin_sync(swap: Swap, si: SwapInfo, pte: SwapPte) -> Folio | None:
    """Read a slot into the swap cache: mm/swap_state.c:swapin_sync and swap_cache_read_folio.

    The fastest task has put a folio there, which others wait for by its lock.
    """
    memcg = get_mem_cgroup_from_mm(pte.mm)
    folio: Folio | int | None = si.alloc_folio(swap, pte.entry, memcg)
    is_new = isinstance(folio, Folio)
    while folio == -EEXIST:
        folio = si.get_folio(pte.entry)
        if not folio:
            relax()
            folio = si.alloc_folio(swap, pte.entry, memcg)
            is_new = isinstance(folio, Folio)
    if isinstance(folio, Folio):
        count_major_fault(swap, memcg)
        if is_new:
            swap_read_folio(swap, si, folio)
    memcg.put()
    return folio if isinstance(folio, Folio) else None


def finish_swapin(swap: Swap, si: SwapInfo, pte: SwapPte, folio: Folio) -> Fault:
    """Map a folio and drop the page table's use of the slot: the second half of mm/memory.c:do_swap_page.

    The caller's reference goes to the page table.
    """
    fault = Fault.DONE
    folio.lock.acquire()
    if folio.swap == pte.entry:
        with pte.mm.page_table_lock:
            if pte.is_same() and not READ_ONCE(folio).uptodate:
                fault = Fault.SIGBUS
            elif pte.is_same():
                _map(swap, si, pte, folio)
                # Before the page table is unlocked: a task that unmaps the folio then may free it.
                folio.lock.release()
                return Fault.DONE
        folio_free_swap(swap, si, folio)
    folio.lock.release()
    folio_put(folio)
    return fault


def _map(swap: Swap, si: SwapInfo, pte: SwapPte, folio: Folio) -> None:
    """Map a folio, drop the use of its slot, and only then ask whether that is better free.

    Whoever writes to a page that is its own alone has been served by then, and does not count as a writer any more: the
    slot stays.
    """
    is_shared = isinstance(pte.entry, SharedEntry)
    if is_shared:
        map_write_protected(pte.mm, pte.key, folio)
        folio.young = True
    else:
        map_folio(pte.mm, pte.key, folio)
    si.put(swap, pte.entry)
    if should_try_to_free_swap(swap, folio, pte.write and is_shared, si.synchronous):
        folio_free_swap(swap, si, folio)
