"""Read a trace in chunks: memory stays flat however long it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.files import naming
from swaplab.scenario.parquet import ColumnChunk, arrow_errors, open_parquet, refuse_large_pages, row_groups
from swaplab.scenario.regular import open_regular
from swaplab.scenario.trace.check import Checks
from swaplab.scenario.trace.layout import (
    EVENT_COLUMNS,
    EVENTS,
    METADATA_KEY,
    TraceInfo,
    decode_info,
    schema,
)

__all__ = ["Chunk", "Trace", "column_batches"]

_READ_BYTES: Final = 1 << 18  # at a time and column, so that one huge row group does not come into memory whole
_MAGIC: Final = b"PAR1"
_NO_EVENTS: Final = np.empty(0, EVENTS)


class Chunk(NamedTuple):
    """Consecutive accesses, read-only arrays of equal shape ``(n,)``, and the events between them.

    Attributes:
        stream: number of the stream.
        page: page of that stream.
        write: whether it writes.
        time: in nanoseconds.
        events: `EVENTS` of shape ``(k,)``.
    """

    stream: NDArray[np.uint16]
    page: NDArray[np.uint32]
    write: NDArray[np.bool_]
    time: NDArray[np.int64] | None
    events: NDArray[np.void]


@dataclass(frozen=True)
class Trace:
    """A trace file: `info` from its metadata; accesses and events through `chunks`."""

    path: Path
    info: TraceInfo
    has_time: bool
    has_events: bool

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the metadata only.

        Raises:
            InputError: not a trace: not Parquet, truncated, other columns, no metadata, no access.
            OSError: the file cannot be read.
        """
        _check_magic(path)
        with arrow_errors(path), open_parquet(path, path) as data, pq.ParquetFile(data) as file:
            columns, metadata = file.schema_arrow, file.metadata
            described = (metadata.metadata or {}).get(METADATA_KEY)
            groups = sum(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
            rows = metadata.num_rows
        has_time, has_events = _check_columns(path, columns)
        if described is None:
            raise InputError(path, f"metadata under {METADATA_KEY.decode()}", "none")
        info = decode_info(path, described, has_events)
        told = info.accesses + info.events
        if not rows == groups == told:
            raise InputError(path, f"{told} rows, as its metadata says", f"{rows} ({groups} in row groups)")
        return cls(path, info, has_time, has_events)

    def chunks(
        self, rows: int = 1 << 17, streams: Collection[int] | None = None, with_time: bool = False
    ) -> Iterator[Chunk]:
        """Yield the accesses in order with what happens between them, at most `rows` of both at a time.

        Args:
            rows: upper bound of a chunk's length.
            streams: numbers of the streams to keep, with their events; None keeps all.
            with_time: whether chunks carry the time column.

        Raises:
            InputError: damaged file, a row that cannot be (names the row), no time column to read.
        """
        if with_time and not self.has_time:
            raise InputError(self.path, "a column time", "none")
        checks = Checks(self.path, self.info)
        keep = None if streams is None else self._kept(streams)
        accesses = events = 0
        with (
            arrow_errors(self.path),
            open_parquet(self.path, self.path) as data,
            pq.ParquetFile(data, page_checksum_verification=True, buffer_size=_READ_BYTES) as file,
        ):
            groups = row_groups(self.path)
            refuse_large_pages(self.path, groups)
            for batch in column_batches(file, rows, with_time, self._with_events(groups)):
                chunk = _chunk(self.path, accesses + events, batch)
                checks.check(chunk.stream, chunk.page, chunk.events, accesses + events)
                accesses += len(chunk.page)
                events += len(chunk.events)
                if keep is not None:
                    chunk = _select(chunk, keep)
                if len(chunk.page) or len(chunk.events):
                    yield chunk
        if accesses != self.info.accesses:
            raise InputError(self.path, f"{self.info.accesses} accesses, as its metadata says", accesses)

    def _with_events(self, groups: list[dict[str, ColumnChunk]]) -> frozenset[int]:
        """Return the row groups that may have events: all, but for those whose footer says that there are none."""
        if not self.has_events:
            return frozenset()
        greatest = (group[EVENT_COLUMNS[0]].greatest for group in groups)
        return frozenset(number for number, value in enumerate(greatest) if value is None or any(value))

    def _kept(self, streams: Collection[int]) -> NDArray[np.bool_] | None:
        keep = np.zeros(len(self.info.streams), np.bool_)
        keep[list(streams)] = True
        return None if keep.all() else keep


def column_batches(
    file: pq.ParquetFile, rows: int, with_time: bool, with_events: Collection[int] = ()
) -> Iterator[tuple[Any, Any, Any, Any, Any]]:
    """Yield ``(stream, page, write, time, columns of events)``, at most `rows` rows at a time, as views where possible.

    What is not there, or not asked for, is None: the columns of events but in the row groups `with_events`.
    """
    for group in range(file.num_row_groups):
        events = list(EVENT_COLUMNS) if group in with_events else []
        columns = ["stream", "page", "write", *(["time"] if with_time else []), *events]
        # Group by group: over several, iter_batches keeps the buffers of all.
        for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
            if any(column.null_count for column in batch.columns):
                raise pa.ArrowInvalid("null where a number must be")
            time = batch["time"].to_numpy() if with_time else None
            found = {name: batch[name].to_numpy() for name in events} or None
            yield batch["stream"].to_numpy(), batch["page"].to_numpy(), _booleans(batch["write"]), time, found


def _chunk(path: Path, row: int, batch: tuple[Any, ...]) -> Chunk:
    """Part rows into accesses and events; `row` numbers the first."""
    stream, page, write, time, found = batch
    if found is None:
        return Chunk(stream, page, write, time, _NO_EVENTS)
    is_event = found["event"] != 0
    for name in EVENT_COLUMNS[1:]:
        _refuse(path, row, ~is_event & (found[name] != 0), f"0 as {name} of an access", found[name])
    _refuse(path, row, write & is_event, "an event that does not write", found["event"])
    rows = np.flatnonzero(is_event)
    events = np.zeros(len(rows), EVENTS)
    events["at"] = rows - np.arange(len(rows))
    given = found | {"stream": stream, "page": page} | ({} if time is None else {"time": time})
    for name, values in given.items():
        events[name] = values[rows]
    times = None if time is None else time[~is_event]
    return Chunk(stream[~is_event], page[~is_event], write[~is_event], times, events)


def _refuse(path: Path, row: int, bad: NDArray[np.bool_], expected: str, found: NDArray[Any]) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise InputError(f"{path}: row {row + at}", expected, found[at])


def _check_magic(path: Path) -> None:
    with naming(path), open_regular(path, path) as file:
        head = file.read(len(_MAGIC))
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MAGIC)))
        tail = file.read()
    if not size:
        raise InputError(path, "a trace in Parquet", "an empty file")
    if head != _MAGIC:
        raise InputError(path, "a trace in Parquet (`swaplab trace convert` makes one of other formats)", head)
    if tail != _MAGIC:
        raise InputError(f"{path}: byte {size}", "the end of a Parquet file", "a truncated one")


