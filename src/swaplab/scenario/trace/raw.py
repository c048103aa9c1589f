"""From addresses to a trace: collect raw page addresses in any order, then number the pages densely.

```python
with RawTraceWriter(out.parent) as raw:
    raw.append(stream, address_page, write)             # as often as needed; arrays of equal length
    raw.append(stream, address_page, write, events=events)  # RAW_EVENTS, each at its place between the accesses
    info = raw.finish(out, ["python3:1"], source="swaplab record")
```

The dense number of a page is its rank among the pages of its stream, in order of address, which is known
only at the end. Until then the accesses wait in a nameless temporary file (2 to 3 bytes each), the events in
another; memory holds one batch and the set of pages that have numbers: those touched, those that a child inherits
from its parent, and those of shared memory that somebody touched.

Events are by address as well: a range may cover any addresses, the whole address space too, and becomes the
pages in it that have numbers; if there are none, the event vanishes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.trace.layout import (
    EVENTS,
    MAX_FILE_PAGES,
    MAX_PAGES,
    ROW_GROUP_ROWS,
    EventKind,
    Stream,
    TraceFile,
    TraceInfo,
)
from swaplab.scenario.trace.ranks import Ranks, runs_of_both
from swaplab.scenario.trace.read import column_batches
from swaplab.scenario.trace.write import ColumnWriter, TraceWriter

__all__ = ["RAW_EVENTS", "RawTraceWriter"]

RAW_EVENTS: Final = np.dtype(
    [
        ("at", "i8"),
        ("event", "u1"),
        ("stream", "u2"),
        ("page", "u8"),
        ("pages", "u8"),
        ("other", "u4"),
        ("other_page", "u8"),
        ("time", "i8"),
    ]
)
"""Events by address >> 12, otherwise as `EVENTS`; pages of shared memory and of files are counted from their start."""

_MERGE_PAGES: Final = 1 << 17  # fewer pending pages than this are not worth a merge
_EVENTS_AT_ONCE: Final = 1 << 16
_NEVER: Final = np.iinfo(np.int64).max
_NOTHING: Final = Ranks(np.empty(0, np.uint64))
_MAX_RANGES: Final = 1 << 17  # about 4 MB of metadata; scattered addresses beyond that are not described


class RawTraceWriter:
    """Collect accesses and events by page address and write them as a trace; see the module's example.

    Args:
        directory: where the temporary files go; best beside the output.
        with_time: whether accesses and events carry a time.
        where: what errors name as the place of too many pages.

    Raises:
        OSError: the directory is missing, not writable or full.
    """

    def __init__(self, directory: Path, with_time: bool = False, where: object = "trace") -> None:
        self._directory, self._with_time, self._where = directory, with_time, where
        self._pages: dict[int, _PageSet] = {}
        self._file_pages: dict[int, int] = {}
        self._parents: dict[int, int] = {}
        self._objects: set[int] = set()
        self._events = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile(dir=self._directory))
            self._event_file = stack.enter_context(tempfile.TemporaryFile(dir=self._directory))
            self._columns = ColumnWriter(self._file, np.uint64, self._with_time)
            stack.callback(self._columns.abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def rows(self) -> int:
        """Accesses appended so far."""
        return self._columns.rows

    def append(
        self,
        stream: NDArray[np.uint16],
        address_page: NDArray[np.uint64],
        write: NDArray[np.bool_],
        time: NDArray[np.int64] | None = None,
        events: NDArray[np.void] | None = None,
    ) -> None:
        """Add accesses in order, and what happens between them.

        Args:
            stream: ``(n,)`` number of the address space.
            address_page: ``(n,)`` address >> 12, or any other number that identifies the page.
            write: ``(n,)``.
            time: ``(n,)`` in nanoseconds, exactly if ``with_time``.
            events: ``(k,)`` of `RAW_EVENTS`, in order; `at` counts the accesses of this call. A child inherits what its
                parent has touched before the fork; of what they share, other pages need a `SHARE` of its own.

        Raises:
            InputError: more than `MAX_PAGES` different pages.
        """
        columns: dict[str, NDArray[Any]] = {"stream": stream, "page": address_page, "write": write}
        if time is not None:
            columns["time"] = time
        done = 0
        if events is not None and len(events):
            done = self._add_events(stream, address_page, events)
        self._add_pages(stream[done:], address_page[done:])
        self._columns.append(columns)
        if sum(len(pages) for pages in self._pages.values()) > MAX_PAGES:
            raise InputError(self._where, f"at most {MAX_PAGES} pages", "more")

    def _add_pages(self, stream: NDArray[np.uint16], address_page: NDArray[np.uint64]) -> None:
        if len(address_page):
            for number, pages in _split(stream, address_page):
                self._page_set(number).add(pages)

    def _page_set(self, stream: int) -> _PageSet:
        return self._pages.setdefault(stream, _PageSet())

    def _add_events(
        self, stream: NDArray[np.uint16], address_page: NDArray[np.uint64], events: NDArray[np.void]
    ) -> int:
        """Note the events, and the pages up to the last fork; return how many accesses that were."""
        done = 0
        for event in events[np.isin(events["event"], (EventKind.FORK, EventKind.SHARE))]:
            child, other = int(event["stream"]), int(event["other"])
            if event["event"] == EventKind.SHARE:
                self._objects.add(other)
                continue
            self._add_pages(stream[done : event["at"]], address_page[done : event["at"]])
            done = int(event["at"])
            inherited = _within(self._page_set(other).sorted(), event["other_page"], event["pages"])
            self._page_set(child).add(inherited - event["other_page"] + event["page"])
            self._parents.setdefault(child, other)
        of_file = events[events["event"] >= EventKind.FILE_READ]
        for number in np.unique(of_file["other"]).tolist():
            mine = of_file[of_file["other"] == number]
            end = int((mine["page"] + mine["pages"]).max())
            self._file_pages[number] = max(end, self._file_pages.get(number, 0))
            if end > MAX_FILE_PAGES:
                raise InputError(self._where, f"files of at most {MAX_FILE_PAGES} pages", end)
        absolute = events.copy()
        absolute["at"] += self.rows
        self._event_file.write(absolute.tobytes())
        self._events += len(events)
        return done

    def finish(
        self,
        out: Path,
        streams: Sequence[str],
        *,
        files: Sequence[str] = (),
        source: str = "",
        window: int | None = None,
        command: Sequence[str] | None = None,
        extra: Mapping[str, Any] | None = None,
        addresses: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> TraceInfo:
        """Write the trace to `out`.

        Args:
            out: the Parquet file to write, whole or not at all.
            streams: name of each stream, by number; what a `SHARE` mapped is shared memory.
            files: name of each file, by number.
            source: where the accesses come from, for people.
            window: repeats inside a window of that many pages were dropped before, if any were.
            command: the command line that was recorded, if one was.
            extra: further keys of the metadata.
            addresses: whether page addresses are addresses, so that ``ranges`` can be told.
            progress: called with accesses written so far and in all.

        Raises:
            InputError: no access, or a stream without a name.
            OSError: `out` cannot be written.
        """
        self._columns.close()
        self._number_objects()
        ranked = {number: Ranks(pages.sorted()) for number, pages in self._pages.items()}
        told = addresses and sum(len(ranks.firsts) for ranks in ranked.values()) <= _MAX_RANGES
        is_private = command is not None  # it may hold anything
        with (
            TraceWriter(out, self._with_time, is_private, bool(self._events)) as writer,
            pq.ParquetFile(self._file) as raw,
        ):
            written = 0
            events = _Queue(self._event_pieces())
            for stream, page, write, time, _ in column_batches(raw, ROW_GROUP_ROWS, self._with_time):
                dense_page, done = _rank(stream, page, ranked), 0
                is_last = written + len(page) == self._columns.rows
                for piece in events.upto(_NEVER if is_last else written + len(page)):
                    dense = _rank_events(piece, ranked)
                    dense["at"] -= written + done
                    rows = slice(done, int(piece["at"][-1]) - written)
                    writer.append(stream[rows], dense_page[rows], write[rows], _part(time, rows), dense)
                    done = rows.stop
                rows = slice(done, None)
                writer.append(stream[rows], dense_page[rows], write[rows], _part(time, rows))
                written += len(page)
                if progress:
                    progress(written, self._columns.rows)
            return writer.finish(
                [self._describe(number, name, ranked, told) for number, name in enumerate(streams)],
                files=[TraceFile(name, self._file_pages.get(number, 0)) for number, name in enumerate(files)],
                source=source,
                window=window,
                command=command,
                extra=extra,
            )

    def _event_pieces(self) -> Iterator[NDArray[np.void]]:
        """The events, in order; there may be more of them than fit into memory."""
        self._event_file.seek(0)
        while data := self._event_file.read(_EVENTS_AT_ONCE * RAW_EVENTS.itemsize):
            yield np.frombuffer(data, RAW_EVENTS)

    def _number_objects(self) -> None:
        """Give numbers to the pages of shared memory that somebody touched."""
        for events in self._event_pieces() if self._objects else ():
            for event in events[events["event"] == EventKind.SHARE]:
                touched = _within(self._page_set(int(event["stream"])).sorted(), event["page"], event["pages"])
                self._page_set(int(event["other"])).add(touched - event["page"] + event["other_page"])

    def _describe(self, number: int, name: str, ranked: Mapping[int, Ranks], told: bool) -> Stream:
        ranks = ranked.get(number, _NOTHING)
        return Stream(
            name,
            pages=ranks.pages,
            ranges=ranks.ranges() if told and ranks.pages else None,
            kind="shared" if number in self._objects else "process",
            parent=self._parents.get(number),
        )


class _Queue:
    """Events that wait for their place between the accesses."""

    def __init__(self, pieces: Iterator[NDArray[np.void]]) -> None:
        self._pieces = pieces
        self._next = next(pieces, np.empty(0, RAW_EVENTS))

    def upto(self, row: int) -> Iterator[NDArray[np.void]]:
        """Take those before an access, in pieces."""
        while len(self._next):
            count = int(np.searchsorted(self._next["at"], row))
            if count:
                yield self._next[:count]
            self._next = self._next[count:]
            if len(self._next):
                return
            self._next = next(self._pieces, self._next)


class _PageSet:
    """A growing set of page addresses: sorted arrays, merged whenever as much is pending as is known."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self._pending: list[NDArray[np.uint64]] = []
        self._pending_pages = 0

    def __len__(self) -> int:
        return len(self._known)

    def add(self, pages: NDArray[np.uint64]) -> None:
        fresh = np.unique(pages)
        self._pending.append(fresh)
        self._pending_pages += len(fresh)
        if self._pending_pages > max(len(self._known), _MERGE_PAGES):
            self.sorted()

    def sorted(self) -> NDArray[np.uint64]:
        if self._pending:
            self._known = np.unique(np.concatenate([self._known, *self._pending]))
            self._pending, self._pending_pages = [], 0
        return self._known


