"""What is charged ahead (mm/memcontrol.c:memcg_stock), and statistics as of their last flush."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from tests.replay.lab import OVERHEAD, A, Lab
from tests.replay.validate import stocks, validate

from swaplab.replay.cgroup import memory_max_write
from swaplab.replay.state import MEMCG_PAGES, NR_MEMCG_STOCK
from swaplab.replay.stats import FLUSH_INTERVAL, read_stats
from swaplab.replay.stock import MEMCG_CHARGE_BATCH
from swaplab.scenario.content import SameFilled
from swaplab.scenario.model import Cgroup

X, Y = 2, 3


def siblings(more: dict[str, Cgroup] | None = None, **limits: Any) -> Lab:
    """A lab whose task lives in ``a/x``, beside ``a/y``, and `more` cgroups."""
    return Lab(400, cgroup="a/x", cgroups={"a/x": Cgroup(), "a/y": Cgroup()} | (more or {}), **limits)


def stock(lab: Lab, memcg: int, pages: int) -> None:
    """Let the processor hold pages that are charged to a cgroup, and to all above."""
    memory, memcgs = lab.machine.memory, lab.machine.memcgs
    memory.stock_memcg, memory.stock_pages = memcg, pages
    while memcg >= 0:
        memcgs["usage"][memcg] += pages
        memcg = int(memcgs["parent"][memcg])


def stock_of_several(lab: Lab, memcgs: Iterable[int]) -> None:
    """Let the processor hold 40 pages for each of some cgroups, which live at the top or below ``a``."""
    m = lab.machine
    for slot, memcg in zip(np.flatnonzero(m.stocks["memcg"] < 0), memcgs, strict=False):
        m.stocks["memcg"][slot], m.stocks["pages"][slot] = memcg, 40
        for each in {memcg, int(m.memcgs["parent"][memcg]), 0}:
            m.memcgs["usage"][each] += 40


def test_pages_are_charged_ahead_in_batches() -> None:
    lab = siblings()
    lab.touch([0])
    assert lab.count("usage", X) == lab.count("usage", A) - 2 * MEMCG_PAGES == MEMCG_CHARGE_BATCH
    assert lab.used(X) == 1 + OVERHEAD
    lab.touch(range(MEMCG_CHARGE_BATCH - OVERHEAD))
    assert lab.used(X) == lab.count("usage", X) == MEMCG_CHARGE_BATCH
    lab.touch([MEMCG_CHARGE_BATCH])
    assert lab.count("usage", X) == 2 * MEMCG_CHARGE_BATCH
    validate(lab.machine)


def test_who_reads_takes_the_place_of_the_stock() -> None:
    lab = siblings()
    lab.touch([0])
    read_stats(lab.machine)
    assert lab.count("usage", X) == lab.count("usage", A) - 2 * MEMCG_PAGES == lab.used(X) == 1 + OVERHEAD


def crowded(**limits: Any) -> Lab:
    """Siblings that share 200 pages: ``a/x`` uses 160, and 40 are charged ahead for ``a/y``."""
    lab = siblings(memory_max=200 + 2 * MEMCG_PAGES, **limits)
    lab.touch(range(160 - OVERHEAD))
    read_stats(lab.machine)
    stock(lab, Y, 40)
    assert (lab.used(X), lab.count("usage", Y), lab.count("max_events")) == (160, 40, 0)
    return lab


def test_a_neighbours_stock_is_in_the_way_until_reclaim_has_failed() -> None:
    """try_charge_memcg drains all stock only where reclaim has not made room."""
    lab = crowded(content=SameFilled(same_filled=0))
    lab.touch([160])
    assert (lab.count("max_events"), lab.machine.memory.stock_pages) == (1, 40)
    assert lab.count("pgsteal", X) > 0


def test_a_neighbours_stock_is_drained_before_anybody_is_killed() -> None:
    lab = crowded(swap_pages=0)
    lab.touch(range(200 - OVERHEAD))
    assert (lab.used(X), lab.count("oom"), lab.machine.memory.stock_pages) == (200, 0, 0)
    lab.touch([200])
    assert lab.count("oom") == 1


def test_anothers_charge_drains_the_stock() -> None:
    lab = siblings()
    stock(lab, Y, 40)
    lab.touch([0])
    assert (lab.count("usage", Y), lab.machine.memory.stock_memcg) == (0, X)
    validate(lab.machine)


def test_what_was_charged_ahead_for_structures_of_cgroups_stays_their_parents() -> None:
    """Nobody else takes its place in 7.2. With 2 children a parent was charged 64 pages, of which they take 4."""
    lab = siblings(kernel="7.2")
    assert lab.count("usage") == MEMCG_CHARGE_BATCH
    assert stocks(lab.machine)[1:] == [(A, MEMCG_CHARGE_BATCH - 2 * MEMCG_PAGES)]
    validate(lab.machine)


def test_seven_cgroups_have_pages_charged_ahead() -> None:
    """In 7.2, nobody's charge drains the stock of six others, nor does who reads."""
    lab = siblings(kernel="7.2")
    stock_of_several(lab, [Y])
    lab.touch([0])
    read_stats(lab.machine)
    assert (lab.count("usage", Y), lab.count("usage", X)) == (40, MEMCG_CHARGE_BATCH)
    validate(lab.machine)


def test_an_eighth_cgroup_takes_the_place_of_one_after_another() -> None:
    others = [Y + 1 + number for number in range(NR_MEMCG_STOCK - 1)]
    lab = siblings(kernel="7.2", more={f"b{number}": Cgroup() for number in others})
    stock_of_several(lab, others)
    lab.touch([0])
    assert [owner for owner, _ in stocks(lab.machine)[1:]] == [X, *others], "the parent's has given way"
    memory_max_write(lab.machine, X, 1000)
    assert len(stocks(lab.machine)[1:]) == NR_MEMCG_STOCK, "there is room below the limit"
    memory_max_write(lab.machine, X, MEMCG_CHARGE_BATCH - 1)
    assert stocks(lab.machine)[1:] == [], "all were drained, as one of the subtree's was"
    validate(lab.machine)


def test_statistics_are_flushed_after_so_many_accesses() -> None:
    """What changes after that is seen at the next flush, whoever looks."""
    lab = Lab(2 * FLUSH_INTERVAL)
    lab.touch(range(FLUSH_INTERVAL - 1))
    assert lab.count("flushed_inactive") == 0
    lab.touch([FLUSH_INTERVAL - 1])
    assert lab.count("flushed_inactive") == lab.count("flushed_inactive", 0) == FLUSH_INTERVAL
    lab.touch([FLUSH_INTERVAL])
    assert lab.count("flushed_inactive") == FLUSH_INTERVAL < lab.count("inactive")


def test_a_flush_that_was_due_comes_before_the_fault() -> None:
    """Accesses that do not fault change nothing, so that it is enough to flush before the next one that does."""
    lab = Lab(2 * FLUSH_INTERVAL)
    lab.touch([0] * (FLUSH_INTERVAL + 7) + [1])
    assert (lab.count("flushed_inactive"), lab.count("inactive")) == (1, 2)


def test_what_is_flushed_is_of_the_whole_subtree() -> None:
    lab = siblings()
    lab.touch(range(10))
    read_stats(lab.machine)
    assert [lab.count("flushed_inactive", each) for each in (0, A, X, Y)] == [10, 10, 10, 0]
