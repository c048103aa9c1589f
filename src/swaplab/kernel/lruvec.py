"""The list that reclaim takes a memcg's pages from."""

from __future__ import annotations

from typing import Any, Final

from swaplab.kernel.sync import Atomic, ListHead, Shared, SpinLock

__all__ = ["Lruvec"]


class Lruvec(Shared):
    """struct lruvec: pages of one memcg, those that came first at the head.

    Differs: one list of pages with a second chance, instead of active and inactive ones.

    Args:
        name: of the memcg.
        level: how many ancestors the memcg has; a child's lock is taken before its parent's: reparent_locks, 7.2.

    Attributes:
        size: how many are on it; under its lock.
        nr_disk_swapins: pages read from the device lately: a sign for zswap's shrinker that it went too far.
    """

    name: Final[str]
    lru_lock: Final[SpinLock]
    lru: Final[ListHead[Any]]
    nr_disk_swapins: Final[Atomic]
    size: int

    def __init__(self, name: str, level: int) -> None:
        self.name = f"{name}.lruvec"
        self.lru_lock = SpinLock(self, "lru_lock", -level)
        self.lru = ListHead(self, "lru")
        self.size = 0
        self.nr_disk_swapins = Atomic(self, "nr_disk_swapins")
