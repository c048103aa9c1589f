"""Classic reclaim: what mm/vmscan.c and mm/workingset.c of Linux 6.12 do, one behaviour a test."""

from __future__ import annotations

import numpy as np
import pytest
from tests.replay.lab import OVERHEAD, A, Lab, scan_target_of

from swaplab.replay.state import COMPRESSED, NO_LIMIT, NONE, ON_DISK, RESIDENT
from swaplab.replay.stats import read_stats
from swaplab.scenario.content import Ratio
from swaplab.scenario.model import Cgroup, Zswap


def test_a_first_touched_page_is_evicted_at_its_second_scan() -> None:
    """folio_check_references: the first scan finds it young and keeps it, the second finds it old."""
    lab = Lab(memory_max=40 + OVERHEAD)
    lab.touch(range(40))
    assert lab.count("pgscan") == 0
    lab.touch([40])
    scanned, stolen = lab.count("pgscan"), lab.count("pgsteal")
    assert stolen > 0
    assert scanned >= stolen + 40


def test_a_page_touched_between_two_scans_is_activated() -> None:
    """folio_check_references: young and PG_referenced. What is not touched again goes first, though it is younger."""
    lab = Lab(memory_max=64)
    lab.touch(range(64))
    lab.reclaim(1)
    kept = lab.where(RESIDENT)
    lab.touch(kept[:4])
    active = lab.count("pgactivate")
    lab.reclaim(1)
    lab.touch(kept[:4])
    lab.reclaim(1)
    assert lab.count("pgactivate") > active
    assert all(lab.state(page) == RESIDENT for page in kept[:4])


def test_what_reclaim_activates_ages_what_is_gone() -> None:
    """move_folios_to_lru: an active folio that goes back counts as an eviction does, and so makes distances longer."""
    lab = Lab(100)
    lab.touch(range(100))
    lab.reclaim(1)  # clears all accessed bits on the way
    lab.touch(lab.where(RESIDENT))
    aged, activated, stolen = (lab.count(name) for name in ("nonresident_age", "pgactivate", "pgsteal"))
    lab.reclaim(1)
    assert lab.count("pgactivate") > activated
    passed = lab.count("pgactivate") - activated + lab.count("pgsteal") - stolen
    assert lab.count("nonresident_age") - aged == passed


@pytest.mark.parametrize("pages", [65, 80, 100])
def test_a_cyclic_scan_larger_than_memory_always_misses(pages: int) -> None:
    """The law of pure LRU, which reclaim keeps while nothing is active: each page is gone before its turn comes."""
    lab = Lab(pages, memory_max=64, zswap=Zswap(enabled=False))
    lab.touch(range(pages))
    gone = lab.where(ON_DISK)
    assert gone == list(range(len(gone))), "the oldest"
    lab.touch(range(pages))
    assert lab.count("pgmajfault") >= pages - 64


def test_pages_that_come_back_soon_are_active_and_those_that_come_late_are_not() -> None:
    """workingset_test_recent: a refault distance of at most the active list's length, as last flushed, activates."""
    lab = Lab(400)
    lab.touch(range(300))
    lab.reclaim(100)
    gone = lab.where(COMPRESSED)
    lab.touch([gone[0]])
    assert not lab.is_active(gone[0]), "nothing was active, so any distance is too long"
    assert lab.count("workingset_refault_anon") == 1
    lab.machine.folios["shadow"][gone[1]] = lab.count("nonresident_age")
    lab.touch([gone[1]])
    assert lab.is_active(gone[1])
    lab.machine.folios["shadow"][gone[2]] = lab.count("nonresident_age") - lab.count("active") - 1
    lab.touch([gone[2]])
    assert not lab.is_active(gone[2])
    lab.machine.folios["shadow"][gone[3]] = lab.count("nonresident_age") - lab.count("active")
    lab.touch([gone[3]])
    assert not lab.is_active(gone[3]), "as far as anybody knows, nothing is"
    read_stats(lab.machine)
    lab.machine.folios["shadow"][gone[4]] = lab.count("nonresident_age") - lab.count("active") - 1
    lab.touch([gone[4]])
    assert not lab.is_active(gone[4])
    lab.machine.folios["shadow"][gone[5]] = lab.count("nonresident_age") - lab.count("active")
    lab.touch([gone[5]])
    assert lab.is_active(gone[5])
    assert lab.count("workingset_activate_anon") == 2


def test_a_clean_page_from_disk_is_dropped_without_io() -> None:
    """The slot stays in use after a read fault, so what it holds need not be written again."""
    lab = Lab(zswap=Zswap(enabled=False))
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.where(NONE) == list(range(100, 200))
    lab.reclaim(100)
    written = lab.count("pswpout")
    lab.touch(range(100))
    assert lab.has_slot(0)
    assert not lab.is_dirty(0)
    lab.reclaim(100)
    assert lab.state(0) == ON_DISK
    assert lab.count("pswpout") == written


