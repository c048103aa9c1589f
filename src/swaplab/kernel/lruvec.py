"""The list that reclaim takes a memcg's pages from."""

from __future__ import annotations

from typing import Any, Final

from swaplab.kernel.sync import Atomic, ListHead, Shared, SpinLock

__all__ = ["Lruvec"]


class Lruvec(Shared):
    """struct lruvec: pages of one memcg, those that came first at the head.

    Differs: one list of pages with a second chance, instead of active and inactive ones.

    Attributes:
        size: how many are on it; under its lock.
        nr_disk_swapins: pages read from the device lately: a sign for zswap's shrinker that it went too far.
    """

    lru_lock: Final[SpinLock]
    lru: Final[ListHead[Any]]
    nr_disk_swapins: Final[Atomic]
    size: int

    def __init__(self) -> None:
        self.lru_lock = SpinLock(self, "lru_lock")
        self.lru = ListHead(self, "lru")
        self.size = 0
        self.nr_disk_swapins = Atomic(self, "nr_disk_swapins")
