"""What a user can do without a simulator of the kernel: an LRU cache as large as the limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swaplab.errors import SwaplabError
from swaplab.files import scratch_directory
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import Scenario
from swaplab.scenario.trace.oracle_general import RECORD

__all__ = ["lru_faults"]


def lru_faults(scenario: Scenario) -> dict[str, int]:
    """Return, for each cgroup with a memory.max, how often an LRU cache of that size misses a page it had before.

    It stands for ``pgmajfault``. It knows nothing of what zswap takes from the limit, of limits above, of events
    and of memory that is freed or shared.

    Raises:
        SwaplabError: libcachesim is not installed.
        InputError: a trace is broken.
    """
    accesses = Accesses(scenario)
    limits = {path: each.memory_max for path, each in scenario.cgroups.items() if each.memory_max is not None}
    pages = np.concatenate([chunk.accesses >> 1 for chunk in accesses.chunks()])
    faults = {}
    for path, limit in limits.items():
        inside = np.zeros(int(accesses.first[-1]), bool)
        for first, end in _ranges(scenario, accesses, path):
            inside[first:end] = True
        own = pages[inside[pages]]
        faults[path] = _misses(own, limit // PAGE_SIZE) - len(np.unique(own))
    return faults


def _ranges(scenario: Scenario, accesses: Accesses, path: str) -> Iterator[tuple[int, int]]:
    """First page, and the one past the last, of each workload in a cgroup or below."""
    for workload, first, end in zip(scenario.workloads, accesses.first, accesses.first[1:], strict=False):
        if f"{workload.cgroup}/".startswith(f"{path}/"):
            yield int(first), int(end)


def _misses(pages: np.ndarray[tuple[int], np.dtype[np.uint32]], capacity: int) -> int:
    try:
        from libcachesim import LRU, TraceReader, TraceType  # noqa: PLC0415 - an extra
    except ImportError:
        raise SwaplabError("the LRU cache to compare with takes libcachesim: pip install libcachesim") from None
    if not len(pages):
        return 0
    rows = np.zeros(len(pages), RECORD)
    rows["id"], rows["size"], rows["next"] = pages, 1, -2
    with scratch_directory() as directory:
        trace = directory / "trace.oracleGeneral"
        rows.tofile(trace)
        reader = TraceReader(str(trace), TraceType.ORACLE_GENERAL_TRACE)
        miss_ratio: float = LRU(cache_size=capacity).process_trace(reader)[0]
    return round(miss_ratio * len(pages))