def _part(time: NDArray[np.int64] | None, rows: slice) -> NDArray[np.int64] | None:
    return None if time is None else time[rows]


def _split(stream: NDArray[np.uint16], page: NDArray[np.uint64]) -> list[tuple[int, NDArray[np.uint64]]]:
    if (stream == stream[0]).all():
        return [(int(stream[0]), page)]
    return [(int(number), page[stream == number]) for number in np.unique(stream)]


def _rank(stream: NDArray[np.uint16], page: NDArray[np.uint64], ranked: Mapping[int, Ranks]) -> NDArray[np.uint32]:
    if (stream == stream[0]).all():
        return ranked[int(stream[0])].rank(page)
    ranks = np.empty(len(page), np.uint32)
    for number in np.unique(stream):
        rows = stream == number
        ranks[rows] = ranked[int(number)].rank(page[rows])
    return ranks


def _within(pages: NDArray[np.uint64], first: np.uint64, count: np.uint64) -> NDArray[np.uint64]:
    """Those of the sorted `pages` that are among `count` from `first` on."""
    low, high = np.searchsorted(pages, (first, first + count))
    return pages[low:high]


def _rank_events(events: NDArray[np.void], ranked: Mapping[int, Ranks]) -> NDArray[np.void]:
    """Turn `RAW_EVENTS` into `EVENTS`, in order; those of pages without numbers are left out."""
    numbers = np.arange(len(events))
    kind = events["event"]
    of_two = np.isin(kind, (EventKind.FORK, EventKind.SHARE))
    pieces = [(numbers[~of_two], _rank_ranges(events[~of_two], ranked))]
    for number in numbers[of_two].tolist():
        piece = _rank_pair(events[number], ranked)
        pieces.append((np.full(len(piece), number), piece))
    order = np.argsort(np.concatenate([number for number, _ in pieces]), kind="stable")
    dense = np.concatenate([piece for _, piece in pieces])[order]
    kept: NDArray[np.void] = dense[(dense["pages"] > 0) | (dense["event"] == EventKind.EXIT)]
    return kept


