"""Counters of events, which order nothing.

Cited is Linux 6.12.
"""

from __future__ import annotations

from collections import Counter

from swaplab.kernel.sync import Part
from swaplab.kernel.sync.runtime import COMMUTE, READ, operation, outside

__all__ = ["Counters"]


class Counters(Part):
    """Counters by name: struct vm_event_state, and the numbers that zswap shows in debugfs.

    Differs: no increment is ever lost. zswap's own are plain in Linux, where two CPUs may overwrite each other's.

    Args:
        name: for texts.

    Attributes:
        counts: by the kernel's name; for looks from outside that are no operation of a task.
    """

    __slots__ = ("_counts",)
    counts: Counter[str] = outside("_counts")

    def __init__(self, name: str) -> None:
        super().__init__(None, name)
        self._counts: Counter[str] = Counter()

    @operation(COMMUTE, "count_vm_events")
    def count(self, name: str, n: int = 1) -> None:
        """count_vm_events, include/linux/vmstat.h."""
        self._counts[name] = self._counts.get(name, 0) + n

    @operation(READ, "all_vm_events")
    def all(self) -> dict[str, int]:
        """all_vm_events, mm/vmstat.c: those that were counted, by name."""
        return dict(self._counts)
