"""A trace in a few numbers."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from swaplab.scenario.trace.layout import EventKind
from swaplab.scenario.trace.read import Trace

__all__ = ["StreamSummary", "TraceSummary", "summarize"]

_WINDOWS: Final = 20


class StreamSummary(msgspec.Struct):
    """One stream: `pages` are the pages there are, `touched` those that were accessed at all."""

    name: str
    pages: int
    touched: int
    accesses: int
    writes: int


class EventSummary(msgspec.Struct):
    """One kind of event: `pages` are those of all its ranges, counted each time."""

    kind: str
    events: int
    pages: int


class TraceSummary(msgspec.Struct):
    """A whole trace.

    Attributes:
        accesses: in all.
        writes: how many of them write.
        streams: each stream by itself.
        events: each kind of event that there is.
        hot_pages: fewest pages that take nine accesses of ten.
        working_set: distinct pages touched in each of (at most) 20 equally long parts of the trace, in order.
    """

    accesses: int
    writes: int
    streams: list[StreamSummary]
    events: list[EventSummary]
    hot_pages: int
    working_set: list[int]


def summarize(trace: Trace) -> TraceSummary:
    """Read `trace` once; memory is 5 bytes a page, 9 from 2**32 accesses on.

    Raises:
        InputError: damaged accesses.
    """
    pages = np.array([stream.pages for stream in trace.info.streams], np.int64)
    base = np.cumsum(pages) - pages
    number = np.uint32 if trace.info.accesses < 1 << 32 else np.uint64  # all may be to one page
    touches, seen = np.zeros(pages.sum(), number), np.zeros(pages.sum(), np.bool_)
    writes = np.zeros(len(pages), np.int64)
    part = -(-trace.info.accesses // _WINDOWS)
    counts, lengths = np.zeros((2, max(EventKind) + 1), np.int64)
    working_set, done = [], 0
    for chunk in trace.chunks():
        page = base[chunk.stream] + chunk.page
        np.add.at(touches, page, number(1))
        counts += np.bincount(chunk.events["event"], minlength=len(counts))
        np.add.at(lengths, chunk.events["event"], chunk.events["pages"])
        writes += np.bincount(chunk.stream[chunk.write], minlength=len(pages))
        for piece in np.split(page, range(part - done % part, len(page), part)) if len(page) else ():
            seen[piece] = True
            done += len(piece)
            if done % part == 0 or done == trace.info.accesses:
                working_set.append(int(np.count_nonzero(seen)))
                seen[:] = False
    streams = [
        StreamSummary(
            stream.name,
            stream.pages,
            int(np.count_nonzero(touches[start : start + stream.pages])),
            stream.accesses,
            int(written),
        )
        for stream, start, written in zip(trace.info.streams, base, writes, strict=True)
    ]
    hottest = np.cumsum(np.sort(touches)[::-1], dtype=np.int64)
    hot = int(np.searchsorted(hottest, 0.9 * trace.info.accesses)) + 1
    events = [
        EventSummary(kind.name.lower().replace("_", " "), int(counts[kind]), int(lengths[kind]))
        for kind in EventKind
        if counts[kind]
    ]
    return TraceSummary(trace.info.accesses, int(writes.sum()), streams, events, hot, working_set)
