"""MGLRU: what mm/vmscan.c of Linux 6.12 does with CONFIG_LRU_GEN, one behaviour a test; of 7.2 at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.replay.lab import OVERHEAD, A, Lab, age_of, set_refs_of, tier_idx_of
from tests.replay.validate import validate

from swaplab.linux.release import MODELLED, Modelled
from swaplab.replay.state import (
    COMPRESSED,
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_REFS,
    MAX_NR_GENS,
    MAX_NR_TIERS,
    ON_DISK,
    PG_REFERENCED,
    PG_WORKINGSET,
    PRESENT,
    PTRS_PER_TABLE,
    RESIDENT,
    YOUNG,
)
from swaplab.scenario.model import Cgroup, Zswap


class Generations(Lab):
    """A lab with MGLRU."""

    def __init__(self, pages: int = 200, **options: Any) -> None:
        super().__init__(pages, lru="mglru", **options)

    def seq(self, name: str = "max_seq", memcg: int = A) -> int:
        """A number of a cgroup's generations."""
        return int(self.machine.lru_gens[name][memcg])

    def age(self, page: int) -> int:
        """How many generations are younger than the folio's."""
        gen = int(self.machine.folios["bits"][page] & LRU_GEN_MASK) >> LRU_GEN_SHIFT
        return (self.seq() - gen + 1) % MAX_NR_GENS

    def ages(self, pages: Sequence[int]) -> set[int]:
        """All ages of some folios."""
        return {self.age(page) for page in pages}

    def is_young(self, page: int) -> bool:
        """Whether the page was used since that was last looked at."""
        return int(self.machine.pte[page]) & (PRESENT | YOUNG) == PRESENT | YOUNG

    def filtered(self, table: int) -> bool:
        """Whether the next walk will look into a page table."""
        return bool(self.machine.filters[table] >> self.seq() % 2 & 1)


def test_a_faulted_page_is_of_the_youngest_generation() -> None:
    """folio_add_lru: in a fault. So is one that comes back."""
    lab = Generations()
    lab.touch(range(100))
    assert lab.ages(range(100)) == {0}
    lab.reclaim(60)
    gone = lab.where(COMPRESSED)
    lab.touch(gone[:5])
    assert lab.ages(gone[:5]) == {0}


def test_the_first_reclaim_ages_twice_and_then_evicts_in_order() -> None:
    """should_run_aging: with all folios in the youngest generation none is cold, until two are younger."""
    lab = Generations(memory_max=100 + OVERHEAD)
    lab.touch(range(100))
    assert lab.seq() == 3
    lab.touch([100])
    gone = lab.where(COMPRESSED)
    assert lab.seq() == 5
    assert gone == list(range(len(gone))), "the oldest"
    assert len(gone) == 64, "MIN_LRU_BATCH"


def test_what_was_used_since_the_last_walk_is_promoted() -> None:
    """walk_pte_range: the first walk finds everything used, and the second only what was used again."""
    lab = Generations()
    lab.touch(range(100))
    age_of(lab.machine, A)
    assert lab.ages(range(100)) == {1}, "promoted to the youngest, of which there is a younger now"
    lab.touch(range(10))
    age_of(lab.machine, A)
    assert lab.ages(range(10)) == {1}
    assert lab.ages(range(10, 100)) == {2}
    assert lab.count("inactive") == 90


def test_of_five_generations_the_two_oldest_become_one() -> None:
    """inc_min_seq: what would be given up joins the next, the oldest of it."""
    lab = Generations()
    lab.touch(range(100))
    for _ in range(4):
        age_of(lab.machine, A)
    assert lab.seq() - lab.seq("min_seq") == MAX_NR_GENS - 1
    assert lab.ages(range(100)) == {3}
    validate(lab.machine)


def test_a_used_page_that_eviction_meets_is_kept_and_so_are_its_neighbours() -> None:
    """lru_gen_look_around: 64 pages around it, in the same page table."""
    lab = Generations(400, memory_max=300)
    lab.touch(range(300))
    lab.touch([300])
    cold = [page for page in lab.where(RESIDENT) if page != 300]
    used = cold[:20]
    lab.touch(used)
    seq = lab.seq()
    lab.reclaim(32)
    assert lab.seq() == seq, "nothing was aged"
    assert all(lab.state(page) == RESIDENT for page in used)
    assert not any(lab.is_young(page) for page in used)
    assert lab.ages(used) == {0}


@pytest.mark.parametrize(("used", "dense"), [(64, True), (8, True), (7, False)])
def test_a_page_table_is_walked_again_only_if_it_was_densely_used(used: int, dense: bool) -> None:
    """suitable_to_scan: one entry in each cache line of eight; here of the 64 of the window around the first."""
    lab = Generations(PTRS_PER_TABLE, memory_max=300)
    lab.touch(range(300))
    lab.touch([300])
    cold = [page for page in lab.where(RESIDENT) if page != 300]
    lab.machine.filters[:] = 0
    lab.touch(cold[:used])
    lab.reclaim(1)
    assert lab.filtered(0) == dense


