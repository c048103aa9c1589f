"""A machine to experiment on: one workload in cgroup ``a``, touched page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from tests.replay.validate import expected_lists, stocks

from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled
from swaplab.replay import Replay
from swaplab.replay.entries import entries_head
from swaplab.replay.jit import entry
from swaplab.replay.lru_gen_aging import try_to_inc_max_seq
from swaplab.replay.lru_gen_tiers import get_tier_idx, lru_gen_set_refs
from swaplab.replay.memory import run_background
from swaplab.replay.state import LISTS_PER_MEMCG, LRU_ZSWAP, PG_ACTIVE, PG_DIRTY, PG_SWAPCACHE, STATE_MASK, State
from swaplab.replay.swapfile import alloc_slot, free_slot
from swaplab.replay.vmscan import prepare_scan_control, scan_target
from swaplab.replay.zsmalloc import zs_free, zs_malloc
from swaplab.replay.zswap import do_shrink_slab
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import Content, SameFilled
from swaplab.scenario.device import DEVICES, Device
from swaplab.scenario.model import Cgroup, Event, Machine, Scenario, Swap, Workload, Zswap

__all__ = [
    "Lab",
    "age_of",
    "alloc_slot_of",
    "do_shrink_slab_of",
    "free_slot_of",
    "pages_on",
    "scan_target_of",
    "set_refs_of",
    "shrink_worker_of",
    "tier_idx_of",
    "zs_free_of",
    "zs_malloc_of",
]

A = 1
"""Number of cgroup ``a``, the root being 0."""
OVERHEAD = 2
"""Pages that a task of up to 512 is charged beside them: a page table, and what its anon_vma is in."""


class Lab(Replay):
    """A replay whose accesses the test makes.

    Args:
        pages: of the workload, which are numbered from 0.
        machine, swap_pages: sizes in pages, ample unless told.
        cgroups: limits, in pages, by path; ``a`` has `a`'s.
    """

    def __init__(
        self,
        pages: int = 200,
        *,
        machine: int = 100_000,
        swap_pages: int = 10_000,
        content: Content | None = None,
        cgroup: str = "a",
        cgroups: dict[str, Cgroup] | None = None,
        zswap: Zswap | None = None,
        swappiness: int = 60,
        lru: Literal["classic", "mglru"] = "classic",
        page_cluster: int = 0,
        device: Device | None = None,
        kernel: Modelled = "6.12",
        **limits: Any,
    ) -> None:
        paged = {
            name: value * PAGE_SIZE if name != "memory_zswap_writeback" else value for name, value in limits.items()
        }
        workload = Workload(cgroup=cgroup, pages=pages, accesses=1, content=content or SameFilled(same_filled=0x42))
        super().__init__(
            Scenario(
                machine=Machine(
                    memory=machine * PAGE_SIZE, kernel=kernel, swappiness=swappiness, lru=lru, page_cluster=page_cluster
                ),
                zswap=zswap or Zswap(enabled=True),
                swap=Swap(size=swap_pages * PAGE_SIZE, device=device or DEVICES["nvme"]),
                cgroups={"a": Cgroup(**paged)} | (cgroups or {}),
                workloads=(workload,),
            )
        )

    def touch(self, pages: Iterable[int], write: bool = False) -> None:
        """Access pages in order."""
        self.access(Chunk(np.array([page << 1 | write for page in pages], np.uint32)))

    def reclaim(self, pages: int, cgroup: str = "a") -> None:
        """Write to memory.reclaim."""
        self.fire(Event(at=0, cgroup=cgroup, reclaim=pages * PAGE_SIZE))

    def remove(self, cgroup: str = "a") -> None:
        """Remove a cgroup."""
        self.fire(Event(at=0, cgroup=cgroup, remove=True))

    def set(self, cgroup: str = "a", **limits: Any) -> None:
        """Write limits, as they are."""
        self.fire(Event(at=0, cgroup=cgroup, set=limits))

    def state(self, page: int) -> int:
        """Where a page is."""
        return int(self.machine.folios["bits"][page] & STATE_MASK)

    def where(self, state: int) -> list[int]:
        """Pages that are there."""
        bits = self.machine.folios["bits"][: self.machine.sizes.nr_pages]
        return [int(page) for page in np.flatnonzero((bits & STATE_MASK) == state)]

    def is_active(self, page: int) -> bool:
        return bool(self.machine.folios["bits"][page] & PG_ACTIVE)

    def is_dirty(self, page: int) -> bool:
        return bool(self.machine.folios["bits"][page] & PG_DIRTY)

    def has_slot(self, page: int) -> bool:
        """Whether a resident page keeps its swap slot."""
        return bool(self.machine.folios["bits"][page] & PG_SWAPCACHE)

    def count(self, name: str, memcg: int = A) -> int:
        """A field of a cgroup itself."""
        return int(self.machine.memcgs[name][memcg])

    def used(self, memcg: int = A) -> int:
        """Pages charged to a cgroup and all below, without what is charged ahead."""
        end = self.machine.memcgs["end"][memcg]
        stocked = sum(pages for owner, pages in stocks(self.machine) if memcg <= owner < end)
        return self.count("usage", memcg) - stocked

    def entries(self, memcg: int = A) -> list[int]:
        """Pages on a cgroup's zswap LRU, the oldest first."""
        return pages_on(self.machine, memcg, LRU_ZSWAP)


