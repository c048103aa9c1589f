"""zswap: what mm/zswap.c does, one behaviour a test: of Linux 6.12, unless one says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.linux.pool import pool_pages
from tests.replay.lab import A, Lab, do_shrink_slab_of, pages_on, shrink_worker_of, zs_free_of, zs_malloc_of
from tests.replay.validate import validate

from swaplab.linux.release import MODELLED, Modelled
from swaplab.linux.sched import BASE_SLICE_NS
from swaplab.replay import replay
from swaplab.replay.state import COMPRESSED, ENTRY_REFERENCED, LRU_INACTIVE, ON_DISK, RESIDENT, ZERO_FILLED
from swaplab.replay.stats import read_stats
from swaplab.scenario.content import Random, Zero
from swaplab.scenario.model import Cgroup, Machine, Scenario, Workload, Zswap, with_baseline

PRIORITIES = range(12, -1, -1)


def filled(**arguments: object) -> Lab:
    """A lab with 100 pages in zswap, the first the oldest."""
    lab = Lab(**arguments)  # type: ignore[arg-type]
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.entries() == list(range(100))
    return lab


def unreference(lab: Lab, pages: list[int]) -> None:
    """Let entries have had their second chance."""
    lab.machine.folios["bits"][pages] &= ~np.uint16(ENTRY_REFERENCED)


def shrink_as_if(lab: Lab, freeable: int, priority: int) -> None:
    """Run the shrinker with so many compressed bytes in the cgroup that `freeable` pages seem worth the effort."""
    m = lab.machine
    pretended = freeable * 4096 - lab.count("zswap_bytes")
    m.memcgs["zswap_bytes"][A] += pretended
    m.zswap.shrinker = 1
    do_shrink_slab_of(m, A, priority)
    m.memcgs["zswap_bytes"][A] -= pretended


@pytest.mark.parametrize("is_drained", [False, True])
def test_a_folio_that_is_new_when_its_writeback_ends_is_not_rotated(is_drained: bool) -> None:
    """folio_rotate_reclaimable: what waits in a batch is on no list, and so not the next that reclaim takes."""
    lab = filled()
    lab.touch(range(100, 110))
    unreference(lab, [0])
    shrink_as_if(lab, 4, 0)
    (written,) = set(lab.where(RESIDENT)) - set(range(100, 110))
    m = lab.machine
    m.memory.lru_batch += is_drained
    m.task.clock += 1 << 40
    lab.reclaim(0)
    assert pages_on(m, A, LRU_INACTIVE)[-1 if is_drained else 0] == written
    validate(m)


def test_a_page_loaded_from_zswap_is_stored_again() -> None:
    """zswap_load frees the entry and leaves the folio dirty."""
    lab = filled()
    lab.touch(range(100))
    assert lab.count("zswpin") == 100
    assert lab.machine.zswap.stored_pages == 0
    assert lab.has_slot(0)
    assert lab.is_dirty(0)
    lab.reclaim(100)
    assert lab.count("zswpout") == 200


def test_zero_filled_pages_go_to_the_zeromap() -> None:
    """swap_writepage: neither zswap nor the device sees them, and they come back clean."""
    lab = Lab(content=Zero())
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.where(ZERO_FILLED) == list(range(100))
    lab.touch(range(100))
    assert not lab.is_dirty(0)
    lab.reclaim(100)
    assert lab.where(ZERO_FILLED) == list(range(100))
    assert (lab.count("swpout_zero"), lab.count("swpin_zero")) == (100, 100), "dropped the second time"
    assert (lab.count("zswpout"), lab.count("pswpout")) == (0, 0)


def test_pages_that_do_not_compress_are_written_to_disk() -> None:
    lab = Lab(content=Random())
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.machine.zswap.reject_compress_fail == 100
    assert lab.count("pswpout") == 100


def test_without_writeback_a_rejected_page_stays_and_is_active() -> None:
    """memory.zswap.writeback = 0: AOP_WRITEPAGE_ACTIVATE."""
    lab = Lab(content=Random(), memory_zswap_writeback=False)
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.where(RESIDENT) == list(range(100))
    assert lab.count("pswpout") == 0
    assert lab.count("pgactivate") >= 100


@pytest.mark.parametrize("kernel", MODELLED)
def test_pages_that_do_not_compress_are_kept_as_they_are_or_not(kernel: Modelled) -> None:
    """7.2's zswap_compress: a page each, charged as such, and counted."""
    lab = Lab(content=Random(), kernel=kernel)
    lab.touch(range(100))
    before = lab.used()
    lab.reclaim(100)
    kept = 0 if kernel == "6.12" else 100
    assert (lab.count("zswpout"), lab.count("pswpout")) == (kept, 100 - kept)
    assert (lab.count("incompressible"), lab.machine.zswap.stored_incompressible_pages) == (kept, kept)
    assert lab.machine.zswap.reject_compress_fail == 100 - kept
    assert (lab.count("zswap_bytes"), lab.machine.zswap.pool_pages) == (kept * 4096, kept)
    assert lab.used() == (before if kept else before - 100 + len(lab.where(RESIDENT)))
    lab.touch(range(100))
    assert (lab.count("incompressible"), lab.machine.zswap.stored_incompressible_pages) == (0, 0)
    validate(lab.machine)