def test_a_walk_skips_page_tables_that_no_filter_names() -> None:
    """walk_pmd_range: what is in them stays as it is, for eviction to find."""
    lab = Generations(2 * PTRS_PER_TABLE)
    lab.touch(range(1000))
    age_of(lab.machine, A)
    age_of(lab.machine, A)
    in_first, in_second = 0, PTRS_PER_TABLE
    lab.machine.filters[:] = [3, 0]
    lab.touch([in_first, in_second])
    age_of(lab.machine, A)
    assert lab.age(in_first) == 1
    assert lab.age(in_second) == 3
    assert not lab.is_young(in_first)
    assert lab.is_young(in_second)


def test_a_refault_from_the_oldest_generation_counts_as_one_too_early() -> None:
    """lru_gen_refault: WORKINGSET_ACTIVATE while min_seq is what it was, and WORKINGSET_RESTORE as it is a fault."""
    lab = Generations()
    lab.touch(range(200))
    lab.reclaim(64)
    gone = lab.where(COMPRESSED)
    lab.touch(gone[:3])
    assert lab.count("workingset_refault_anon") == 3
    assert lab.count("workingset_activate_anon") == lab.count("workingset_restore_anon") == 3
    lab.machine.lru_gens["min_seq"][A] += 1
    lab.machine.lru_gens["max_seq"][A] += 1
    lab.touch(gone[3:5])
    assert lab.count("workingset_refault_anon") == 5
    assert lab.count("workingset_activate_anon") == 3


def test_a_write_that_ended_puts_its_folio_where_eviction_looks_first() -> None:
    """folio_rotate_reclaimable, lru_gen_add_folio: the oldest end of the oldest generation."""
    lab = Generations(300, memory_max=150, zswap=Zswap(enabled=False))
    lab.touch(range(151))
    lab.touch([150] * 100_000)  # time passes
    written = lab.count("pswpout")
    waiting = written - len(lab.where(ON_DISK))
    assert waiting > 0
    lab.touch(range(151, 151 + waiting))
    assert lab.count("pswpout") == written, "nothing had to be written for those"
    assert len(lab.where(ON_DISK)) >= waiting


def test_without_swap_nothing_is_evicted() -> None:
    """get_swappiness: fewer than 64 slots are none."""
    lab = Generations(swap_pages=63)
    lab.touch(range(150))
    lab.reclaim(100)
    assert len(lab.where(RESIDENT)) == 150
    assert lab.count("pgscan") == 0


def test_a_workload_that_moved_is_walked_fully_once() -> None:
    """lru_gen_migrate_mm: its new cgroup's filters know nothing of it."""
    lab = Generations(cgroup="a/b", cgroups={"a/b": Cgroup()})
    lab.touch(range(150))
    lab.reclaim(64)
    assert not lab.machine.mm_is_new[0]
    lab.remove("a/b")
    assert lab.machine.mm_is_new[0]
    assert not lab.machine.filters[0]


def test_kswapd_goes_round_the_cgroups() -> None:
    """shrink_many: cgroups that were aged wait in the young generation until the old one is empty."""
    cgroups = {"b": Cgroup(), "c": Cgroup()}
    lab = Generations(1000, machine=900, cgroups=cgroups, swap_pages=10_000)
    lab.touch(range(1000))
    assert lab.count("pgsteal") > 0
    assert int(lab.machine.mglru.memcg_seq) > 0
    assert int(lab.machine.memory.free) > 0


# Linux 7.2 ------------------------------------------------------------------------------------------------------------


class Uses(Generations):
    """A lab with MGLRU as it is in 7.2."""

    def __init__(self, pages: int = 200, **options: Any) -> None:
        super().__init__(pages, kernel="7.2", **options)

    def flags(self, page: int) -> int:
        """What the folio says of its uses."""
        return int(self.machine.folios["bits"][page]) & (PG_REFERENCED | LRU_REFS | PG_WORKINGSET)

    def tier(self, name: str, tier: int) -> int:
        """A number of one of the cgroup's tiers."""
        return int(self.machine.tiers[name][A * MAX_NR_TIERS + tier])


def test_a_new_page_is_used_once_and_of_the_second_youngest_generation() -> None:
    """lru_gen_folio_seq; one that comes back is in the swap cache, and older by one."""
    lab = Uses()
    lab.touch(range(100))
    assert lab.ages(range(100)) == {1}
    assert {lab.flags(page) for page in range(100)} == {PG_REFERENCED}
    lab.machine.pte[:100] &= ~np.uint8(YOUNG)
    lab.reclaim(40)
    gone = lab.where(COMPRESSED)
    assert gone
    lab.touch(gone[:5])
    assert lab.ages(gone[:5]) == {min(2, lab.seq() - lab.seq("min_seq"))}
    validate(lab.machine)


