"""Letting go of a folio that has a copy elsewhere (mm/vmscan.c, 6.12)."""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import jit, wide
from swaplab.replay.rmap import free_record, swap_count
from swaplab.replay.state import FOLIO_FLAGS, STATE_MASK, State
from swaplab.replay.stock import page_counter_charge
from swaplab.replay.swapfile import free_slot
from swaplab.replay.workingset import workingset_eviction

__all__ = ["free_folios", "remove_mapping"]


@jit
def remove_mapping(m: State, page: int, state: int, target: int) -> None:
    """Let go of a folio that has a copy elsewhere, and leave a shadow for `target` (mm/vmscan.c:__remove_mapping)."""
    folio = m.folios[page]
    memcg = wide(folio.memcg)
    owner = wide(folio.other_memcg)
    workingset_eviction(m, page, target)
    folio.bits = wide(folio.bits) & ~(STATE_MASK | FOLIO_FLAGS) | state
    folio.memcg = owner
    m.memcgs[memcg].swapcached -= 1
    if unlikely(m.pte[page]) and not swap_count(m, page):
        free_slot(m, page, owner)
        free_record(m, page)


@jit
def free_folios(m: State, memcg: int, count: int) -> None:
    """Give what was let go of back to cgroup and machine (mm/memcontrol.c:mem_cgroup_uncharge_folios)."""
    page_counter_charge(m, memcg, -count)
    m.memory.free += count
