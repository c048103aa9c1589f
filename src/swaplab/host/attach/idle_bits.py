"""Looking at processes page by page, with the kernel's idle bits: as root, where a kernel has them.

Documentation/admin-guide/mm/idle_page_tracking.rst and pagemap.rst, 6.12: ``page_idle/bitmap`` has a bit for each page
of the machine. Setting it takes the accessed bit off the page and keeps for the kernel's reclaim that it was used; who
uses the page takes the bit away. Counted is what `proc` counts, each page divided by how often it is mapped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swaplab.host.attach.proc import SHARED, Clock, Identity, Look, identity
from swaplab.host.processes import PROC
from swaplab.linux.page import PAGE_SIZE

__all__ = ["BITMAP", "IdleBits"]

BITMAP: Final = Path("/sys/kernel/mm/page_idle/bitmap")
PRESENT, SWAPPED, FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
FRAME: Final = np.uint64((1 << 55) - 1)
TAIL: Final = np.uint64(1 << 16)  # KPF_COMPOUND_TAIL
HUGE: Final = np.uint64(512)  # pages; their idle bit is that of the first
WORD: Final = np.uint64(64)
GAP: Final = 512
"""Numbers of 8 bytes."""
_MAPPING: Final = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ...([ps]) \S+ \S+ \S+ *(.*)$", re.MULTILINE)


class IdleBits(Clock):
    """What `watch` looks with, where there are idle bits.

    Attributes:
        method: what it is, for people.

    Args:
        bitmap: see `BITMAP`.
        proc: where /proc is.

    Raises:
        OSError: there are none, or this user may not use them.
    """

    def __init__(self, bitmap: Path = BITMAP, proc: Path = PROC) -> None:
        self.method = "idle page bits, page by page"
        self._proc = proc
        self._bitmap = os.open(bitmap, os.O_RDWR | os.O_CLOEXEC)
        self._flags = os.open(proc / "kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        self._counts = os.open(proc / "kpagecount", os.O_RDONLY | os.O_CLOEXEC)

    def clear(self, pid: int) -> None:
        """Have all pages of a process be idle."""
        frames, _ = self._frames(pid)
        word, number = np.unique(frames // WORD, return_inverse=True)
        bits = np.zeros(len(word), np.uint64)
        np.bitwise_or.at(bits, number, np.uint64(1) << frames % WORD)
        for run in _runs(word):
            # What is written is set besides what is set: zeros change nothing.
            values = np.zeros(int(word[run][-1] - word[run][0]) + 1, np.uint64)
            values[(word[run] - word[run][0]).astype(np.int64)] = bits[run]
            os.pwrite(self._bitmap, values.tobytes(), int(word[run][0]) * 8)

    def look(self, pid: int) -> Look:
        """Count what a process has, and what is not idle any more."""
        frames, swapped = self._frames(pid)
        is_tail = (_gathered(self._flags, frames) & TAIL) != 0
        heads = np.where(is_tail, frames // HUGE * HUGE, frames)
        is_idle = (_gathered(self._bitmap, heads // WORD) >> heads % WORD & np.uint64(1)) != 0
        share = 1 / np.maximum(_gathered(self._counts, frames), np.uint64(1))
        return Look(float(share.sum()), float(share[~is_idle].sum()), swapped, float(share[is_tail].sum()))

    def identity(self, pid: int) -> Identity:
        """See `proc.identity`."""
        return identity(pid, self._proc)

    def _frames(self, pid: int) -> tuple[NDArray[np.uint64], float]:
        """Return the frames of a process's pages that can be swapped, in order of address, and how many are in swap."""
        found, swapped = [np.empty(0, np.uint64)], 0
        pagemap = os.open(self._proc / str(pid) / "pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for first, pages, is_shared in self._mappings(pid):
                data = os.pread(pagemap, pages * 8, first * 8)
                entries = np.frombuffer(data, np.uint64, len(data) // 8)
                is_own = (entries & FILE == 0) | is_shared
                swapped += int(((entries & SWAPPED != 0) & is_own).sum())
                found.append(entries[(entries & PRESENT != 0) & is_own] & FRAME)
        finally:
            os.close(pagemap)
        return np.concatenate(found), float(swapped)

    def _mappings(self, pid: int) -> Iterator[tuple[int, int, bool]]:
        """Yield first page, pages, and whether it is shared memory, of all mappings that may have such pages."""
        for match in _MAPPING.finditer((self._proc / str(pid) / "maps").read_bytes()):
            is_shared = match[3] == b"s"
            if is_shared and not match[4].startswith(SHARED):
                continue
            first, end = int(match[1], 16) // PAGE_SIZE, int(match[2], 16) // PAGE_SIZE
            for start in range(first, end, 1 << 20):
                yield start, min(end - start, 1 << 20), is_shared


def _gathered(file: int, place: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Read the numbers of 8 bytes at some places; 0 behind the end of the file."""
    places, number = np.unique(place, return_inverse=True)
    found = np.zeros(len(places), np.uint64)
    for run in _runs(places):
        first = int(places[run][0])
        data = os.pread(file, (int(places[run][-1]) - first + 1) * 8, first * 8)
        values = np.zeros(int(places[run][-1]) - first + 1, np.uint64)
        values[: len(data) // 8] = np.frombuffer(data, np.uint64, len(data) // 8)
        found[run] = values[(places[run] - np.uint64(first)).astype(np.int64)]
    return found[number]


def _runs(places: NDArray[np.uint64]) -> Iterator[slice]:
    """Yield the parts of ascending places that lie together, but for gaps, which are rather read in passing."""
    breaks = np.flatnonzero(np.diff(places) > GAP) + 1
    edges = [0, *breaks.tolist(), len(places)]
    yield from (slice(low, high) for low, high in pairwise(edges) if high > low)
