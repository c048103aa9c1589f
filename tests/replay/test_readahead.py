"""Swap readahead by address: windows that mm/swap_state.c of Linux 6.12 would read, for a vm.page-cluster of 3."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.replay.lab import Lab

from swaplab.replay.state import COMPRESSED


@pytest.fixture
def lab() -> Lab:
    """A lab all of whose 100 pages are in zswap."""
    lab = Lab(100, page_cluster=3)
    lab.touch(range(100))
    lab.reclaim(100)
    assert len(lab.where(COMPRESSED)) == 100
    return lab


def read(lab: Lab, pages: Iterable[int]) -> list[int]:
    """Touch pages, and return which came in."""
    before = set(lab.where(COMPRESSED))
    lab.touch(pages)
    return sorted(before - set(lab.where(COMPRESSED)))


def test_the_first_window_is_around_the_page(lab: Lab) -> None:
    """swap_vma_ra_win: four hits are assumed before there were any, and three of eight pages come before."""
    assert read(lab, [50]) == list(range(47, 55))


def test_nothing_is_next_to_the_page_that_nobody_has_faulted_on_yet(lab: Lab) -> None:
    assert read(lab, [0]) == [0, 1, 2, 3, 4]


def test_who_goes_on_is_read_ahead_for(lab: Lab) -> None:
    read(lab, range(50, 55))
    assert read(lab, [55]) == list(range(55, 63))


def test_who_goes_back_is_read_behind_for(lab: Lab) -> None:
    read(lab, [50, 47])
    assert read(lab, [46]) == [43, 44, 45, 46]


def test_windows_shrink_by_half_without_hits(lab: Lab) -> None:
    """__swapin_nr_pages: no page that was read ahead was used."""
    assert [len(read(lab, [page])) for page in (10, 30, 50, 70, 90)] == [8, 4, 2, 1, 1]
