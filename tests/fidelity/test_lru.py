"""The LRU cache that a replay is compared with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np

from swaplab.fidelity.lru import lru_faults
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import Cgroup, Scenario, Workload

SCENARIO = Scenario(
    cgroups={"a": Cgroup(memory_max=40 * PAGE_SIZE), "a/b": Cgroup(memory_max=10 * PAGE_SIZE), "c": Cgroup()},
    workloads=(
        Workload(cgroup="a", pages=50, accesses=500),
        Workload(cgroup="a/b", pages=30, accesses=300),
        Workload(cgroup="c", pages=30, accesses=300),
    ),
    interleave=7,
)


def misses(pages: Iterable[int], capacity: int) -> int:
    """Of an LRU cache, in the plainest words; the first touch of a page does not count."""
    cache: OrderedDict[int, None] = OrderedDict()
    seen: set[int] = set()
    count = 0
    for page in pages:
        count += page in seen and page not in cache
        seen.add(page)
        cache[page] = None
        cache.move_to_end(page)
        if len(cache) > capacity:
            cache.popitem(last=False)
    return count


def test_it_counts_what_an_lru_cache_misses_in_each_subtree_with_a_limit() -> None:
    pages = np.concatenate([chunk.accesses >> 1 for chunk in Accesses(SCENARIO).chunks()])
    expected = {"a": misses(pages[pages < 80], 40), "a/b": misses(pages[(pages >= 50) & (pages < 80)], 10)}
    assert lru_faults(SCENARIO) == expected
    assert all(expected.values())
