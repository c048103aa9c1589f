"""Miss curves against an LRU cache in the plainest words, and against libCacheSim's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from libcachesim import LRU, TraceReader, TraceType

from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.misses import miss_curves
from swaplab.scenario.model import Cgroup, Scenario, Workload
from swaplab.scenario.trace.oracle_general import RECORD

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


def test_a_curve_is_what_caches_of_all_sizes_miss_in_each_subtree_with_a_limit() -> None:
    pages = np.concatenate([chunk.accesses >> 1 for chunk in Accesses(SCENARIO).chunks()])
    own = {"a": pages[pages < 80], "a/b": pages[(pages >= 50) & (pages < 80)]}
    curves = miss_curves(SCENARIO, Accesses(SCENARIO))
    assert [(curve.cgroup, curve.limit) for curve in curves] == [("a", 40), ("a/b", 10)]
    for curve in curves:
        assert [curve.at(size) for size in range(1, 90)] == [misses(own[curve.cgroup], size) for size in range(1, 90)]
        assert curve.at(curve.limit)


def test_libcachesim_misses_as_many(tmp_path: Path) -> None:
    pages = np.concatenate([chunk.accesses >> 1 for chunk in Accesses(SCENARIO).chunks()])
    rows = np.zeros(len(pages[pages < 80]), RECORD)
    rows["id"], rows["size"], rows["next"] = pages[pages < 80], 1, -2
    rows.tofile(tmp_path / "trace.oracleGeneral")
    reader = TraceReader(str(tmp_path / "trace.oracleGeneral"), TraceType.ORACLE_GENERAL_TRACE)
    missed = round(LRU(cache_size=40).process_trace(reader)[0] * len(rows))
    assert miss_curves(SCENARIO, Accesses(SCENARIO))[0].at(40) == missed - len(np.unique(rows["id"]))
