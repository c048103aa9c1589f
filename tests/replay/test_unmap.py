"""Memory that goes: munmap, madvise and exit, as mm/memory.c and mm/mmap.c of Linux 6.12 have them."""

from __future__ import annotations

import numpy as np
from tests.replay.lab import OVERHEAD, Lab
from tests.replay.validate import validate

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay
from swaplab.replay.cgroup import memory_reclaim
from swaplab.replay.state import COMPRESSED, NONE, PTRS_PER_TABLE, RESIDENT
from swaplab.replay.unmap import madvise_dontneed, munmap
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import SameFilled
from swaplab.scenario.device import DEVICES
from swaplab.scenario.model import Cgroup, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.trace import EventKind

ANON_VMA = 1
"""The page that the task's anon_vma is in."""


def test_what_is_unmapped_is_given_back_wherever_it_is() -> None:
    lab = Lab()
    lab.touch(range(200))
    lab.reclaim(100)
    assert lab.where(COMPRESSED)
    assert lab.where(RESIDENT)
    madvise_dontneed(lab.machine, 0, 200)
    assert lab.where(NONE) == list(range(200))
    assert (lab.machine.swap.slots_used, lab.machine.zswap.pool_pages, lab.machine.zswap.stored_pages) == (0, 0, 0)
    assert lab.used() == OVERHEAD
    validate(lab.machine)


def test_a_page_table_goes_when_nothing_is_mapped_that_it_could_map() -> None:
    """free_pgd_range: what is discarded stays mapped, and so does what was never touched."""
    lab = Lab(2 * PTRS_PER_TABLE)
    lab.touch(range(2 * PTRS_PER_TABLE))
    madvise_dontneed(lab.machine, 0, PTRS_PER_TABLE)
    assert lab.used() == PTRS_PER_TABLE + 2 + ANON_VMA
    munmap(lab.machine, 0, PTRS_PER_TABLE - 1)
    assert lab.used() == PTRS_PER_TABLE + 2 + ANON_VMA
    munmap(lab.machine, PTRS_PER_TABLE - 1, PTRS_PER_TABLE)
    assert lab.used() == PTRS_PER_TABLE + 1 + ANON_VMA
    munmap(lab.machine, PTRS_PER_TABLE + 10, 2 * PTRS_PER_TABLE)
    assert lab.used() == 10 + 1 + ANON_VMA
    lab.touch([0])
    assert lab.used() == 11 + 2 + ANON_VMA
    validate(lab.machine)


def test_slots_in_a_row_are_freed_past_the_cache_of_freed_slots() -> None:
    """__swap_entries_free, 6.12: one alone waits in the cache, and is charged, until there are 64."""
    workload = Workload(cgroup="a", pages=64, accesses=1, content=SameFilled(same_filled=1))
    run = Replay(
        Scenario(
            machine=Machine(memory=100_000 * PAGE_SIZE, page_cluster=0),
            zswap=Zswap(enabled=False),
            swap=Swap(size=10_000 * PAGE_SIZE, device=DEVICES["hdd"]),
            cgroups={"a": Cgroup()},
            workloads=(workload,),
        )
    )
    m = run.machine
    run.access(Chunk(np.arange(0, 128, 2, dtype=np.uint32)))
    for _ in range(9):
        memory_reclaim(m, 1, 64, 0)
    assert (np.diff(m.page_slot[:64]) == 1).all()
    madvise_dontneed(m, 1, 2)
    madvise_dontneed(m, 0, 5)
    assert (m.swap.cache_ret, m.memcgs["swap"][1]) == (2, 61), "the second was alone, and so was the first"
    munmap(m, 0, 64)
    assert (m.swap.cache_ret, m.memcgs["swap"][1]) == (2, 2)
    validate(m)


def test_a_task_that_has_exited_has_nothing_to_free() -> None:
    lab = Lab()
    lab.touch([1])
    lab.apply(EventKind.EXIT, 0, 200)
    for operation in (EventKind.UNMAP, EventKind.DISCARD, EventKind.EXIT):
        lab.apply(operation, 0, 200)
    lab.touch([0])
    assert lab.count("pgfault") == 1
    assert lab.used() == 0
    validate(lab.machine)
