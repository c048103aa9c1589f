"""Misses of an LRU cache of any size with a cgroup's accesses.

It is what one can know of a workload without a model of the kernel. It knows nothing of what zswap takes from the
limit, of limits above, and of memory that is freed or shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import Scenario

__all__ = ["MissCurve", "miss_curves"]

SLOTS = 2
"""Places in time for each page: it takes so many touches before time is begun anew."""


class MissCurve(NamedTuple):
    """Misses by size of the cache.

    Attributes:
        cgroup: path.
        limit: its memory.max, in pages.
        misses: int64 of shape (pages + 1,): how often a page was touched again that is not in a cache of so many pages.
    """

    cgroup: str
    limit: int
    misses: NDArray[np.int64]

    def at(self, pages: int) -> int:
        """Misses of a cache of that size."""
        return int(self.misses[min(pages, len(self.misses) - 1)])


def miss_curves(scenario: Scenario, accesses: Accesses) -> list[MissCurve]:
    """Return the exact curve of each cgroup with a memory.max, from one pass over all accesses.

    Raises:
        InputError: a trace is broken.
    """
    limits = {path: each.memory_max for path, each in scenario.cgroups.items() if each.memory_max is not None}
    counted = [(path, limit, _Distances(_inside(scenario, accesses, path))) for path, limit in limits.items()]
    for chunk in accesses.chunks():
        for _, _, distances in counted:
            distances.count(chunk.accesses >> 1)
    return [MissCurve(path, limit // PAGE_SIZE, distances.misses()) for path, limit, distances in counted]


def _inside(scenario: Scenario, accesses: Accesses, path: str) -> NDArray[np.bool_]:
    """Which pages are of workloads in a cgroup or below: bool of shape (pages,)."""
    inside = np.zeros(int(accesses.first[-1]), bool)
    for first, end in _ranges(scenario, accesses, path):
        inside[first:end] = True
    return inside


def _ranges(scenario: Scenario, accesses: Accesses, path: str) -> Iterator[tuple[int, int]]:
    """First page, and the one past the last, of each workload in a cgroup or below."""
    for workload, first, end in zip(scenario.workloads, accesses.first, accesses.first[1:], strict=False):
        if f"{workload.cgroup}/".startswith(f"{path}/"):
            yield int(first), int(end)


class _Distances:
    """How many other pages were touched between two touches of a page (Mattson et al., 1970: the stack distance).

    A page stands at the time of its last touch, and a Fenwick tree counts the pages up to a time. When time has run
    out, the pages move to its beginning, in their order.
    """

    def __init__(self, inside: NDArray[np.bool_]) -> None:
        self._number = np.cumsum(inside) - 1
        self._inside = inside
        pages = int(inside.sum())
        self._last = np.full(pages, -1, np.int64)
        self._page = np.zeros(SLOTS * pages + 1, np.int64)
        self._tree = np.zeros(SLOTS * pages + 2, np.int64)
        self._clock = np.zeros(2, np.int64)
        self._counts = np.zeros(pages + 1, np.int64)

    def count(self, pages: NDArray[Any]) -> None:
        """Go on with some touches, by the pages' numbers."""
        own = self._number[pages[self._inside[pages]]]
        _count(own, self._last, self._page, self._tree, self._clock, self._counts)

    def misses(self) -> NDArray[np.int64]:
        """A cache of n pages misses what is n others or more away."""
        return np.cumsum(self._counts[::-1])[::-1].copy()


@compiled
def _count(
    pages: NDArray[np.int64],
    last: NDArray[np.int64],
    page_at: NDArray[np.int64],
    tree: NDArray[np.int64],
    clock: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add the distance of each touch to `counts`; `clock` is the time, and the number of pages that were touched."""
    now, live = clock[0], clock[1]
    for page in pages:
        if now == len(page_at):
            now = _begin_anew(last, page_at, tree)
        before = last[page]
        if before >= 0:
            counts[live - _up_to(tree, before)] += 1
            _add(tree, before, -1)
        else:
            live += 1
        last[page], page_at[now] = now, page
        _add(tree, now, 1)
        now += 1
    clock[0], clock[1] = now, live


@compiled
def _begin_anew(last: NDArray[np.int64], page_at: NDArray[np.int64], tree: NDArray[np.int64]) -> int:
    """Move all pages to the beginning of time, in their order; return the time after them."""
    now = 0
    for time in range(len(page_at)):
        page = page_at[time]
        if last[page] == time:
            last[page], page_at[now] = now, page
            now += 1
    for number in range(1, len(tree)):
        tree[number] = min(number, now) - min(number - (number & -number), now)
    return now


@compiled
def _up_to(tree: NDArray[np.int64], time: int) -> int:
    """How many pages stand at a time or before."""
    total, number = 0, time + 1
    while number > 0:
        total += tree[number]
        number -= number & -number
    return total


@compiled
def _add(tree: NDArray[np.int64], time: int, pages: int) -> None:
    number = time + 1
    while number < len(tree):
        tree[number] += pages
        number += number & -number