def test_a_walk_that_finds_a_page_used_again_makes_it_one_of_the_workingset() -> None:
    """folio_update_gen."""
    lab = Uses()
    lab.touch(range(100))
    age_of(lab.machine, A)
    assert {lab.flags(page) for page in range(100)} == {PG_WORKINGSET}
    assert lab.ages(range(100)) == {1}, "the youngest, of which there is a younger now"


def test_a_share_is_scanned_that_grows_until_there_is_enough() -> None:
    """try_to_shrink_lruvec: 6.12 takes 64 as soon as one is to be scanned."""
    lab = Uses(300)
    lab.touch(range(300))
    for _ in range(3):
        age_of(lab.machine, A)
    lab.reclaim(32)
    shares = [300 >> 8, 299 >> 7, 297 >> 6, 293 >> 5, 284 >> 4]
    assert lab.count("pgsteal") == sum(shares) == 33
    validate(lab.machine)


def test_a_used_page_that_eviction_meets_is_promoted_by_how_often_it_was_used() -> None:
    """lru_gen_set_refs: the second use promotes to the second youngest generation, the third to the youngest."""
    lab = Uses(400)
    lab.touch(range(300))
    for page, before in ((0, 0), (1, PG_REFERENCED), (2, PG_REFERENCED | LRU_REFS), (3, PG_WORKINGSET)):
        bits = lab.machine.folios["bits"]
        bits[page] = bits[page] & ~np.uint16(PG_REFERENCED | LRU_REFS | PG_WORKINGSET) | before
    found = [set_refs_of(lab.machine, page) for page in range(4)]
    assert found == [False, True, True, True]
    assert [lab.flags(page) for page in range(4)] == [
        PG_REFERENCED,
        PG_REFERENCED | LRU_REFS,
        PG_WORKINGSET,
        PG_WORKINGSET | PG_REFERENCED,
    ]


def test_a_tier_that_comes_back_too_often_is_not_evicted() -> None:
    """get_tier_idx: 64 times, and with a margin of 64 one and a half times as often as the first tier's."""
    lab = Uses()
    first, last = (lab.machine.tiers[A * MAX_NR_TIERS + tier] for tier in (0, MAX_NR_TIERS - 1))
    last.evicted, last.refaulted = 100, 63
    assert tier_idx_of(lab.machine, A) == 3
    last.refaulted = 64
    assert tier_idx_of(lab.machine, A) == 2
    first.evicted, first.refaulted, last.evicted = 1000, 99, 1000
    for refaulted, tier in ((140, 3), (141, 2)):
        last.refaulted = refaulted
        assert tier_idx_of(lab.machine, A) == tier, refaulted


def test_what_tiers_did_fades_by_half_with_each_generation() -> None:
    """reset_ctrl_pos."""
    lab = Uses()
    lab.touch(range(100))
    lab.reclaim(40)
    evicted = sum(lab.tier("evicted", tier) + 2 * lab.tier("avg_total", tier) for tier in range(MAX_NR_TIERS))
    assert evicted >= lab.count("pgsteal") > 0
    for _ in range(4):
        age_of(lab.machine, A)
    assert sum(lab.tier("evicted", tier) for tier in range(MAX_NR_TIERS)) == 0
    assert sum(lab.tier("avg_total", tier) for tier in range(MAX_NR_TIERS)) > 0


def test_a_page_that_comes_back_soon_is_counted_in_its_tier() -> None:
    """lru_gen_refault: within four generations, one of the workingset is of the youngest again."""
    lab = Uses()
    lab.touch(range(100))
    age_of(lab.machine, A)
    age_of(lab.machine, A)
    age_of(lab.machine, A)
    lab.reclaim(40)
    gone = lab.where(COMPRESSED)
    lab.touch(gone[:7])
    assert lab.tier("refaulted", MAX_NR_TIERS - 1) == lab.count("workingset_restore_anon") == 7
    assert lab.ages(gone[:7]) == {0}
    validate(lab.machine)


@pytest.mark.parametrize("kernel", MODELLED)
def test_a_used_page_that_is_isolated_stays_so(kernel: Modelled) -> None:
    """get_pfn_folio of 7.2: it is found used in its turn. 6.12 takes it for used, and forgets that it was."""
    lab = Generations(kernel=kernel)
    lab.touch(range(100))
    lab.machine.folios["bits"][5] &= ~np.uint16(LRU_GEN_MASK)
    age_of(lab.machine, A)
    assert [lab.is_young(page) for page in (4, 5, 6)] == [False, kernel == "7.2", False]