@pytest.mark.parametrize("kernel", MODELLED)
def test_a_page_that_may_never_be_written_back_is_not_kept_as_it_is(kernel: Modelled) -> None:
    lab = Lab(content=Random(), kernel=kernel, memory_zswap_writeback=False)
    lab.touch(range(100))
    lab.reclaim(10)
    assert lab.where(RESIDENT) == list(range(100))
    assert lab.machine.zswap.reject_compress_fail > 0
    assert (lab.count("zswpout"), lab.count("pswpout")) == (0, 0)


def test_zswap_max_zero_sends_everything_to_disk() -> None:
    lab = Lab(memory_zswap_max=0)
    lab.touch(range(100))
    lab.reclaim(100)
    assert lab.count("zswpout") == 0
    assert lab.count("pswpout") == 100


def test_zswap_max_writes_one_entry_back_per_store() -> None:
    """zswap_store: over the limit it tries one entry, which the second chance saves the first time; it then rejects."""
    lab = filled()
    lab.set(memory_zswap_max=4096)
    assert lab.count("zswap_bytes") >= 4096
    lab.touch([100])
    lab.reclaim(1)
    assert not lab.machine.folios["bits"][0] & ENTRY_REFERENCED
    assert lab.count("zswpwb") == 0
    assert lab.count("zswpout") == 100, "rejected"
    assert lab.entries() == [*range(1, 100), 0]


def test_zswap_max_stores_when_an_entry_was_written_back() -> None:
    """zswap_store goes on after one writeback, without looking at the limit again."""
    lab = filled()
    unreference(lab, lab.entries())
    lab.touch([100])
    lab.set(memory_zswap_max=4096)
    assert lab.count("zswap_bytes") >= 4096
    lab.reclaim(1)
    assert (lab.count("zswpwb"), lab.count("zswpout")) == (1, 101)
    assert lab.entries() == list(range(1, 101))
    validate(lab.machine)


def test_an_entry_gets_a_second_chance() -> None:
    """shrink_memcg_cb: a fresh entry is rotated once and written back when met again."""
    lab = filled()
    lab.machine.zswap.accept_pages = 0
    shrink_worker_of(lab.machine)
    assert lab.entries() == [*range(16, 100), *range(16)]
    assert lab.count("zswpwb") == 0
    unreference(lab, lab.entries())
    shrink_worker_of(lab.machine)
    assert lab.count("zswpwb") == 100