def test_a_page_written_to_since_is_written_out_again() -> None:
    lab = Lab(zswap=Zswap(enabled=False))
    lab.touch(range(100))
    lab.reclaim(100)
    lab.reclaim(100)
    written = lab.count("pswpout")
    lab.touch(range(100))
    lab.touch(range(100), write=True)
    lab.reclaim(100)
    assert lab.count("pswpout") == written + 100


def test_swap_slots_are_freed_at_write_faults() -> None:
    """should_try_to_free_swap: a write fault of the only user."""
    lab = Lab()
    lab.touch(range(100))
    lab.reclaim(100)
    lab.touch([0])
    lab.touch([1], write=True)
    assert (lab.has_slot(0), lab.has_slot(1)) == (True, False)
    assert lab.machine.swap.slots_used == 99


@pytest.mark.parametrize(("swap_pages", "kept"), [(210, True), (190, False)])
def test_swap_slots_are_freed_at_any_fault_when_half_are_used(swap_pages: int, kept: bool) -> None:
    """vm_swap_full."""
    lab = Lab(swap_pages=swap_pages)
    lab.touch(range(100))
    lab.reclaim(100)
    lab.touch([0])
    assert lab.has_slot(0) == kept


@pytest.mark.parametrize(("swap_max", "kept"), [(201, True), (200, False)])
def test_swap_slots_are_freed_when_half_of_the_cgroups_are_used(swap_max: int, kept: bool) -> None:
    """mem_cgroup_swap_full: twice the usage reaches memory.swap.max."""
    lab = Lab(memory_swap_max=swap_max)
    lab.touch(range(100))
    lab.reclaim(100)
    lab.touch([0])
    assert lab.has_slot(0) == kept


@pytest.mark.parametrize(("cost", "share"), [(0, 0.300), (1, 0.222), (10, 0.180), (10_000_000, 0.1765)])
def test_the_share_of_anonymous_memory_falls_with_its_cost(cost: int, share: float) -> None:
    """get_scan_count at swappiness 60: 60 / 200 at no cost, towards 3 / 17."""
    lab = Lab()
    lab.machine.scan.priority = 1
    lab.machine.memcgs["anon_cost"][0] = cost
    scanned = scan_target_of(lab.machine, A, 2_000_000)
    assert scanned / 1_000_000 == pytest.approx(share, abs=0.01)


def test_all_is_scanned_at_the_last_priority() -> None:
    lab = Lab()
    lab.machine.scan.priority = 0
    assert scan_target_of(lab.machine, A, 1000) == 1000


def test_nothing_is_scanned_without_swap_or_swappiness() -> None:
    """can_reclaim_anon_pages; swappiness 0 forbids swap to cgroups but not to the machine."""
    without_swap = Lab(swap_pages=0)
    assert scan_target_of(without_swap.machine, A, 1000) == 0
    unwilling = Lab(swappiness=0)
    unwilling.machine.scan.target = A
    assert scan_target_of(unwilling.machine, A, 1000) == 0


def test_the_oldest_page_goes_first() -> None:
    lab = Lab()
    lab.touch(range(100))
    lab.reclaim(32)
    assert lab.where(COMPRESSED) == list(range(len(lab.where(COMPRESSED))))


def test_folios_are_freed_when_a_list_is_through() -> None:
    """shrink_folio_list: they stay charged, so that what zswap needs meanwhile goes over memory.max, which counts."""
    lab = Lab(2000, memory_max=1003, content=Ratio(ratio=2.0))
    lab.touch(range(1000))
    assert lab.count("usage") == 1003, "with two page tables and an anon_vma"
    lab.touch([1000])
    pages = -(-lab.count("zswap_bytes") // 4096)
    assert pages / 2 < lab.count("max_events") - 1 <= pages, "one is the fault's; freed at once, they would make room"


def test_kswapd_keeps_the_watermark_free() -> None:
    lab = Lab(600, machine=500, cgroup="")
    lab.touch(range(450))
    memory = lab.machine.memory
    assert memory.free > memory.watermark_low
    lab.touch(range(450, 600))
    assert memory.free > memory.watermark_min
    assert lab.count("pgsteal", 0) > 0


def test_reclaim_goes_round_the_subtree() -> None:
    """mem_cgroup_iter: direct reclaim continues where the last one stopped, so all children pay."""
    lab = Lab(cgroups={"a/x": Cgroup(), "a/y": Cgroup()}, cgroup="a/x")
    lab.touch(range(100))
    lab.machine.task_memcg[0] = 3
    lab.touch(range(100, 200))
    for _ in range(4):
        lab.reclaim(16)
    stolen = [lab.count("pgsteal", memcg) for memcg in (2, 3)]
    assert min(stolen) > 0
    assert abs(stolen[0] - stolen[1]) <= 64


def test_ample_memory_means_no_reclaim() -> None:
    lab = Lab()
    lab.touch(list(range(200)) * 3)
    m = lab.machine
    assert m.memcgs["memory_max"][A] == NO_LIMIT
    assert lab.count("pgfault") == 200
    assert np.all(m.memcgs["pgscan"] == 0)
