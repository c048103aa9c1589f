"""Shared memory, as mm/shmem.c and mm/memory.c of Linux 6.12 have it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.replay.validate import validate

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay
from swaplab.replay.cgroup import memory_reclaim
from swaplab.replay.state import COMPRESSED, GONE, NONE, ON_DISK, RESIDENT, SHARED, STATE_MASK
from swaplab.replay.stats import read_stats
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import SameFilled
from swaplab.scenario.model import Cgroup, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.trace import EventKind

A, B = 1, 2
PAGES = 100
ONE, OTHER, OBJECT = 0, PAGES, 2 * PAGES
"""First pages of two tasks and of the memory that they share."""


class Sharing(Replay):
    """A task in cgroup ``a`` and one in ``b``, which map the same 100 pages, all that they have."""

    def __init__(self, zswap: bool = True) -> None:
        content = SameFilled(same_filled=0x42)
        super().__init__(
            Scenario(
                machine=Machine(memory=100_000 * PAGE_SIZE, page_cluster=0),
                zswap=Zswap(enabled=zswap),
                swap=Swap(size=10_000 * PAGE_SIZE),
                cgroups={"a": Cgroup(), "b": Cgroup()},
                workloads=tuple(
                    Workload(cgroup=cgroup, pages=PAGES, accesses=1, content=content) for cgroup in ("a", "b", "b")
                ),
            )
        )
        self.machine.task_memcg[2] = -1  # as if a trace's stream said so
        for task in (ONE, OTHER):
            self.apply(EventKind.SHARE, task, PAGES, OBJECT)

    def touch(self, *pages: int, write: bool = False) -> None:
        self.access(Chunk(np.array([page << 1 | write for page in pages], np.uint32)))
        validate(self.machine)

    def state(self, page: int) -> int:
        record = self.machine.folios[OBJECT + page]
        if record.bits & STATE_MASK == SHARED:
            record = self.machine.folios[int(record.zspage)]
        return int(record.bits & STATE_MASK)

    def count(self, name: str, memcg: int = A) -> int:
        return int(self.machine.memcgs[name][memcg])

    def swap_out(self) -> None:
        """Reclaim until nothing is left, in rounds, since what was used is spared in the first."""
        for _ in range(9):
            read_stats(self.machine)
            memory_reclaim(self.machine, 0, 2 * PAGES, 0)
        validate(self.machine)


@pytest.fixture
def sharing() -> Sharing:
    return Sharing()


def test_who_touches_first_pays_and_what_is_shared_is_there_once(sharing: Sharing) -> None:
    sharing.touch(*range(ONE, ONE + PAGES), write=True)
    sharing.touch(*range(OTHER, OTHER + PAGES), write=True)
    assert (sharing.count("shmem", A), sharing.count("shmem", B)) == (PAGES, 0)
    assert (sharing.count("anon", A), sharing.count("anon", B)) == (0, 0)
    assert (sharing.count("pgfault", A), sharing.count("pgfault", B)) == (PAGES, PAGES)
    sharing.touch(*range(OTHER, OTHER + PAGES), write=True)
    assert sharing.count("pgfault", B) == PAGES


def test_a_read_maps_what_is_in_memory_of_the_sixteen_pages_around_it(sharing: Sharing) -> None:
    """do_fault_around."""
    sharing.touch(*range(ONE, ONE + 20), write=True)
    sharing.touch(OTHER + 5)
    sharing.touch(*range(OTHER, OTHER + 16))
    assert sharing.count("pgfault", B) == 1
    sharing.touch(OTHER + 16)
    sharing.touch(*range(OTHER + 17, OTHER + 20))
    assert sharing.count("pgfault", B) == 2
    sharing.touch(OTHER + 20)
    assert sharing.count("pgfault", B) == 3, "nobody had touched it"


def test_a_slot_is_free_once_its_page_is_back_and_the_others_fault_without_reading(sharing: Sharing) -> None:
    """shmem_swapin_folio, which is one major fault for whoever comes first."""
    sharing.touch(ONE, OTHER, write=True)
    sharing.swap_out()
    assert sharing.state(0) == COMPRESSED
    assert (sharing.count("shmem"), sharing.machine.swap.slots_used, sharing.count("swap", A)) == (0, 1, 1)
    sharing.touch(OTHER)
    assert (sharing.count("pgmajfault", B), sharing.count("zswpin", A)) == (1, 1), "the slot's owner pays again"
    assert (sharing.count("shmem", A), sharing.machine.swap.slots_used, sharing.machine.zswap.stored_pages) == (1, 0, 0)
    sharing.touch(ONE)
    assert sharing.count("pgmajfault", A) == 0


def test_shared_memory_goes_to_the_device_and_comes_back_for_all() -> None:
    sharing = Sharing(zswap=False)
    sharing.touch(ONE, OTHER, write=True)
    sharing.swap_out()
    sharing.machine.task.clock += 10**9  # the write is done
    sharing.swap_out()
    assert (sharing.state(0), sharing.count("pswpout")) == (ON_DISK, 1)
    sharing.touch(OTHER, ONE)
    assert (sharing.count("pswpin", A) + sharing.count("pswpin", B), sharing.count("shmem")) == (1, 1)
    assert sharing.machine.swap.slots_used == 0


def test_what_was_written_comes_back_compressed_anew(sharing: Sharing) -> None:
    """It is dirty, as its slot is gone."""
    sharing.touch(ONE, write=True)
    sharing.swap_out()
    sharing.touch(ONE)
    sharing.swap_out()
    assert sharing.count("zswpout") == 2


def test_memory_that_was_only_read_has_contents_too(sharing: Sharing) -> None:
    """As private memory has here: what the scenario's content says, which goes to swap."""
    sharing.touch(ONE)
    sharing.swap_out()
    assert (sharing.state(0), sharing.count("zswpout"), sharing.count("shmem")) == (COMPRESSED, 1, 0)


@pytest.mark.parametrize("operation", [EventKind.UNMAP, EventKind.DISCARD, EventKind.EXIT])
def test_shared_memory_outlives_its_mappings(sharing: Sharing, operation: EventKind) -> None:
    sharing.touch(ONE, OTHER, write=True)
    for task in (ONE, OTHER):
        sharing.apply(operation, task, PAGES)
        validate(sharing.machine)
    assert (sharing.state(0), sharing.count("shmem")) == (RESIDENT, 1)
    if operation == EventKind.DISCARD:
        sharing.touch(OTHER)
        assert sharing.count("shmem", A) == 1
        assert sharing.count("usage", B) - sharing.count("anon", B) <= 64
    if operation == EventKind.EXIT:
        assert sharing.machine.folios["bits"][ONE] & STATE_MASK == GONE
    sharing.apply(EventKind.REMOVE, OBJECT, PAGES)
    validate(sharing.machine)
    assert (sharing.count("shmem"), sharing.machine.sizes.shared_folios) == (0, 0)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_removed_is_gone_for_all_and_new_memory_when_it_is_touched(sharing: Sharing, swapped: bool) -> None:
    sharing.touch(ONE, OTHER, write=True)
    if swapped:
        sharing.swap_out()
    sharing.apply(EventKind.REMOVE, OBJECT, PAGES)
    validate(sharing.machine)
    assert (sharing.state(0), sharing.machine.swap.slots_used, sharing.machine.zswap.pool_pages) == (NONE, 0, 0)
    sharing.touch(OTHER, write=True)
    assert (sharing.count("shmem", A), sharing.count("shmem", B)) == (0, 1)