def _rank_ranges(events: NDArray[np.void], ranked: Mapping[int, Ranks]) -> NDArray[np.void]:
    dense = events.astype(EVENTS)
    of_memory = np.isin(events["event"], (EventKind.UNMAP, EventKind.DISCARD, EventKind.REMOVE))
    for number in np.unique(events["stream"][of_memory]).tolist():
        mine = np.flatnonzero(of_memory & (events["stream"] == number))
        ranks = ranked.get(number, _NOTHING)
        low = ranks.below(events["page"][mine])
        dense["page"][mine] = low
        dense["pages"][mine] = ranks.below(events["page"][mine] + events["pages"][mine]) - low
    return dense


def _rank_pair(event: np.void, ranked: Mapping[int, Ranks]) -> NDArray[np.void]:
    """One event for each run of pages that both have."""
    own, other = ranked.get(int(event["stream"]), _NOTHING), ranked.get(int(event["other"]), _NOTHING)
    page, other_page, pages = runs_of_both(
        own, int(event["page"]), other, int(event["other_page"]), int(event["pages"])
    )
    dense = np.empty(len(page), EVENTS)
    for name in ("at", "event", "stream", "other", "time"):
        dense[name] = event[name]
    dense["page"], dense["other_page"], dense["pages"] = page, other_page, pages
    return dense
