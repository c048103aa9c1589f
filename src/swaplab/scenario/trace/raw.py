"""From addresses to a trace: collect raw page addresses in any order, then number the pages densely.

```python
with RawTraceWriter(out.parent) as raw:
    raw.append(stream, address_page, write)             # as often as needed; arrays of equal length
    info = raw.finish(out, ["python3:1"], source="swaplab record")
```

The dense number of a page is its rank among the pages of its stream, in order of address, which is known
only at the end. Until then the accesses wait in a nameless temporary file (2 to 3 bytes each); memory holds
one batch and the set of pages touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.trace.layout import MAX_PAGES, ROW_GROUP_ROWS, Stream, TraceInfo
from swaplab.scenario.trace.read import column_batches
from swaplab.scenario.trace.write import ColumnWriter, TraceWriter

__all__ = ["RawTraceWriter"]

_MERGE_PAGES: Final = 1 << 20  # fewer pending pages than this are not worth a merge
_MAX_RANGES: Final = 1 << 17  # about 4 MB of metadata; scattered addresses beyond that are not described


class RawTraceWriter:
    """Collect accesses by page address and write them as a trace; see the module's example.

    Args:
        directory: where the temporary file goes; best beside the output.
        with_time: whether accesses carry a time.
        where: what errors name as the place of too many pages.

    Raises:
        OSError: the directory is missing, not writable or full.
    """

    def __init__(self, directory: Path, with_time: bool = False, where: object = "trace") -> None:
        self._directory, self._with_time, self._where = directory, with_time, where
        self._pages: dict[int, _PageSet] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._file = stack.enter_context(tempfile.TemporaryFile(dir=self._directory))
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
    ) -> None:
        """Add accesses in order.

        Args:
            stream: ``(n,)`` number of the address space.
            address_page: ``(n,)`` address >> 12, or any other number that identifies the page.
            write: ``(n,)``.
            time: ``(n,)`` in nanoseconds, exactly if ``with_time``.

        Raises:
            InputError: more than `MAX_PAGES` different pages.
        """
        if not len(address_page):
            return
        columns: dict[str, NDArray[Any]] = {"stream": stream, "page": address_page, "write": write}
        if time is not None:
            columns["time"] = time
        self._columns.append(columns)
        for number, pages in _split(stream, address_page):
            self._pages.setdefault(number, _PageSet()).add(pages)
        if sum(len(pages) for pages in self._pages.values()) > MAX_PAGES:
            raise InputError(self._where, f"at most {MAX_PAGES} pages", "more")

    def finish(
        self,
        out: Path,
        streams: Sequence[str],
        *,
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
            streams: name of each stream, by number.
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
        ranked = {number: _Ranks(pages.sorted()) for number, pages in self._pages.items()}
        told = addresses and sum(len(ranks.firsts) for ranks in ranked.values()) <= _MAX_RANGES
        described = [_describe(name, ranked.get(number), told) for number, name in enumerate(streams)]
        is_private = command is not None  # it may hold anything
        with TraceWriter(out, self._with_time, is_private) as writer, pq.ParquetFile(self._file) as raw:
            written = 0
            for stream, page, write, time in column_batches(raw, ROW_GROUP_ROWS, self._with_time):
                writer.append(stream, _rank(stream, page, ranked), write, time)
                written += len(page)
                if progress:
                    progress(written, self._columns.rows)
            return writer.finish(described, source=source, window=window, command=command, extra=extra)


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
        self._known = np.unique(np.concatenate([self._known, *self._pending]))
        self._pending, self._pending_pages = [], 0
        return self._known


class _Ranks:
    """Rank of each page in a sorted set of pages, held as contiguous ranges: programs have few of them."""

    def __init__(self, pages: NDArray[np.uint64]) -> None:
        starts = np.flatnonzero(np.diff(pages) > 1) + 1
        self.bases = np.concatenate([[0], starts]).astype(np.uint64)
        self.firsts = pages[self.bases]
        self.pages = len(pages)

    def rank(self, pages: NDArray[np.uint64]) -> NDArray[np.uint32]:
        at = np.searchsorted(self.firsts, pages, side="right") - 1
        ranks: NDArray[np.uint64] = pages - self.firsts[at] + self.bases[at]
        return ranks.astype(np.uint32)

    def ranges(self) -> list[tuple[int, int]]:
        lengths = np.diff(self.bases, append=np.uint64(self.pages))
        return list(zip(self.firsts.tolist(), lengths.tolist(), strict=True))


def _describe(name: str, ranks: _Ranks | None, told: bool) -> Stream:
    if ranks is None:
        return Stream(name, pages=0)
    return Stream(name, pages=ranks.pages, ranges=ranks.ranges() if told else None)


def _split(stream: NDArray[np.uint16], page: NDArray[np.uint64]) -> list[tuple[int, NDArray[np.uint64]]]:
    if (stream == stream[0]).all():
        return [(int(stream[0]), page)]
    return [(int(number), page[stream == number]) for number in np.unique(stream)]


def _rank(stream: NDArray[np.uint16], page: NDArray[np.uint64], ranked: Mapping[int, _Ranks]) -> NDArray[np.uint32]:
    if (stream == stream[0]).all():
        return ranked[int(stream[0])].rank(page)
    ranks = np.empty(len(page), np.uint32)
    for number in np.unique(stream):
        rows = stream == number
        ranks[rows] = ranked[int(number)].rank(page[rows])
    return ranks