def pages_on(m: State, memcg: int, lru: int) -> list[int]:
    """Pages on a list of a cgroup's, from its head on: of entries the oldest first, of folios the youngest."""
    head = int(m.sizes.nr_folios) + memcg * LISTS_PER_MEMCG + lru
    following = m.folios["next"]
    if lru == LRU_ZSWAP and not m.zswap.entries_linked:
        entries = np.flatnonzero(np.array(expected_lists(m)) == head)
        return sorted(map(int, entries), key=lambda page: int(following[page]))
    pages, page = [], int(following[head])
    while page != head:
        pages.append(page)
        page = int(following[page])
    return pages


@entry
def entries_head_of(m: State, memcg: int) -> int:
    """`entries_head`, for Python to call: from then on, entries are linked."""
    return entries_head(m, memcg)


@entry
def scan_target_of(m: State, memcg: int, size: int) -> int:
    """`scan_target` in a pass over what `scan.target` says, for Python to call."""
    prepare_scan_control(m)
    return scan_target(m, memcg, size)


@entry
def age_of(m: State, memcg: int) -> None:
    """`try_to_inc_max_seq`, for Python to call."""
    try_to_inc_max_seq(m, memcg, 1)


@entry
def set_refs_of(m: State, page: int) -> bool:
    """`lru_gen_set_refs`, for Python to call."""
    return lru_gen_set_refs(m, page)


@entry
def tier_idx_of(m: State, memcg: int) -> int:
    """`get_tier_idx`, for Python to call."""
    return get_tier_idx(m, memcg)


@entry
def alloc_slot_of(m: State, page: int) -> None:
    """`alloc_slot`, for Python to call."""
    alloc_slot(m, page)


@entry
def free_slot_of(m: State, page: int, memcg: int) -> None:
    """`free_slot`, for Python to call."""
    free_slot(m, page, memcg)


@entry
def do_shrink_slab_of(m: State, memcg: int, priority: int) -> None:
    """`do_shrink_slab`, for Python to call."""
    do_shrink_slab(m, memcg, priority)


@entry
def shrink_worker_of(m: State) -> None:
    """Queue `shrink_worker`, and give it all the time that it needs."""
    m.zswap.shrink_queued = 1
    m.task.clock += 10**12
    run_background(m)


@entry
def zs_malloc_of(m: State, length: int) -> int:
    """`zs_malloc`, for Python to call."""
    return zs_malloc(m, length)


@entry
def zs_free_of(m: State, zspage: int) -> None:
    """`zs_free`, for Python to call."""
    zs_free(m, zspage)
