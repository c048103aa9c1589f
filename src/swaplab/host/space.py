"""Which pages of a process are anonymous memory, the memory that zswap sees."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AddressSpace", "What", "parse_maps"]

# Shared mappings of these are shmem: no file on a disk backs them, swap does.
_SHMEM = ("/dev/zero", "/dev/shm/", "/memfd:", "/SYSV")  # noqa: S108


class What(IntEnum):
    """What backs a page; `enum what` of ``plugin/plugin.h``."""

    ANONYMOUS = 0
    PRIVATE_FILE = 1
    SHARED_FILE = 2


class AddressSpace:
    """What each page of a process is, by ranges; what no file is known to back is anonymous."""

    def __init__(self) -> None:
        self._written: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._starts, self._what = [0], [What.ANONYMOUS]
        self._arrays: tuple[NDArray[np.uint64], NDArray[np.uint8]] | None = None

    @classmethod
    def from_maps(cls, text: str, parent: AddressSpace | None = None) -> Self:
        """Start with a ``/proc/PID/maps``, and with the pages that the `parent` wrote before the fork."""
        space = cls()
        for first, pages, what in parse_maps(text):
            space.change(first, pages, what)
        if parent is not None:
            space._written = parent._written
        return space

    def change(self, first: int, pages: int, what: What) -> None:
        """From now on `pages` pages from `first` on are `what`, and fresh."""
        if pages <= 0:
            return
        end = first + pages
        after = self._what[bisect_right(self._starts, end) - 1]
        low, high = bisect_left(self._starts, first), bisect_right(self._starts, end)
        self._starts[low:high] = [first, end]
        self._what[low:high] = [what, after]
        self._arrays = None
        if len(self._written):
            self._written = self._written[(self._written < first) | (self._written >= end)]

    def anonymous(self, page: NDArray[np.uint64], write: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which accesses are to anonymous memory; a write makes a private page of a file so."""
        what = self._look_up(page)
        result: NDArray[np.bool_] = what == What.ANONYMOUS
        private = np.flatnonzero(what == What.PRIVATE_FILE)
        if len(private):
            result[private] = self._copied(page[private], write[private])
        return result

    def _look_up(self, page: NDArray[np.uint64]) -> NDArray[np.uint8]:
        if self._arrays is None:
            self._arrays = np.array(self._starts, np.uint64), np.array(self._what, np.uint8)
        starts, what = self._arrays
        return what[np.searchsorted(starts, page, side="right") - 1]

    def _copied(self, page: NDArray[np.uint64], write: NDArray[np.bool_]) -> NDArray[np.bool_]:
        copied: NDArray[np.bool_] = np.isin(page, self._written)
        writes = np.flatnonzero(write)
        if not len(writes):
            return copied
        pages, first = np.unique(page[writes], return_index=True)
        at = np.minimum(np.searchsorted(pages, page), len(pages) - 1)
        self._written = np.union1d(self._written, pages)
        late: NDArray[np.bool_] = (pages[at] == page) & (np.arange(len(page)) >= writes[first[at]])
        return copied | late


def parse_maps(text: str) -> Iterator[tuple[int, int, What]]:
    """First page, pages and what they are, of each mapping of a file in a ``/proc/PID/maps``."""
    for line in text.split("\n"):  # a name may have what else ends lines
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue
        start, end = (int(address, 16) >> 12 for address in fields[0].split("-"))
        shared = fields[1].endswith("s")
        if not (shared and fields[5].startswith(_SHMEM)):
            yield start, end - start, What.SHARED_FILE if shared else What.PRIVATE_FILE