@pytest.mark.parametrize("entries", [1, 2, 3])
def test_a_walk_meets_a_rotated_entry_again_unless_it_is_alone(entries: int) -> None:
    """list_for_each_safe has the next entry in hand, which for a list of one is its head."""
    lab = Lab()
    lab.touch(range(entries))
    lab.reclaim(entries)
    shrink_as_if(lab, freeable=1000, priority=0)
    assert lab.count("zswpwb") == (0 if entries == 1 else entries)


def shrink_slab_model(freeable: int, priority: int, deferred: int) -> tuple[int, int]:
    """Scans and what is deferred after them: do_shrink_slab, written from its description, when no scan stops."""
    delta = 4 * (freeable >> priority) // 2
    total = min((deferred >> priority) + delta, 2 * freeable)
    scanned = 0
    while total - scanned >= min(128, freeable):
        scanned += min(128, total - scanned)
    return scanned, max(0, min(deferred + delta - scanned, 2 * freeable))


def test_the_model_of_the_shrinker_gives_what_was_worked_by_hand() -> None:
    deferred, scans = 0, []
    for priority in PRIORITIES:
        scanned, deferred = shrink_slab_model(1000, priority, deferred)
        scans.append(scanned)
    assert scans == [0] * 8 + [128, 256, 512, 1024, 1920]
    for freeable, first in ((10_000, 7), (100_000, 10)):
        deferred, found = 0, []
        for priority in PRIORITIES:
            scanned, deferred = shrink_slab_model(freeable, priority, deferred)
            found += [(priority, scanned)] * bool(scanned)
        assert found[0] == (first, 128)


@pytest.mark.parametrize("freeable", [100, 300, 1000, 4000])
def test_the_shrinker_writes_back_what_the_model_says(freeable: int) -> None:
    pages = 5 * freeable
    lab = Lab(pages, swap_pages=2 * pages, zswap=Zswap(enabled=True, max_pool_percent=100))
    lab.touch(range(pages))
    lab.reclaim(pages)
    unreference(lab, lab.entries())
    deferred = 0
    for priority in PRIORITIES:
        before = lab.count("zswpwb")
        scanned, deferred = shrink_slab_model(freeable, priority, deferred)
        shrink_as_if(lab, freeable, priority)
        assert (lab.count("zswpwb") - before, lab.count("nr_deferred")) == (scanned, deferred)
    validate(lab.machine)


def test_a_batch_that_writes_nothing_back_stays_deferred() -> None:
    """SHRINK_STOP: fresh entries are only rotated, and what was to be scanned is left for the next time."""
    lab = Lab(1000)
    lab.touch(range(1000))
    lab.reclaim(1000)
    shrink_as_if(lab, freeable=1000, priority=1)
    assert (lab.count("zswpwb"), lab.count("nr_deferred")) == (0, 1000)
    assert lab.entries() == [*range(128, 1000), *range(128)]


@pytest.mark.parametrize("kernel", MODELLED)
def test_the_shrinker_leaves_the_page_alone_that_it_was_called_for(kernel: Modelled) -> None:
    """In 6.12 nobody has a folio for its slot, ENOMEM: the next one. In 7.2 it is in the swap cache: EEXIST."""
    lab = filled(kernel=kernel)
    unreference(lab, list(range(100)))
    lab.machine.task.swapping_in = 0
    shrink_as_if(lab, 60, 1)
    assert (lab.entries()[-1], lab.state(0)) == (0, COMPRESSED)
    assert lab.machine.zswap.reject_reclaim_fail == 1
    assert lab.count("zswpwb") == (59 if kernel == "6.12" else 0)
    assert lab.count("nr_deferred") == (0 if kernel == "6.12" else 60)


def test_pages_that_were_read_from_disk_protect_as_many_entries_once() -> None:
    """zswap_shrinker_count consumes nr_disk_swapins."""
    lab = filled()
    unreference(lab, lab.entries())
    lab.machine.memcgs["nr_disk_swapins"][A] = 150
    shrink_as_if(lab, freeable=1000, priority=0)
    assert (lab.count("zswpwb"), lab.count("nr_disk_swapins")) == (0, 50)


