"""Dense numbers of scattered pages: the rank of each page in a set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ranks", "runs_of_both"]


class Ranks:
    """Rank of each page in a sorted set of pages, held as contiguous ranges: programs have few of them.

    Attributes:
        firsts: first page of each range, uint64 ``(ranges,)``.
        bases: rank of that page, uint64 ``(ranges,)``.
        pages: how many pages there are.
    """

    def __init__(self, pages: NDArray[np.uint64]) -> None:
        starts = np.flatnonzero(np.diff(pages) > 1) + 1
        self.bases = np.concatenate([[0] if len(pages) else [], starts]).astype(np.uint64)
        self.firsts = pages[self.bases]
        self.pages = len(pages)
        self._lengths = np.diff(self.bases, append=np.uint64(self.pages))

    # Pages of a set are `MAX_PAGES` at most, 2**31.
    def rank(self, pages: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Rank of each of `pages`, which are all in the set."""
        at = np.searchsorted(self.firsts, pages, side="right") - 1
        ranks: NDArray[np.uint64] = pages - self.firsts[at] + self.bases[at]
        return ranks.astype(np.uint32)

    def below(self, pages: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """How many pages of the set are below each of `pages`."""
        if not self.pages:
            return np.zeros(len(pages), np.uint32)
        at = np.maximum(np.searchsorted(self.firsts, pages, side="right") - 1, 0)
        inside = np.minimum(pages - np.minimum(pages, self.firsts[at]), self._lengths[at])
        return (self.bases[at] + inside).astype(np.uint32)

    def within(self, first: int, count: int) -> NDArray[np.uint64]:
        """Pages of the set among `count` from `first` on, in order."""
        low, high = self.below(np.array([first, first + count], np.uint64)).tolist()
        rank = np.arange(low, high, dtype=np.uint64)
        at = np.searchsorted(self.bases, rank, side="right") - 1
        return self.firsts[at] + rank - self.bases[at]

    def ranges(self) -> list[tuple[int, int]]:
        """First page and pages of each contiguous range."""
        return list(zip(self.firsts.tolist(), self._lengths.tolist(), strict=True))


def runs_of_both(
    ranks: Ranks, first: int, others: Ranks, other_first: int, count: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Runs of the pages among `count` from `first` on that both sets have, `others` as far from `other_first`.

    Returns:
        rank of each run's first page in either set, and its pages; uint32 ``(runs,)``.
    """
    pages = ranks.within(first, count)
    counterparts = pages - np.uint64(first) + np.uint64(other_first)
    rank, after = others.below(counterparts), others.below(counterparts + np.uint64(1))
    both = after > rank
    own, other = ranks.rank(pages[both]), rank[both]
    starts = np.flatnonzero((np.diff(own) != 1) | (np.diff(other) != 1)) + 1
    starts = np.concatenate(([0] if len(own) else [], starts)).astype(np.int64)
    return own[starts], other[starts], np.diff(starts, append=len(own)).astype(np.uint32)
