"""How much memory the processes of a trace have at once, as Linux counts it.

A page that was only read is the kernel's page of zeros, and takes none. After a fork parent and child have one page,
until either of them writes to it.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.scenario.trace import EventKind, Trace

__all__ = ["Footprint", "footprint"]

NONE: Final = -1
_FREE, _ANONYMOUS, _SHARED, _PEAK_ANONYMOUS, _PEAK_SHARED = range(5)  # of the counts


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
        sizes = [stream.pages for stream in trace.info.streams]
        self.first = np.cumsum([0, *sizes])
        pages = int(self.first[-1])
        self.frame = np.full(pages, NONE, np.int32)
        self.users = np.zeros(pages, np.int32)  # of each frame
        self.free = np.arange(pages, dtype=np.int32)  # frames, from `counts[_FREE]` on
        self.object = np.full(pages, NONE, np.int32)  # page of shared memory that is mapped there
        self.counts = np.zeros(5, np.int64)

    def touch(self, page: NDArray[np.int64], write: NDArray[np.bool_]) -> None:
        _touch(page, write, self.frame, self.users, self.free, self.object, self.counts)

    def apply(self, event: np.void) -> None:
        kind, stream = event["event"], int(event["stream"])
        if kind >= EventKind.FILE_READ:
            return
        pages = self._range(stream, event["page"], event["pages"])
        if kind == EventKind.EXIT:
            pages = slice(self.first[stream], self.first[stream + 1])
        if kind == EventKind.FORK:
            self._fork(pages, self._range(event["other"], event["other_page"], event["pages"]))
        elif kind == EventKind.SHARE:
            start = self.first[event["other"]] + event["other_page"]
            self.object[pages] = start + np.arange(event["pages"])
        elif kind == EventKind.REMOVE:
            self.counts[_SHARED] -= np.count_nonzero(self.frame[pages] != NONE)
            self.frame[pages] = NONE
        else:
            _drop(self.frame[pages], self.users, self.free, self.counts)
            if kind != EventKind.DISCARD:
                self.object[pages] = NONE

    def _range(self, stream: int, page: int, pages: int) -> slice:
        start = int(self.first[stream]) + int(page)
        return slice(start, start + int(pages))

    def _fork(self, child: slice, parent: slice) -> None:
        frames = self.frame[parent]
        self.frame[child] = frames
        self.users[frames[frames != NONE]] += 1


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
    return Footprint(int(memory.counts[_PEAK_ANONYMOUS]), int(memory.counts[_PEAK_SHARED]))


@compiled
def _touch(
    page: NDArray[np.int64],
    write: NDArray[np.bool_],
    frame: NDArray[np.int32],
    users: NDArray[np.int32],
    free: NDArray[np.int32],
    objects: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    for row in range(len(page)):
        at = page[row]
        if objects[at] != NONE:
            if frame[objects[at]] == NONE:
                frame[objects[at]] = 0
                counts[_SHARED] += 1
        elif write[row]:
            old = frame[at]
            if old != NONE and users[old] == 1:
                continue
            if old != NONE:
                users[old] -= 1
            frame[at] = free[counts[_FREE]]
            users[frame[at]] = 1
            counts[_FREE] += 1
            counts[_ANONYMOUS] += 1
        if counts[_ANONYMOUS] + counts[_SHARED] > counts[_PEAK_ANONYMOUS] + counts[_PEAK_SHARED]:
            counts[_PEAK_ANONYMOUS] = counts[_ANONYMOUS]
            counts[_PEAK_SHARED] = counts[_SHARED]


@compiled
def _drop(
    frame: NDArray[np.int32], users: NDArray[np.int32], free: NDArray[np.int32], counts: NDArray[np.int64]
) -> None:
    for at in range(len(frame)):
        old = frame[at]
        if old == NONE:
            continue
        frame[at] = NONE
        users[old] -= 1
        if users[old] == 0:
            counts[_FREE] -= 1
            free[counts[_FREE]] = old
            counts[_ANONYMOUS] -= 1