def test_the_pool_limit_has_hysteresis() -> None:
    """zswap_check_limits: full at the limit, accepting again at the threshold only."""
    lab = filled()
    lab.set(memory_zswap_writeback=False)
    lab.touch(range(100, 110))
    zswap = lab.machine.zswap
    pool = int(zswap.pool_pages)

    def stored_within(limit: int, threshold: int) -> int:
        zswap.max_pages, zswap.accept_pages = limit, threshold
        before = lab.count("zswpout")
        read_stats(lab.machine)
        lab.reclaim(10)
        return lab.count("zswpout") - before

    assert stored_within(pool, pool - 1) == 0
    assert zswap.pool_limit_hit > 0
    hits = int(zswap.pool_limit_hit)
    assert stored_within(pool + 10, pool - 1) == 0, "below the limit, above the threshold"
    assert zswap.pool_limit_hit == hits
    assert stored_within(pool + 10, pool) == 10
    validate(lab.machine)


def test_the_worker_goes_round_the_cgroups_and_stops_after_16_failures() -> None:
    """shrink_worker: fresh entries are rotated, which counts as a failure each."""
    lab = Lab(cgroups={"b": Cgroup()})
    lab.touch(range(60))
    lab.machine.task_memcg[0] = 2
    lab.touch(range(60, 120))
    lab.reclaim(60, "a")
    lab.reclaim(60, "b")
    lab.machine.zswap.accept_pages = 0
    shrink_worker_of(lab.machine)
    bits = lab.machine.folios["bits"]
    rotated = [int(np.sum(bits[pages] & ENTRY_REFERENCED == 0)) for pages in (lab.entries(1), lab.entries(2))]
    assert rotated == [8, 8]
    assert (lab.count("zswpwb", 1), lab.count("zswpwb", 2)) == (0, 0)


def test_the_worker_stops_after_16_walks_of_a_tree_without_candidates() -> None:
    lab = Lab(memory_zswap_writeback=False)
    lab.touch(range(60))
    lab.reclaim(60)
    lab.machine.zswap.accept_pages = 0
    shrink_worker_of(lab.machine)
    assert lab.count("zswpwb") == 0
    assert lab.machine.zswap.next_shrink == -1


def test_the_worker_writes_back_down_to_the_threshold() -> None:
    lab = filled()
    zswap = lab.machine.zswap
    unreference(lab, lab.entries())
    zswap.accept_pages = int(zswap.pool_pages) - 1
    shrink_worker_of(lab.machine)
    assert zswap.pool_pages == zswap.accept_pages
    assert lab.count("zswpwb") == zswap.written_back_pages > 0
    oldest = lab.count("zswpwb")
    assert lab.entries() == list(range(oldest, 100)), "the oldest first"
    validate(lab.machine)


def test_the_worker_does_what_its_processor_has_time_for() -> None:
    """What it has begun goes on with the clock, entry by entry."""
    lab = filled()
    unreference(lab, lab.entries())
    zswap = lab.machine.zswap
    zswap.accept_pages = 0
    one = int(lab.machine.cost.decompress_ns + lab.machine.device.submit_ns)
    zswap.shrink_queued = 1
    lab.machine.task.clock = zswap.worker_clock = 10**9
    lab.set(memory_high=None)
    assert lab.count("zswpwb") == 1, "its clock was not ahead"
    lab.machine.task.clock += 10 * one
    lab.set(memory_high=None)
    assert lab.count("zswpwb") == 11
    assert zswap.worker_clock == 10**9 + 11 * one
    validate(lab.machine)


