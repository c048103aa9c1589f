"""Cgroups: limits, reclaim on demand and removal, as mm/memcontrol.c of Linux 6.12 has them."""

from __future__ import annotations

from typing import Literal

import pytest
from tests.replay.lab import OVERHEAD, A, Lab
from tests.replay.validate import validate

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay.state import COMPRESSED, GONE, MEMCG_PAGES, NONE, ON_DISK, RESIDENT
from swaplab.scenario.content import Random
from swaplab.scenario.model import Cgroup, Event, Zswap

TABLE = 1
"""The page table of up to 512 pages."""


def test_memory_reclaim_frees_what_is_asked_for_and_not_much_more() -> None:
    """memory_reclaim: batches of a quarter of the rest, at least 32 pages."""
    lab = Lab(1000)
    lab.touch(range(1000))
    before = lab.count("pgsteal")
    lab.reclaim(400)
    assert 400 <= lab.count("pgsteal") - before < 400 + 64


def test_a_lowered_limit_reclaims_down_to_it() -> None:
    lab = Lab()
    lab.touch(range(200))
    lab.set(memory_max=50 * PAGE_SIZE)
    assert lab.count("usage") <= 50
    assert lab.count("oom_kill") == 0
    validate(lab.machine)


def test_a_lowered_limit_kills_when_nothing_can_be_reclaimed() -> None:
    """memory_max_write: 16 tries, then the OOM killer."""
    lab = Lab(swap_pages=0)
    lab.touch(range(200))
    lab.set(memory_max=50 * PAGE_SIZE)
    assert lab.count("oom") == lab.count("oom_kill") == 1
    assert lab.used() == 0


def test_the_limit_holds_and_every_hit_is_an_event() -> None:
    lab = Lab(memory_max=64)
    lab.touch(range(200))
    assert lab.count("usage") <= 64
    assert lab.count("max_events") >= (200 - 64) // 64


def test_oom_kills_the_workload_that_gives_most_back() -> None:
    """oom_badness: resident and swapped pages."""
    lab = Lab(swap_pages=0, memory_max=100)
    lab.touch(range(101))
    assert lab.count("oom_kill") == 1
    assert lab.state(0) == GONE
    faults = lab.count("pgfault")
    lab.touch(range(101))
    assert lab.count("pgfault") == faults, "its further accesses do nothing"


def test_memory_high_reclaims_a_batch_at_a_time() -> None:
    """mem_cgroup_handle_over_high, once 64 pages were charged ahead and exceed the limit."""
    lab = Lab(1000, memory_high=300)
    lab.touch(range(4 * 64 - OVERHEAD))
    assert (lab.count("usage"), lab.count("high"), lab.count("pgscan")) == (4 * 64, 0, 0)
    lab.touch([4 * 64 - OVERHEAD])
    assert lab.count("high") == 1
    assert lab.count("usage") <= 300 + 8, "what was reclaimed is charged again, compressed"
    lab.touch(range(4 * 64, 1000))
    assert lab.count("usage") <= 300 + 64
    assert lab.count("throttle_ns") == 0, "reclaim keeps up"


def test_memory_high_throttles_when_nothing_can_be_reclaimed() -> None:
    """calculate_high_delay: 2 s a batch at most, with no swap to reclaim to."""
    lab = Lab(1000, memory_high=120, swap_pages=0)
    lab.touch(range(2 * 64 - OVERHEAD))
    once = lab.count("throttle_ns")
    overage = (8 << 20) // 120
    jiffies = overage * overage * 250 >> 34
    assert once == jiffies * 4_000_000 > 0
    lab.touch(range(2 * 64 - OVERHEAD, 1000))
    assert lab.count("throttle_ns") == once + 14 * 2_000_000_000


def test_memory_high_is_handled_page_by_page_where_a_batch_does_not_fit() -> None:
    """try_charge_memcg falls back to a single page near memory.max, before which memory.high still takes effect."""
    lab = Lab(memory_high=30, memory_max=60)
    lab.touch(range(200))
    assert lab.count("max_events") == 0
    assert lab.count("usage") <= 31


def test_swap_max_keeps_the_rest_in_memory() -> None:
    """The event is that of the cgroup whose page it was, though it is the parent's limit."""
    lab = Lab(memory_swap_max=25, cgroups={"a/x": Cgroup()}, cgroup="a/x")
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.count("swap") == 25
    assert len(lab.where(RESIDENT)) == 75
    assert lab.count("swap_max_events", 1) == 0
    assert lab.count("swap_max_events", 2) > 0


def test_entries_of_a_removed_cgroup_are_its_parents_oldest() -> None:
    """memcg_reparent_list_lrus splices at the head."""
    lab = Lab(cgroups={"a/x": Cgroup()}, cgroup="a/x")
    lab.touch(range(50))
    lab.reclaim(50)
    lab.machine.task_memcg[0] = A
    lab.touch(range(50, 100))
    lab.reclaim(50)
    assert (lab.entries(2), lab.entries(A)) == (list(range(50)), list(range(50, 100)))
    lab.remove("a/x")
    assert lab.entries(A) == list(range(100))
    assert lab.entries(2) == []
    validate(lab.machine)
    lab.touch(range(100))
    assert lab.count("zswpin", A) == 100
    validate(lab.machine)


