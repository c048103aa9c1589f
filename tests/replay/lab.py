"""A machine to experiment on: one workload in cgroup ``a``, touched page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from tests.replay.validate import expected_lists, stocks

from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled
from swaplab.policy import Policy
from swaplab.replay import Replay
from swaplab.replay.entries import entries_head
from swaplab.replay.jit import entry, jit
from swaplab.replay.lists import lru_add, lru_del
from swaplab.replay.lru_gen_aging import try_to_inc_max_seq
from swaplab.replay.lru_gen_tiers import get_tier_idx, lru_gen_set_refs
from swaplab.replay.memory import run_background
from swaplab.replay.shrink_folio import shrink_folio_list
from swaplab.replay.state import (
    ISOLATED,
    LISTS_PER_MEMCG,
    LRU_ZSWAP,
    PG_ACTIVE,
    PG_DIRTY,
    PG_SWAPCACHE,
    STATE_MASK,
    State,
)
from swaplab.replay.swap import wait_for_write
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
    "look_at_of",
    "pages_on",
    "run_background_of",
    "scan_target_of",
    "set_refs_of",
    "shrink_worker_of",
    "tier_idx_of",
    "wait_for_write_of",
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
        policy: Policy | None = None,
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
            ),
            policy=policy,
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


(
    ENTRIES_HEAD,
    SCAN_TARGET,
    AGE,
    SET_REFS,
    TIER_IDX,
    ALLOC_SLOT,
    FREE_SLOT,
    DO_SHRINK_SLAB,
    RUN_BACKGROUND,
    WAIT_FOR_WRITE,
    LOOK_AT,
    ZS_MALLOC,
    ZS_FREE,
) = range(13)


@entry
def call(m: State, what: int, number: int, other: int) -> int:  # noqa: PLR0911, PLR0912 - one for each
    """One of the functions that only compiled code calls.

    They are one program, since each by itself would be compiled with nearly all of reclaim.
    """
    if what == ENTRIES_HEAD:
        return entries_head(m, number)
    if what == SCAN_TARGET:
        prepare_scan_control(m)
        return scan_target(m, number, other)
    if what == AGE:
        try_to_inc_max_seq(m, number, 1)
    elif what == SET_REFS:
        return lru_gen_set_refs(m, number)
    elif what == TIER_IDX:
        return get_tier_idx(m, number)
    elif what == ALLOC_SLOT:
        alloc_slot(m, number)
    elif what == FREE_SLOT:
        free_slot(m, number, other)
    elif what == DO_SHRINK_SLAB:
        do_shrink_slab(m, number, other)
    elif what == RUN_BACKGROUND:
        run_background(m)
    elif what == WAIT_FOR_WRITE:
        return wait_for_write(m)
    elif what == LOOK_AT:
        look_at(m, number)
    elif what == ZS_MALLOC:
        return zs_malloc(m, number)
    elif what == ZS_FREE:
        zs_free(m, number)
    return 0


@jit
def look_at(m: State, page: int) -> None:
    """Let reclaim look at one folio, then put it back unless it is freed."""
    lru_del(m, page)
    m.folios[page].next = ISOLATED
    m.isolated[0] = page
    if shrink_folio_list(m, 1):
        lru_add(m, page)


def entries_head_of(m: State, memcg: int) -> int:
    """`entries_head`, for Python to call: from then on, entries are linked."""
    return call(m, ENTRIES_HEAD, memcg, 0)


def scan_target_of(m: State, memcg: int, size: int) -> int:
    """`scan_target` in a pass over what `scan.target` says, for Python to call."""
    return call(m, SCAN_TARGET, memcg, size)


def age_of(m: State, memcg: int) -> None:
    """`try_to_inc_max_seq`, for Python to call."""
    call(m, AGE, memcg, 0)


def set_refs_of(m: State, page: int) -> bool:
    """`lru_gen_set_refs`, for Python to call."""
    return bool(call(m, SET_REFS, page, 0))


def tier_idx_of(m: State, memcg: int) -> int:
    """`get_tier_idx`, for Python to call."""
    return call(m, TIER_IDX, memcg, 0)


def alloc_slot_of(m: State, page: int) -> None:
    """`alloc_slot`, for Python to call."""
    call(m, ALLOC_SLOT, page, 0)


def free_slot_of(m: State, page: int, memcg: int) -> None:
    """`free_slot`, for Python to call."""
    call(m, FREE_SLOT, page, memcg)


def do_shrink_slab_of(m: State, memcg: int, priority: int) -> None:
    """`do_shrink_slab`, for Python to call."""
    call(m, DO_SHRINK_SLAB, memcg, priority)


def run_background_of(m: State) -> None:
    """`run_background`, for Python to call."""
    call(m, RUN_BACKGROUND, 0, 0)


def wait_for_write_of(m: State) -> bool:
    """`wait_for_write`, for Python to call."""
    return bool(call(m, WAIT_FOR_WRITE, 0, 0))


def look_at_of(m: State, page: int) -> None:
    """`look_at`, for Python to call."""
    call(m, LOOK_AT, page, 0)


def shrink_worker_of(m: State) -> None:
    """Queue `shrink_worker`, and give it all the time that it needs."""
    m.zswap.shrink_queued = 1
    m.task.clock += 10**12
    run_background_of(m)


def zs_malloc_of(m: State, length: int) -> int:
    """`zs_malloc`, for Python to call."""
    return call(m, ZS_MALLOC, length, 0)


def zs_free_of(m: State, zspage: int) -> None:
    """`zs_free`, for Python to call."""
    call(m, ZS_FREE, zspage, 0)
