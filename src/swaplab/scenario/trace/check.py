"""Check a trace's rows: numbers that stay within what its metadata says, in an order that can be."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.trace.layout import EventKind, TraceInfo

__all__ = ["Checks"]

_NEVER: Final = np.iinfo(np.int64).max
_OF_TWO: Final = (EventKind.FORK, EventKind.SHARE)
_UNUSED: Final = {
    "page": (EventKind.EXIT,),
    "pages": (EventKind.EXIT,),
    "other": (EventKind.EXIT, EventKind.UNMAP, EventKind.DISCARD, EventKind.REMOVE),
    "other_page": tuple(kind for kind in EventKind if kind not in _OF_TWO),
}


class Checks:
    """Checks the rows of one trace, chunk by chunk.

    Args:
        path: what errors name.
        info: the trace's metadata.
    """

    def __init__(self, path: Path, info: TraceInfo) -> None:
        self._path = path
        self._pages = np.array([stream.pages for stream in info.streams], np.int64)
        self._shared = np.array([stream.kind == "shared" for stream in info.streams])
        self._files = np.array([file.pages for file in info.files], np.int64)
        self._gone = np.zeros(len(self._pages), np.bool_)
        self._ran = np.zeros(len(self._pages), np.bool_)
        self._has_events = info.events > 0
        self._set_limits()

    def check(self, stream: NDArray[np.uint16], page: NDArray[np.uint32], events: NDArray[np.void], row: int) -> None:
        """Raise InputError for a row that is wrong; `row` numbers the chunk's first."""
        rows = _Rows(self._path, row, len(stream), events["at"])
        if len(page):
            self._check_accesses(stream, page, rows)
        if len(events):
            self._check_streams(events, rows)
            self._check_others(events, rows)
            self._check_order(stream, events, rows)
            self._gone[events["stream"][events["event"] == EventKind.EXIT]] = True
            self._set_limits()
        if self._has_events:
            self._ran[stream] = True
            self._ran[events["stream"][~np.isin(events["event"], _OF_TWO)]] = True

    def _set_limits(self) -> None:
        self._limits = np.where(self._shared | self._gone, 0, self._pages)
        self._fewest = int(self._limits.min())

    def _check_accesses(self, stream: NDArray[np.uint16], page: NDArray[np.uint32], rows: _Rows) -> None:
        known = len(self._pages)
        if stream.max() >= known:
            rows.refuse_access(stream >= known, f"a stream below {known}", stream)
        if page.max() < self._fewest:
            return
        outside = page >= self._limits[stream]
        if not outside.any():
            return
        number = stream[int(outside.argmax())]
        if self._shared[number]:
            rows.refuse_access(outside, "an access by who maps the shared memory", f"one of stream {number}")
        if self._gone[number]:
            rows.refuse_access(outside, "nothing after the exit", f"an access of stream {number}")
        rows.refuse_access(outside, f"a page below {self._limits[number]}", page)

    def _check_streams(self, events: NDArray[np.void], rows: _Rows) -> None:
        kind, stream, pages = events["event"], events["stream"], events["pages"]
        known = len(self._pages)
        rows.refuse(kind > max(EventKind), f"an event from 1 to {max(EventKind)}", kind)
        rows.refuse(stream >= known, f"a stream below {known}", stream)
        rows.refuse((kind != EventKind.EXIT) & (pages == 0), "at least one page", pages)
        for name, kinds in _UNUSED.items():
            rows.refuse(np.isin(kind, kinds) & (events[name] != 0), f"0 as {name}", events[name])
        end, limit = events["page"] + pages.astype(np.int64), self._pages[stream]
        rows.refuse((kind < EventKind.FILE_READ) & (end > limit), "pages of the stream", end - 1)
        is_shared = self._shared[stream]
        rows.refuse((kind == EventKind.REMOVE) & ~is_shared, "shared memory", stream)
        rows.refuse((kind != EventKind.REMOVE) & is_shared, "a process", stream)

    def _check_others(self, events: NDArray[np.void], rows: _Rows) -> None:
        kind, other, pages = events["event"], events["other"], events["pages"].astype(np.int64)
        known, files = len(self._pages), len(self._files)
        of_two, of_file = np.isin(kind, _OF_TWO), kind >= EventKind.FILE_READ
        rows.refuse(of_two & (other >= known), f"another stream below {known}", other)
        rows.refuse(of_file & (other >= files), f"a file below {files}", other)
        rows.refuse((kind == EventKind.FORK) & (other == events["stream"]), "another stream as parent", other)
        stream, file = np.where(of_two, other, 0), np.where(of_file, other, 0)
        rows.refuse((kind == EventKind.FORK) & self._shared[stream], "a process as parent", other)
        rows.refuse((kind == EventKind.SHARE) & ~self._shared[stream], "shared memory to map", other)
        end = events["other_page"] + pages
        rows.refuse(of_two & (end > self._pages[stream]), "pages of the other stream", end - 1)
        if files:
            end = events["page"] + pages
            rows.refuse(of_file & (end > self._files[file]), "pages of the file", end - 1)

    def _check_order(self, stream: NDArray[np.uint16], events: NDArray[np.void], rows: _Rows) -> None:
        """Nothing follows an exit; a process is forked before it does anything."""
        kind, own = events["event"], events["stream"]
        exits, forks = kind == EventKind.EXIT, kind == EventKind.FORK
        last = self._first(rows.events[exits], own[exits])
        rows.refuse_access(rows.accesses > last[stream], "nothing after the exit", stream)
        last[self._gone] = -1
        rows.refuse(rows.events > last[own], "nothing after the exit", own)
        rows.refuse(forks & (rows.events > last[np.where(forks, events["other"], own)]), "a fork before the exit", own)
        if not forks.any():
            return
        others = ~np.isin(kind, _OF_TWO)
        began = np.minimum(self._first(rows.accesses, stream), self._first(rows.events[others], own[others]))
        began[self._ran] = -1
        rows.refuse(forks & (rows.events > began[own]), "a fork before all else", own)

    def _first(self, rows: NDArray[np.int64], streams: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Smallest of the ascending `rows` of each stream."""
        first = np.full(len(self._pages), _NEVER)
        first[streams[::-1]] = rows[::-1]
        return first


class _Rows:
    """Names the rows of a chunk, in which events stand between accesses.

    Attributes:
        events: int64 ``(k,)``, row of each event within the chunk.
    """

    def __init__(self, path: Path, first: int, accesses: int, at: NDArray[np.int64]) -> None:
        self._path, self._first, self._accesses = path, first, accesses
        self.events = at + np.arange(len(at))

    @cached_property
    def accesses(self) -> NDArray[np.int64]:
        """Row of each access within the chunk, int64 ``(n,)``."""
        is_access = np.ones(self._accesses + len(self.events), np.bool_)
        is_access[self.events] = False
        return np.flatnonzero(is_access)

    def refuse(self, bad: NDArray[np.bool_], expected: str, found: NDArray[np.integer]) -> None:
        """Raise InputError for the first event that is bad."""
        self._refuse(bad, self.events, expected, found)

    def refuse_access(self, bad: NDArray[np.bool_], expected: str, found: NDArray[np.integer] | str) -> None:
        """Raise InputError for the first access that is bad."""
        if bad.any():
            self._refuse(bad, self.accesses, expected, found)

    def _refuse(
        self, bad: NDArray[np.bool_], rows: NDArray[np.int64], expected: str, found: NDArray[np.integer] | str
    ) -> None:
        if bad.any():
            at = int(bad.argmax())
            shown = found if isinstance(found, str) else found[at]
            raise InputError(f"{self._path}: row {self._first + int(rows[at])}", expected, shown)
