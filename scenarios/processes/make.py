"""Make the traces of processes that fork, share and free: `python make.py`, the same bytes each time.

- ``snapshot.parquet``: a store writes on while a child that it forked reads all of it once and exits, three times;
- ``workers.parquet``: a server forks four workers one after another, each of which writes a third of what it inherits;
- ``siblings.parquet``: two programs map the same memory, and each has some of its own;
- ``pool.parquet``: a parent and three workers share memory, which they unmap, discard and remove by parts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swaplab.scenario.trace import EVENTS, EventKind, Stream, TraceWriter

HERE = Path(__file__).parent
Pages = NDArray[np.int64]


class Story:
    """What processes do, in order."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.Generator(np.random.Philox(key=seed))
        self._accesses: list[NDArray[np.int64]] = []
        self._events: list[tuple[int, ...]] = []
        self._made = 0

    def touch(self, stream: int, pages: Pages, share: float) -> None:
        """Touch pages in order; so many of the accesses write."""
        write = self.random.integers(0, 1 << 20, len(pages)) < int(share * (1 << 20))
        self._accesses.append(np.column_stack((np.full(len(pages), stream), pages, write)))
        self._made += len(pages)

    def some(self, first: int, pages: int, count: int) -> Pages:
        """Draw pages, the first fifth of which get half of the accesses."""
        drawn = self.random.integers(0, pages, count)
        return first + np.where(self.random.integers(0, 2, count) == 0, drawn // 5, drawn)

    def event(self, kind: EventKind, stream: int, *numbers: int) -> None:
        """Let something happen: page, pages, other, other_page; 0 where left out."""
        padded = (*numbers, 0, 0, 0, 0)[:4]
        self._events.append((self._made, kind, stream, *padded, 0))

    def write(self, name: str, streams: list[Stream]) -> None:
        """Write the trace beside this file."""
        stream, page, write = np.concatenate(self._accesses).T
        with TraceWriter(HERE / name, with_events=True) as writer:
            events = np.array(self._events, EVENTS)
            writer.append(stream.astype(np.uint16), page.astype(np.uint32), write.astype(np.bool_), events=events)
            writer.finish(streams, source="scenarios/processes/make.py")


def snapshot() -> None:
    """A store of 8,000 pages, and three children."""
    story, pages = Story(1), 8_000
    story.touch(0, np.arange(pages), 1.0)
    for child in (1, 2, 3):
        story.event(EventKind.FORK, child, 0, pages, 0, 0)
        for first in range(0, pages, 100):
            story.touch(child, np.arange(first, first + 100), 0.0)
            story.touch(0, story.some(0, pages, 100), 0.4)
        story.event(EventKind.EXIT, child)
        story.touch(0, story.some(0, pages, 8_000), 0.4)
    story.write(
        "snapshot.parquet", [Stream("store", pages), *(Stream(f"child:{i}", pages, parent=0) for i in (1, 2, 3))]
    )


def workers() -> None:
    """A server of 4,000 pages, and four workers with 2,000 of their own, one after another and two at a time."""
    story, pages, own = Story(2), 4_000, 2_000
    story.touch(0, np.arange(pages), 1.0)
    for worker in (1, 2, 3, 4):
        story.event(EventKind.FORK, worker, 0, pages, 0, 0)
        story.touch(worker, np.arange(pages, pages + own), 1.0)
        for _ in range(40):
            story.touch(worker, story.some(0, pages + own, 200), 0.2)
            story.touch(0, story.some(0, pages, 50), 0.1)
            if worker > 1:
                story.touch(worker - 1, story.some(pages, own, 50), 0.2)
        if worker > 1:
            story.event(EventKind.EXIT, worker - 1)
    streams = [Stream("server", pages), *(Stream(f"worker:{i}", pages + own, parent=0) for i in (1, 2, 3, 4))]
    story.write("workers.parquet", streams)


def siblings() -> None:
    """Two programs of 3,000 pages each, and 5,000 that they share."""
    story, own, shared = Story(3), 3_000, 5_000
    for program in (0, 1):
        story.event(EventKind.SHARE, program, own, shared, 2, 0)
    story.touch(0, np.arange(own + shared // 2), 1.0)
    story.touch(1, np.arange(own + shared), 1.0)
    for _ in range(300):
        for program in (0, 1):
            story.touch(program, story.some(0, own + shared, 100), 0.3)
    story.write(
        "siblings.parquet",
        [Stream("first", own + shared), Stream("second", own + shared), Stream("shared", shared, kind="shared")],
    )


def pool() -> None:
    """A parent of 1,000 pages, three workers, and 6,000 pages that they share."""
    story, own, shared = Story(4), 1_000, 6_000
    story.event(EventKind.SHARE, 0, own, shared, 4, 0)
    story.touch(0, np.arange(own + shared), 1.0)
    for worker in (1, 2, 3):
        story.event(EventKind.FORK, worker, 0, own, 0, 0)
        story.event(EventKind.SHARE, worker, own, shared, 4, 0)
    for turn in range(120):
        for process in range(4):
            story.touch(process, story.some(0, own + shared, 100), 0.3)
        if turn % 20 == 10:
            story.event(EventKind.REMOVE, 4, 250 * turn // 10, 500)
        if turn % 20 == 15:
            story.event(EventKind.DISCARD, turn % 4, own + 2_000, 1_000)
            story.event(EventKind.UNMAP, 1 + turn % 3, 0, 400)
    story.event(EventKind.EXIT, 3)
    story.touch(0, story.some(0, own + shared, 6_000), 0.3)
    streams = [Stream("parent", own + shared), *(Stream(f"worker:{i}", own + shared, parent=0) for i in (1, 2, 3))]
    story.write("pool.parquet", [*streams, Stream("shared", shared, kind="shared")])


if __name__ == "__main__":
    for make in (snapshot, workers, siblings, pool):
        make()
