"""Memory for a folio, and a memcg to charge it to: the caller reclaims when there is none.

mm/memcontrol.c, 6.12 and 7.2. Differs: pages are charged one by one, without a stock per CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from swaplab.kernel.folio import Folio, folio_alloc
from swaplab.kernel.memcontrol import MemCgroup, count_memcg_events
from swaplab.kernel.page_counter import page_counter_charge, page_counter_read, page_counter_try_charge
from swaplab.kernel.swapfile import Swap
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES

__all__ = ["alloc_folio", "mem_cgroup_charge", "memalloc", "memory_max_write"]


_memalloc: ContextVar[bool] = ContextVar("PF_MEMALLOC", default=False)


@contextmanager
def memalloc() -> Iterator[None]:
    """Be in reclaim, PF_MEMALLOC: such a task does not reclaim to get memory, and is charged regardless of limits."""
    token = _memalloc.set(True)
    try:
        yield
    finally:
        _memalloc.reset(token)


def alloc_folio(swap: Swap) -> Folio | None:
    """Make a folio, reclaiming if need be: mm/page_alloc.c:__alloc_pages_slowpath. May sleep.

    Differs: no reserves; in reclaim there is none when there is none.
    """
    folio = folio_alloc(swap.zone)
    for _ in range(MAX_RECLAIM_RETRIES):
        if folio or _memalloc.get() or not swap.reclaim(swap, swap.zswap.root):
            break
        folio = folio_alloc(swap.zone)
    return folio


def mem_cgroup_margin(memcg: MemCgroup) -> int:
    """Pages that may still be charged to a memcg itself: mm/memcontrol.c:mem_cgroup_margin."""
    return max(0, memcg.memory.max.read() - page_counter_read(memcg.memory))


def try_charge_memcg(swap: Swap, memcg: MemCgroup) -> bool:
    """Charge one page, reclaiming where a limit is in the way: mm/memcontrol.c:try_charge_memcg. May sleep.

    Differs: no OOM killer; the charge fails where that would be called.
    """
    retries = MAX_RECLAIM_RETRIES
    while over := page_counter_try_charge(memcg.memory, 1):
        limit = over.owner
        assert isinstance(limit, MemCgroup)
        count_memcg_events(limit, "max")
        if _memalloc.get():
            page_counter_charge(memcg.memory, 1)
            return True
        reclaimed = swap.reclaim(swap, limit)
        if not reclaimed and not mem_cgroup_margin(limit):
            if not retries:
                return False
            retries -= 1
    return True


def mem_cgroup_charge(swap: Swap, folio: Folio, memcg: MemCgroup) -> bool:
    """Charge a folio: mm/memcontrol.c:charge_memcg."""
    charged = memcg.memcgs.charge_memcg(memcg, partial(try_charge_memcg, swap))
    folio.memcg_data = charged
    return charged is not None


def memory_max_write(swap: Swap, memcg: MemCgroup, size: int) -> None:
    """Limit a memcg's memory, in bytes, and reclaim what is above: mm/memcontrol.c:memory_max_write. May sleep.

    Differs: what cannot be reclaimed stays, since there is no OOM killer.
    """
    pages = size // PAGE_SIZE
    memcg.memory.max.xchg(pages)
    retries = MAX_RECLAIM_RETRIES
    while retries and page_counter_read(memcg.memory) > pages:
        retries -= not swap.reclaim(swap, memcg)