def test_folios_of_a_removed_cgroup_are_reclaimed_through_its_parent() -> None:
    lab = Lab(cgroups={"a/x": Cgroup()}, cgroup="a/x")
    lab.touch(range(100))
    lab.remove("a/x")
    assert lab.used(2) == 100, "they stay charged to the dead"
    lab.reclaim(100)
    assert lab.used(2) == 0
    assert lab.where(COMPRESSED) == list(range(100))
    assert lab.entries(A) == list(range(100)), "new entries go to the parent"
    validate(lab.machine)


def test_pages_of_a_removed_cgroup_come_back_to_the_parent() -> None:
    """mem_cgroup_swapin_charge_folio: the owner of the slot is offline, so the faulting task's cgroup pays."""
    lab = Lab(cgroups={"a/x": Cgroup()}, cgroup="a/x")
    lab.touch(range(100))
    lab.reclaim(100)
    lab.remove("a/x")
    assert lab.count("swap_local", 2) == 100
    lab.touch(range(100), write=True)
    assert lab.count("anon", A) == 100
    assert lab.count("swap_local", 2) == 0


def test_page_tables_are_charged_as_pages_are_first_touched() -> None:
    """__pte_alloc: of 512 entries each, until the task exits."""
    lab = Lab(1100)
    free = int(lab.machine.memory.free)
    for page, charged in ((0, 2), (511, 3), (1099, 5), (512, 7)):
        lab.touch([page])
        assert lab.used() - 1 == free - lab.machine.memory.free == charged, (
            "and an anon_vma, which is in no page of its own"
        )
    lab.reclaim(4)
    lab.touch([0])
    assert (lab.machine.table_memcg == A).all(), "they stay when what they map is swapped out"
    lab.fire(Event(at=0, cgroup="a", exit=True))
    assert lab.used() == free - lab.machine.memory.free == 0


def test_page_tables_of_a_removed_cgroup_are_its_parents() -> None:
    """memcg_reparent_objcgs: they are kernel memory, which an objcg stands for."""
    lab = Lab(cgroups={"a/x": Cgroup()}, cgroup="a/x")
    lab.touch([0])
    lab.remove("a/x")
    assert (lab.used(2), lab.used(A)) == (1, 1 + OVERHEAD + MEMCG_PAGES)
    validate(lab.machine)


def test_an_exit_frees_everything_everywhere() -> None:
    lab = Lab(zswap=Zswap(enabled=True))
    lab.touch(range(200))
    lab.reclaim(100)
    lab.fire(Event(at=0, cgroup="a", exit=True))
    m = lab.machine
    assert lab.where(GONE) == list(range(200))
    assert (m.memory.free, m.swap.slots_used, m.zswap.pool_pages) == (m.memory.totalram, 0, 0)
    assert lab.used() == 0
    validate(m)


def test_the_root_is_not_charged_for_compressed_bytes() -> None:
    """The root has no objcg; every other cgroup pays in whole pages of its sum."""
    lab = Lab()
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.used() - TABLE == -(-lab.count("objcg_bytes") // PAGE_SIZE) > 0
    assert lab.count("objcg_bytes", 0) == 0


def test_disk_pages_are_what_swap_without_zswap_leaves() -> None:
    lab = Lab(content=Random(), zswap=Zswap(enabled=False))
    lab.touch(range(50))
    lab.reclaim(50)
    lab.reclaim(50)
    assert lab.where(ON_DISK) == list(range(50))
    assert lab.where(NONE) == list(range(50, 200))


def test_what_the_replay_does_not_know_is_no_other_thing() -> None:
    lab = Lab()
    with pytest.raises(ValueError, match="no limit of a cgroup: memory_low"):
        lab.set(memory_low=5)
    with pytest.raises(ValueError, match="no operation on memory: 99"):
        lab.apply(99, 0, 1)


@pytest.mark.parametrize("lru", ["classic", "mglru"])
def test_folios_of_a_removed_cgroup_are_its_parents_and_go_first(lru: Literal["classic", "mglru"]) -> None:
    """memcg_reparent_objcgs of 7.2: nothing is charged to who is gone, and the parent is charged for what it was."""
    lab = Lab(400, kernel="7.2", lru=lru, cgroup="a/x", cgroups={"a/x": Cgroup()})
    lab.touch(range(300))
    lab.reclaim(40)
    x, before = 2, lab.used()
    resident = lab.where(RESIDENT)
    lab.remove("a/x")
    memcgs = lab.machine.memcgs
    for name in ("anon", "inactive", "active", "swapcached", "usage"):
        assert memcgs[name][x] == 0, name
    assert set(lab.machine.folios["memcg"][resident].tolist()) == {A}
    assert (lab.count("anon"), lab.count("inactive") + lab.count("active")) == (len(resident), len(resident))
    assert lab.used() == before
    validate(lab.machine)
    lab.reclaim(100)
    assert lab.count("pgsteal") > 0
    validate(lab.machine)