def _check_columns(path: Path, found: pa.Schema) -> tuple[bool, bool]:
    for with_time, with_events in product((False, True), repeat=2):
        wanted = schema(pa.uint32(), with_time, with_events)
        if found.names == wanted.names and found.types == wanted.types:
            return with_time, with_events
    expected = "columns stream: uint16, page: uint32, write: bool, optionally time: int64, optionally those of events"
    raise InputError(path, expected, ", ".join(f"{field.name}: {field.type}" for field in found) or "no columns")


def _booleans(bits: pa.BooleanArray) -> NDArray[np.bool_]:
    # Arrow's own to_numpy goes through a cast that is several times slower than unpackbits.
    start, skip = divmod(bits.offset, 8)
    packed = np.frombuffer(bits.buffers()[1], np.uint8)[start:]
    return np.unpackbits(packed, count=skip + len(bits), bitorder="little")[skip:].view(np.bool_)


def _select(chunk: Chunk, keep: NDArray[np.bool_]) -> Chunk:
    rows = keep[chunk.stream]
    time = None if chunk.time is None else chunk.time[rows]
    events = chunk.events[keep[chunk.events["stream"]]]
    if len(events):
        events["at"] = np.concatenate(([0], np.cumsum(rows)))[events["at"]]
    return Chunk(chunk.stream[rows], chunk.page[rows], chunk.write[rows], time, events)