def test_a_worker_without_a_processor_of_its_own_takes_turns_with_the_task() -> None:
    """Of a slice each. What the one does, the other waits for."""
    lab = filled()
    unreference(lab, lab.entries())
    zswap, task = lab.machine.zswap, lab.machine.task
    zswap.accept_pages = 0
    one = int(lab.machine.cost.decompress_ns + lab.machine.device.submit_ns)
    task.cpus = zswap.shrink_queued = 1
    task.clock = zswap.worker_clock = 10**9
    zswap.worker_turn = 10**9 + 10 * one
    lab.set(memory_high=None)
    assert lab.count("zswpwb") == 10
    assert task.clock == 10**9 + 10 * one
    lab.set(memory_high=None)
    assert lab.count("zswpwb") == 10, "it is the task's turn"
    task.clock += BASE_SLICE_NS
    lab.set(memory_high=None)
    assert lab.count("zswpwb") == 100
    assert task.clock == 10**9 + 100 * one + BASE_SLICE_NS
    validate(lab.machine)


@pytest.mark.parametrize(("kernel", "cpus", "runs"), [("6.12", 2, 4), ("6.12", 1, 4), ("7.2", 2, 4), ("7.2", 1, 1)])
def test_a_refused_store_has_the_worker_look_around_as_soon_as_it_may(kernel: Modelled, cpus: int, runs: int) -> None:
    """With every folio that the full pool refuses 16 entries or so lose their second chance.

    On a processor that it shares, 7.2's worker waits until reclaim is over.
    """
    lab = filled(kernel=kernel)
    zswap = lab.machine.zswap
    zswap.max_pages = zswap.pool_pages
    zswap.accept_pages = 0
    lab.machine.task.cpus = cpus
    lab.touch(range(100, 104))
    lab.reclaim(4)
    assert zswap.pool_limit_hit == 4
    looked_at = np.sum(lab.machine.folios["bits"][lab.entries()] & ENTRY_REFERENCED == 0)
    assert looked_at == 16 + (runs - 1) * 15, "a run that begins where the tree ends has failed once"


def test_what_was_written_back_is_read_from_disk() -> None:
    lab = filled()
    unreference(lab, lab.entries())
    lab.machine.zswap.accept_pages = 0
    shrink_worker_of(lab.machine)
    lab.reclaim(100)
    lab.reclaim(100)
    assert lab.where(ON_DISK) == list(range(100))
    lab.touch([0])
    assert lab.count("pswpin") == 1
    assert lab.count("nr_disk_swapins") == 1


def test_the_shrinker_does_not_see_the_roots_own_entries() -> None:
    """zswap_shrinker_count: entries without an objcg are in no cgroup's memory.stat, so there is nothing to free."""
    lab = Lab(cgroup="", machine=300, pages=600, zswap=Zswap(enabled=True, shrinker_enabled=True, max_pool_percent=50))
    lab.touch(range(600))
    assert lab.count("entries", 0) > 0
    assert lab.count("zswpwb", 0) == 0
    assert not np.any(lab.machine.folios["bits"][lab.entries(0)] & ENTRY_REFERENCED == 0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 4096), max_size=150))
def test_a_pool_that_is_only_filled_takes_what_packing_says(lengths: list[int]) -> None:
    """zsmalloc, against the arithmetic of its size classes."""
    lab = Lab(200)
    zspages = [zs_malloc_of(lab.machine, length) for length in lengths]
    assert lab.machine.zswap.pool_pages == pool_pages(lengths)
    for zspage in zspages:
        zs_free_of(lab.machine, zspage)
    assert lab.machine.zswap.pool_pages == 0
    assert lab.machine.memory.free == lab.machine.memory.totalram


def test_no_writeback_holds_for_workloads_in_the_root_as_well() -> None:
    root = Scenario(
        machine=Machine(memory=4 << 20),
        zswap=Zswap(enabled=True, max_pool_percent=1),
        workloads=(Workload(pages=1200, accesses=4800, content=Random()),),
        samples=1,
    )
    assert replay(with_baseline(root, "memcg")).final()["pswpout"] > 0
    assert replay(with_baseline(root, "no-writeback")).final()["pswpout"] == 0
