"""Fork and what parts parent and child, as mm/memory.c, mm/rmap.c and mm/vmscan.c of Linux 6.12 have it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.replay.validate import validate

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay
from swaplab.replay.cgroup import memory_reclaim
from swaplab.replay.state import COMPRESSED, MAPPED, RESIDENT, SHARED, STATE_MASK, YOUNG
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import Random, SameFilled
from swaplab.scenario.device import DEVICES
from swaplab.scenario.model import Cgroup, Event, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.trace import EventKind

A, B = 1, 2
PAGES = 100
CHILD = PAGES
"""First page of the child, a task of its own; the parent's is 0."""


class Family(Replay):
    """A task in cgroup ``a`` with 100 pages, and one that it may fork, in ``a`` or ``b``."""

    def __init__(self, *, child: str = "a", zswap: bool = True, device: str = "nvme") -> None:
        content = SameFilled(same_filled=0x42) if zswap else Random()
        super().__init__(
            Scenario(
                machine=Machine(memory=100_000 * PAGE_SIZE, page_cluster=0),
                zswap=Zswap(enabled=zswap),
                swap=Swap(size=10_000 * PAGE_SIZE, device=DEVICES[device]),
                cgroups={"a": Cgroup(), "b": Cgroup()},
                workloads=tuple(
                    Workload(cgroup=cgroup, pages=PAGES, accesses=1, content=content) for cgroup in ("a", child)
                ),
            )
        )

    def touch(self, *pages: int, write: bool = False) -> None:
        self.access(Chunk(np.array([page << 1 | write for page in pages], np.uint32)))

    def fork(self, pages: int = PAGES) -> None:
        self.apply(EventKind.FORK, CHILD, pages, 0)
        validate(self.machine)

    def folio(self, page: int) -> int:
        record = self.machine.folios[page]
        return int(record.zspage) if record.bits & STATE_MASK == SHARED else page

    def state(self, page: int) -> int:
        return int(self.machine.folios["bits"][self.folio(page)] & STATE_MASK)

    def count(self, name: str, memcg: int = A) -> int:
        return int(self.machine.memcgs[name][memcg])

    def swap_out(self, memcg: int = A) -> None:
        """Reclaim until nothing is left, in two rounds, since what was used is spared in the first."""
        for _ in range(9):
            memory_reclaim(self.machine, memcg, 2 * PAGES, 0)
        validate(self.machine)


def test_a_child_has_what_its_parent_has_and_takes_no_memory_but_page_tables() -> None:
    family = Family()
    family.touch(*range(50))
    before = family.count("usage") - int(family.machine.memory.stock_pages)
    family.fork()
    assert family.count("usage") - family.machine.memory.stock_pages == before + 1
    assert family.count("anon") == 50
    faults = family.count("pgfault")
    family.touch(*range(CHILD, CHILD + 50))
    assert family.count("pgfault") == faults, "all is mapped already"
    family.touch(CHILD + 50)
    assert family.count("pgfault") == faults + 1
    validate(family.machine)


def test_who_writes_gets_a_copy_and_pays_for_it_and_who_is_left_keeps_the_page() -> None:
    """do_wp_page: a copy while others have the page, then reuse."""
    family = Family(child="b")
    family.touch(0, write=True)
    family.fork()
    family.touch(CHILD, write=True)
    assert (family.count("anon", A), family.count("anon", B)) == (1, 1)
    assert family.count("pgfault", B) == 1
    family.touch(0, write=True)
    assert family.count("pgfault", A) == 2, "it is not known to be the last before it writes"
    assert family.folio(0) == 0
    family.touch(0, CHILD, write=True)
    assert (family.count("pgfault", A), family.count("pgfault", B)) == (2, 1)
    assert family.machine.sizes.shared_folios == 0
    validate(family.machine)


