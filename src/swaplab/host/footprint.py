"""How much memory the processes of a trace have at once, as Linux counts it.

A page that was only read is the kernel's page of zeros, and takes none. After a fork parent and child have one page,
until either of them writes to it.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from swaplab.scenario.trace import EventKind, Trace

__all__ = ["Footprint", "footprint"]

NONE: Final = -1


class Footprint(msgspec.Struct):
    """Pages that all processes had when they had most.

    Attributes:
        anonymous: of their own, those that they share after a fork counted once.
        shared: of shared memory.
    """

    anonymous: int
    shared: int


class _Memory:
    """Which page of memory is behind each page of the trace; all streams' pages are numbered through."""

    def __init__(self, trace: Trace) -> None:
        self.first = np.cumsum([0, *(stream.pages for stream in trace.info.streams)])
        pages = int(self.first[-1])
        self.now, self.peak = Footprint(0, 0), Footprint(0, 0)
        self._frame = np.full(pages, NONE, np.int32)
        self._users = np.zeros(pages, np.int32)  # of each frame
        self._free = np.arange(pages, dtype=np.int32)  # frames, from `now.anonymous` on
        self._object = np.full(pages, NONE, np.int32)  # page of shared memory that is mapped there

    def touch(self, page: NDArray[np.int64], write: NDArray[np.bool_]) -> None:
        shared = self._object[page]
        new = np.unique(shared[shared != NONE])
        new = new[self._frame[new] == NONE]
        self._frame[new] = 0
        self.now.shared += len(new)
        own = page[write & (shared == NONE)]
        frame = self._frame[own]
        self._allocate(np.unique(own[frame == NONE]))
        others = own[frame != NONE]
        for copied in dict.fromkeys(others[self._users[self._frame[others]] > 1].tolist()):
            if self._users[self._frame[copied]] > 1:  # the last one that writes keeps it
                self._users[self._frame[copied]] -= 1
                self._allocate(np.array([copied]))
        if self.now.anonymous + self.now.shared > self.peak.anonymous + self.peak.shared:
            self.peak = Footprint(self.now.anonymous, self.now.shared)

    def apply(self, event: np.void) -> None:
        kind, stream = event["event"], int(event["stream"])
        pages = self._range(stream, event["page"], event["pages"])
        if kind == EventKind.EXIT:
            self._drop(slice(self.first[stream], self.first[stream + 1]))
        elif kind == EventKind.FORK:
            frames = self._frame[self._range(event["other"], event["other_page"], event["pages"])]
            self._frame[pages] = frames
            self._users[frames[frames != NONE]] += 1
        elif kind == EventKind.SHARE:
            self._object[pages] = self.first[event["other"]] + event["other_page"] + np.arange(event["pages"])
        elif kind == EventKind.REMOVE:
            self.now.shared -= int(np.count_nonzero(self._frame[pages] != NONE))
            self._frame[pages] = NONE
        else:
            self._drop(pages)
            if kind == EventKind.UNMAP:
                self._object[pages] = NONE

    def _range(self, stream: int, page: int, pages: int) -> slice:
        start = int(self.first[stream]) + int(page)
        return slice(start, start + int(pages))

    def _allocate(self, page: NDArray[np.int64]) -> None:
        end = self.now.anonymous + len(page)
        frames = self._free[self.now.anonymous : end]
        self._frame[page], self._users[frames] = frames, 1
        self.now.anonymous = end

    def _drop(self, pages: slice) -> None:
        """Take pages from a process; of a process, no two are one frame."""
        frames = self._frame[pages]
        frames = frames[frames != NONE]
        self._users[frames] -= 1
        freed = frames[self._users[frames] == 0]
        self.now.anonymous -= len(freed)
        self._free[self.now.anonymous : self.now.anonymous + len(freed)] = freed
        self._frame[pages] = NONE


def footprint(trace: Trace) -> Footprint:
    """Find the most memory that there is at once; reads `trace` once, and takes 16 bytes of memory a page.

    Raises:
        InputError: damaged accesses.
    """
    memory = _Memory(trace)
    for chunk in trace.chunks():
        page = memory.first[chunk.stream] + chunk.page.astype(np.int64)
        done = 0
        for event in chunk.events[chunk.events["event"] < EventKind.FILE_READ]:
            memory.touch(page[done : event["at"]], chunk.write[done : event["at"]])
            done = int(event["at"])
            memory.apply(event)
        memory.touch(page[done:], chunk.write[done:])
    return memory.peak
