"""Write a trace: batches in, one whole Parquet file out.

Chosen by measurement (``docs/reference/traces.md``): pages are split by byte and packed by LZ4, which
decodes twice as fast as Zstandard at little more than its size; streams are a dictionary, hence next to
nothing; each Parquet page carries a checksum, for 0.4 ns a row. Of the columns of events only ``event`` has
statistics: they tell readers which row groups have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import write_whole
from swaplab.scenario.trace.layout import (
    EVENT_COLUMNS,
    EVENTS,
    MAX_STREAMS,
    METADATA_KEY,
    ROW_GROUP_ROWS,
    EventKind,
    Stream,
    TraceFile,
    TraceInfo,
    check_info,
    encode_info,
    schema,
)

__all__ = ["ColumnWriter", "TraceWriter"]

_COMPRESSION: Final = {"stream": "none", "event": "none"}
_DICTIONARIES: Final = ("stream", *EVENT_COLUMNS)
_ENCODINGS: Final = {"page": "BYTE_STREAM_SPLIT", "write": "PLAIN", "time": "DELTA_BINARY_PACKED"}


class ColumnWriter:
    """Collect rows into row groups of `ROW_GROUP_ROWS`; what a trace and its raw form have in common.

    Args:
        where: file to write, or an open one.
        page: type of the page column, ``uint32`` or ``uint64``.
        with_time: whether there is a time column.
        with_events: whether there are the columns of events.
    """

    def __init__(
        self,
        where: Path | IO[bytes],
        page: type[np.uint32] | type[np.uint64],
        with_time: bool,
        with_events: bool = False,
    ) -> None:
        self.rows = 0
        self._schema = schema(pa.from_numpy_dtype(page), with_time, with_events)
        self._filled = 0
        self._columns: dict[str, NDArray[Any]] = {
            field.name: np.empty(ROW_GROUP_ROWS, field.type.to_pandas_dtype()) for field in self._schema
        }
        self._file = pq.ParquetWriter(
            where,
            self._schema,
            compression={name: _COMPRESSION.get(name, "lz4") for name in self._columns},
            use_dictionary=[name for name in self._columns if name in _DICTIONARIES],
            column_encoding={name: _ENCODINGS[name] for name in self._columns if name in _ENCODINGS},
            write_statistics=["event"] if with_events else False,
            write_page_checksum=True,
        )

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows: one array of equal length for each column."""
        length = len(columns["page"])
        start = 0
        while start < length:
            count = min(length - start, ROW_GROUP_ROWS - self._filled)
            for name, buffer in self._columns.items():
                buffer[self._filled : self._filled + count] = columns[name][start : start + count]
            start += count
            self._filled += count
            if self._filled == ROW_GROUP_ROWS:
                self._flush()
        self.rows += length

    def close(self, metadata: Mapping[bytes, bytes] | None = None) -> None:
        """Write what is left, then the footer with `metadata`. Closing twice is harmless."""
        if not self._file.is_open:
            return
        self._flush()
        self._file.add_key_value_metadata(dict(metadata or {}))
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file, which is to be thrown away."""
        self._filled = 0
        self.close()

    def _flush(self) -> None:
        if self._filled:
            arrays = [column[: self._filled] for column in self._columns.values()]
            self._file.write_table(pa.table([pa.array(array) for array in arrays], schema=self._schema))
            self._filled = 0


class TraceWriter:
    """Write a trace to `path`, whole or not at all.

    ```python
    with TraceWriter(path) as writer:
        writer.append(stream, page, write)
        writer.finish([Stream("app", pages=10)], source="made up")
    ```

    Leaving the block without `finish` leaves no file.

    Args:
        path: the Parquet file to write.
        with_time: whether rows carry a time.
        is_private: whether only its owner may read it.
        with_events: whether there may be events between the accesses.

    Raises:
        OSError: `path` cannot be written.
    """

    def __init__(
        self, path: Path, with_time: bool = False, is_private: bool = False, with_events: bool = False
    ) -> None:
        self._path = path
        self._mode = 0o600 if is_private else 0o666
        self._with_time, self._with_events = with_time, with_events
        self._events = 0
        self._accesses = np.zeros(MAX_STREAMS, np.int64)
        self._highest = np.full(MAX_STREAMS, -1, np.int64)
        self._info: TraceInfo | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            partial = stack.enter_context(write_whole(self._path, self._mode))
            self._columns = ColumnWriter(partial, np.uint32, self._with_time, self._with_events)
            stack.callback(self._columns.abandon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unfinished = error is None and self._info is None
        if unfinished:
            kind, error = RuntimeError, RuntimeError("TraceWriter.finish was not called")
        self._stack.__exit__(kind, error, trace)
        if unfinished and error:
            raise error

    def append(
        self,
        stream: NDArray[np.uint16],
        page: NDArray[np.uint32],
        write: NDArray[np.bool_],
        time: NDArray[np.int64] | None = None,
        events: NDArray[np.void] | None = None,
    ) -> None:
        """Add accesses in order, and what happens between them.

        Args:
            stream: ``(n,)`` number of each access's stream.
            page: ``(n,)``.
            write: ``(n,)``.
            time: ``(n,)`` in nanoseconds, exactly if ``with_time``.
            events: ``(k,)`` of `EVENTS`, in order; only if ``with_events``.
        """
        columns: dict[str, NDArray[Any]] = {"stream": stream, "page": page, "write": write}
        if time is not None:
            columns["time"] = time
        if len(page):
            self._count(stream, page)
        if self._with_events:
            columns = _rows(columns, np.empty(0, EVENTS) if events is None else events)
        if events is not None and len(events):
            self._count_events(events)
        self._columns.append(columns)

    def finish(
        self,
        streams: Sequence[Stream],
        *,
        files: Sequence[TraceFile] = (),
        source: str = "",
        window: int | None = None,
        command: Sequence[str] | None = None,
        reconstructed: str = "",
        extra: Mapping[str, Any] | None = None,
    ) -> TraceInfo:
        """Say what was written; the accesses of each stream are counted here, whatever `streams` says.

        Raises:
            InputError: no access, a stream or a page that `streams` does not have, or see `check_info`.
        """
        self._check(streams)
        counted = [
            msgspec.structs.replace(stream, accesses=int(self._accesses[number]))
            for number, stream in enumerate(streams)
        ]
        command = None if command is None else list(command)
        info = TraceInfo(
            accesses=self._columns.rows - self._events,
            streams=counted,
            events=self._events,
            files=list(files),
            source=source,
            window=window,
            command=command,
            reconstructed=reconstructed,
            extra=dict(extra or {}),
        )
        check_info(str(self._path), info)
        self._columns.close({METADATA_KEY: encode_info(info, self._with_events)})
        self._info = info
        return info

    def _count(self, stream: NDArray[np.uint16], page: NDArray[np.uint32]) -> None:
        first = int(stream[0])
        if (stream == first).all():
            self._accesses[first] += len(stream)
            self._highest[first] = max(self._highest[first], int(page.max()))
            return
        counts = np.bincount(stream)
        self._accesses[: len(counts)] += counts
        np.maximum.at(self._highest, stream, page.astype(np.int64))

    def _count_events(self, events: NDArray[np.void]) -> None:
        self._events += len(events)
        ranges = events[events["event"] < EventKind.FILE_READ]
        np.maximum.at(self._highest, ranges["stream"], ranges["page"] + ranges["pages"].astype(np.int64) - 1)
        two = ranges[np.isin(ranges["event"], (EventKind.FORK, EventKind.SHARE))]
        np.maximum.at(self._highest, two["other"], two["other_page"] + two["pages"].astype(np.int64) - 1)

    def _check(self, streams: Sequence[Stream]) -> None:
        if self._columns.rows == self._events:
            raise InputError(self._path, "at least one access", "none")
        if np.any(self._highest[len(streams) :] >= 0):
            raise InputError(self._path, "a description of each stream", f"{len(streams)} descriptions")
        for stream, highest in zip(streams, self._highest, strict=False):
            if highest >= stream.pages:
                raise InputError(f"{self._path}: stream {stream.name}", f"pages below {stream.pages}", highest)


def _rows(accesses: Mapping[str, NDArray[Any]], events: NDArray[np.void]) -> dict[str, NDArray[Any]]:
    """Columns in which each event stands at its place between the accesses."""
    rows = len(accesses["page"]) + len(events)
    is_event = np.zeros(rows, np.bool_)
    is_event[events["at"] + np.arange(len(events))] = True
    columns: dict[str, NDArray[Any]] = {}
    for name, values in accesses.items():
        columns[name] = np.zeros(rows, values.dtype)
        columns[name][~is_event] = values
        if name != "write":
            columns[name][is_event] = events[name]
    for name in EVENT_COLUMNS:
        columns[name] = np.zeros(rows, EVENTS[name])
        columns[name][is_event] = events[name]
    return columns
