"""The one table of counters, from which every list of them is made.

A name is the kernel's: a key of ``memory.stat``, a file and a key of it (``memory.events.max``), or a file that is one
number. The columns of a `Result` are in this order.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import (
    COMPRESS_FAIL_COUNTED,
    DECOMPRESS_FAIL_COUNTED,
    INCOMPRESSIBLE_COUNTED_BY_MEMCG,
    INCOMPRESSIBLE_KEPT,
    LRU_PER_MEMCG,
    ZERO_PAGES_IN_MAP,
    Release,
)

__all__ = [
    "BY_NAME",
    "COUNTERS",
    "DEBUGFS",
    "EVENTS",
    "JUDGED",
    "JUDGED_OF_FILES",
    "LEVELS",
    "MACHINE",
    "TIMES",
    "Counter",
]


Judged = bool | Literal["files"]


class Counter(NamedTuple):
    """One number of a sample.

    Attributes:
        name: the kernel's.
        kind: ``event``, counted since the start, or ``level``, what there is now.
        whose: ``memcg``, each cgroup's with all below; ``machine``, the whole machine's.
        unit: ``count``, of pages or of times; ``bytes``; ``ns``, which the replay's tasks spent and no kernel counts.
        field: of the replay's records (`swaplab.replay.state`): of a cgroup's, or of the one that is named before
            (``zswap.stored_pages``); empty for what it does not count.
        scale: what that is multiplied by.
        judged: whether `swaplab fidelity` compares it with a kernel's; ``files``: where a scenario has file memory.
        since: the first release that counts it; None for what 6.1 counts, and what no kernel does.
    """

    name: str
    kind: Literal["event", "level"]
    whose: Literal["memcg", "machine"]
    unit: Literal["count", "bytes", "ns"]
    field: str
    scale: int = 1
    judged: Judged = False
    since: Release | None = None

    def is_counted_by(self, release: Release) -> bool:
        """Whether a release of Linux counts it, or, if none does, the replay."""
        return self.since is None or self.since <= release


def _event(name: str, field: str = "", judged: Judged = False, since: Release | None = None) -> Counter:
    return Counter(name, "event", "memcg", "count", field or name, 1, judged, since)


def _time(name: str) -> Counter:
    return Counter(name, "event", "memcg", "ns", name)


def _level(
    name: str, field: str = "", scale: int = PAGE_SIZE, judged: Judged = False, since: Release | None = None
) -> Counter:
    return Counter(name, "level", "memcg", "bytes", field or name, scale, judged, since)


def _zswap(name: str, kind: Literal["event", "level"], since: Release | None = None) -> Counter:
    """One of zswap's in debugfs."""
    return Counter(name, kind, "machine", "count", f"zswap.{name}", since=since)


COUNTERS: tuple[Counter, ...] = (
    _event("pgfault"),
    _event("pgmajfault", judged=True),
    _event("pgscan", judged="files"),
    _event("pgsteal", judged="files"),
    _event("pgactivate"),
    _event("pgdeactivate"),
    _event("pgrefill"),
    _event("workingset_refault_anon"),
    _event("workingset_activate_anon"),
    _event("workingset_restore_anon"),
    _event("workingset_refault_file", judged="files"),
    _event("workingset_activate_file"),
    _event("workingset_restore_file"),
    _event("pswpin", judged=True),
    _event("pswpout", judged=True),
    _event("swpin_zero", since=ZERO_PAGES_IN_MAP),
    _event("swpout_zero", since=ZERO_PAGES_IN_MAP),
    _event("zswpin", judged=True),
    _event("zswpout", judged=True),
    _event("zswpwb", judged=True, since=LRU_PER_MEMCG),
    _event("memory.events.high", "high"),
    _event("memory.events.max", "max_events"),
    _event("memory.events.oom", "oom"),
    _event("memory.events.oom_kill", "oom_kill"),
    _event("memory.swap.events.max", "swap_max_events"),
    _time("compress_ns"),
    _time("decompress_ns"),
    _time("device_ns"),
    _time("reclaim_ns"),
    _time("fault_ns"),
    _time("throttle_ns"),
    _level("memory.current", "usage", judged=True),
    _level("memory.swap.current", "swap"),
    _level("anon", judged=True),
    _level("inactive_anon", "inactive"),
    _level("active_anon", "active"),
    _level("swapcached"),
    _level("file", judged="files"),
    _level("inactive_file", judged="files"),
    _level("active_file", judged="files"),
    _level("zswap", "zswap_bytes", 1, judged=True),
    _level("zswapped", judged=True),
    Counter("free", "level", "machine", "bytes", "memory.free", PAGE_SIZE),
    Counter("pool_total_size", "level", "machine", "bytes", "zswap.pool_pages", PAGE_SIZE, judged=True),
    _zswap("stored_pages", "level"),
    _zswap("pool_limit_hit", "event"),
    _zswap("written_back_pages", "event"),
    _zswap("reject_reclaim_fail", "event"),
    _zswap("reject_alloc_fail", "event"),
    _zswap("reject_compress_fail", "event", COMPRESS_FAIL_COUNTED),
    _level("zswap_incomp", "incompressible", since=INCOMPRESSIBLE_COUNTED_BY_MEMCG),
    _zswap("stored_incompressible_pages", "level", INCOMPRESSIBLE_KEPT),
    _zswap("decompress_fail", "event", DECOMPRESS_FAIL_COUNTED),
)

BY_NAME = {each.name: each for each in COUNTERS}


def _names(whose: str, kind: str = "") -> tuple[str, ...]:
    """Names of those that the replay counts."""
    return tuple(each.name for each in COUNTERS if each.field and each.whose == whose and kind in each.kind)


EVENTS = _names("memcg", "event")
"""Of each cgroup; `LEVELS` likewise."""
LEVELS = _names("memcg", "level")
MACHINE = _names("machine")
TIMES = tuple(each.name for each in COUNTERS if each.unit == "ns")
JUDGED = tuple(each.name for each in COUNTERS if each.judged is True)
JUDGED_OF_FILES = tuple(each.name for each in COUNTERS if each.judged == "files")
"""Those that are judged as well where a scenario has file memory."""
DEBUGFS = tuple(each.name for each in COUNTERS if each.whose == "machine" and each.name != "free")
"""Files of zswap's in debugfs, each one number."""