def test_a_page_that_two_used_is_activated_at_once() -> None:
    """folio_check_references: more than one reference."""
    family = Family()
    family.touch(0, 1)
    family.fork()
    entries = family.machine.pte
    assert (entries[0], entries[CHILD]) == (MAPPED | YOUNG, MAPPED), "the child's entry is old"
    family.touch(CHILD)
    memory_reclaim(family.machine, A, 1, 0)
    assert family.count("pgactivate") == 1
    validate(family.machine)


def test_a_slot_lives_until_the_last_of_its_owners_is_in() -> None:
    family = Family()
    family.touch(0, write=True)
    family.fork()
    family.swap_out()
    swap = family.machine.swap
    assert (family.state(0), family.machine.zswap.stored_pages, swap.slots_used) == (COMPRESSED, 1, 1)
    family.touch(CHILD)
    assert (family.count("pgmajfault"), family.count("zswpin"), swap.slots_used) == (1, 1, 1)
    family.touch(0)
    assert (family.count("pgmajfault"), family.count("zswpin")) == (1, 1), "its folio is in the swap cache"
    family.apply(EventKind.EXIT, CHILD, PAGES)
    family.touch(0, write=True)
    assert (family.folio(0), swap.slots_used, family.count("anon")) == (0, 0, 1)
    validate(family.machine)


def test_what_one_owner_frees_the_other_still_has() -> None:
    for operation in (EventKind.UNMAP, EventKind.DISCARD, EventKind.EXIT):
        for swapped in (False, True):
            family = Family()
            family.touch(*range(PAGES), write=True)
            family.fork()
            if swapped:
                family.swap_out()
            family.apply(operation, 0, PAGES)
            validate(family.machine)
            assert {family.state(page) for page in range(CHILD, CHILD + PAGES)} == {COMPRESSED if swapped else RESIDENT}
            family.apply(operation, CHILD, PAGES)
            validate(family.machine)
            m = family.machine
            assert (m.swap.slots_used, m.zswap.pool_pages, m.sizes.shared_folios) == (0, 0, 0)
            assert family.count("anon") == 0


def test_a_shared_page_holds_what_the_parent_wrote() -> None:
    """Its compressed length is that of the parent's contents, whoever has it last."""
    lengths = []
    for forks in (False, True):
        family = Family()
        family.touch(7, 7, write=True)
        if forks:
            family.fork()
            family.apply(EventKind.EXIT, 0, PAGES)
        family.swap_out()
        lengths.append(family.count("zswap_bytes"))
    assert lengths[0] == lengths[1] > 0


def test_what_is_being_written_when_it_is_freed_stays_until_reclaim_finds_it() -> None:
    """free_swap_cache: a folio under writeback keeps its slot; nobody has it, somebody is charged for it."""
    family = Family(zswap=False, device="hdd")
    family.touch(*range(PAGES), write=True)
    for _ in range(3):
        memory_reclaim(family.machine, A, 32, 0)
    being_written = int(family.machine.device.writes_count)
    assert being_written
    family.apply(EventKind.UNMAP, 0, PAGES)
    validate(family.machine)
    left = int(family.machine.sizes.shared_folios)
    assert left == family.count("inactive") + family.count("active") == family.count("swapcached")
    assert 0 < left <= being_written
    family.swap_out()
    assert (family.machine.sizes.shared_folios, family.count("swapcached"), family.count("anon")) == (0, 0, 0)
    assert family.count("swap") == family.machine.swap.cache_ret


@pytest.mark.parametrize("killed", [False, True])
def test_a_parent_that_was_killed_has_no_child_and_one_that_has_exited_leaves_it_nothing(killed: bool) -> None:
    family = Family(child="b")
    family.touch(0)
    if killed:
        family.fire(Event(at=0, cgroup="a", set={"memory_swap_max": 0, "memory_max": 0}))
    else:
        family.apply(EventKind.EXIT, 0, PAGES)
    assert family.count("oom_kill") == killed
    family.fork()
    family.touch(CHILD)
    assert family.count("pgfault", B) == (not killed)
