"""Read a trace in chunks: memory stays flat however long it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.regular import open_regular
from swaplab.scenario.trace.layout import METADATA_KEY, TraceInfo, decode_info, schema

__all__ = ["Chunk", "Trace", "column_batches"]

_READ_BYTES: Final = 1 << 18  # at a time and column, so that one huge row group does not come into memory whole
_MAGIC: Final = b"PAR1"


class Chunk(NamedTuple):
    """Consecutive accesses: read-only arrays of equal shape ``(n,)``; `time` in nanoseconds."""

    stream: NDArray[np.uint16]
    page: NDArray[np.uint32]
    write: NDArray[np.bool_]
    time: NDArray[np.int64] | None


@dataclass(frozen=True)
class Trace:
    """A trace file: `info` from its metadata; accesses through `chunks`."""

    path: Path
    info: TraceInfo
    has_time: bool

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the metadata only.

        Raises:
            InputError: not a trace: not Parquet, truncated, other columns, no metadata, no access.
            OSError: the file cannot be read.
        """
        _check_magic(path)
        with _arrow_errors(path), pq.ParquetFile(path) as file:
            columns, metadata = file.schema_arrow, file.metadata
            described = (metadata.metadata or {}).get(METADATA_KEY)
            groups = sum(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
            rows = metadata.num_rows
        has_time = _check_columns(path, columns)
        if described is None:
            raise InputError(path, f"metadata under {METADATA_KEY.decode()}", "none")
        info = decode_info(path, described)
        if not rows == groups == info.accesses:
            raise InputError(path, f"{info.accesses} rows, as its metadata says", f"{rows} ({groups} in row groups)")
        return cls(path, info, has_time)

    def chunks(
        self, rows: int = 1 << 17, streams: Collection[int] | None = None, with_time: bool = False
    ) -> Iterator[Chunk]:
        """Yield the accesses in order, at most `rows` at a time.

        Args:
            rows: upper bound of a chunk's length.
            streams: numbers of the streams to keep; None keeps all.
            with_time: whether chunks carry the time column.

        Raises:
            InputError: damaged file, a page or stream out of range (names the row), no time column to read.
        """
        if with_time and not self.has_time:
            raise InputError(self.path, "a column time", "none")
        limits = _Limits(self)
        keep = None if streams is None else self._kept(streams)
        row = 0
        with (
            _arrow_errors(self.path),
            pq.ParquetFile(self.path, page_checksum_verification=True, buffer_size=_READ_BYTES) as file,
        ):
            for batch in column_batches(file, rows, with_time):
                chunk = Chunk(*batch)
                limits.check(chunk, row)
                row += len(chunk.page)
                if keep is not None:
                    chunk = _select(chunk, keep)
                if len(chunk.page):
                    yield chunk
        if row != self.info.accesses:
            raise InputError(self.path, f"{self.info.accesses} rows, as its metadata says", row)

    def _kept(self, streams: Collection[int]) -> NDArray[np.bool_] | None:
        keep = np.zeros(len(self.info.streams), np.bool_)
        keep[list(streams)] = True
        return None if keep.all() else keep


def column_batches(file: pq.ParquetFile, rows: int, with_time: bool) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield ``(stream, page, write, time)``, at most `rows` rows at a time, as views where possible."""
    columns = ["stream", "page", "write"] + (["time"] if with_time else [])
    for group in range(file.num_row_groups):
        # Group by group: over several, iter_batches keeps the buffers of all.
        for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
            if any(column.null_count for column in batch.columns):
                raise pa.ArrowInvalid("null where a number must be")
            stream, page, write, *time = batch.columns
            yield stream.to_numpy(), page.to_numpy(), _booleans(write), time[0].to_numpy() if time else None


class _Limits:
    """What stream and page numbers have to stay below."""

    def __init__(self, trace: Trace) -> None:
        self._path = trace.path
        self._pages = np.array([stream.pages for stream in trace.info.streams], np.int64)
        self._fewest = int(self._pages.min())

    def check(self, chunk: Chunk, row: int) -> None:
        """Raise InputError for the first access out of range; `row` numbers the chunk's first row."""
        known = len(self._pages)
        if chunk.stream.max() >= known:
            at = int((chunk.stream >= known).argmax())
            raise InputError(f"{self._path}: row {row + at}", f"a stream below {known}", chunk.stream[at])
        if chunk.page.max() < self._fewest:
            return
        outside = chunk.page >= self._pages[chunk.stream]
        if outside.any():
            at = int(outside.argmax())
            limit = self._pages[chunk.stream[at]]
            raise InputError(f"{self._path}: row {row + at}", f"a page below {limit}", chunk.page[at])


class _arrow_errors:  # noqa: N801 (reads as the statement that it is)
    """Turn what Arrow says of a bad file into InputError; files that cannot be read stay OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        unreadable = isinstance(error, OSError) and error.errno is not None
        if isinstance(error, (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError)) and not unreadable:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(self._path, "an undamaged Parquet file", first) from None


def _check_magic(path: Path) -> None:
    with open_regular(path, path) as file:
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


def _check_columns(path: Path, found: pa.Schema) -> bool:
    for with_time in (False, True):
        wanted = schema(pa.uint32(), with_time)
        if found.names == wanted.names and found.types == wanted.types:
            return with_time
    expected = "columns stream: uint16, page: uint32, write: bool, optionally time: int64"
    raise InputError(path, expected, ", ".join(f"{field.name}: {field.type}" for field in found) or "no columns")


def _booleans(bits: pa.BooleanArray) -> NDArray[np.bool_]:
    # Arrow's own to_numpy goes through a cast that is several times slower than unpackbits.
    start, skip = divmod(bits.offset, 8)
    packed = np.frombuffer(bits.buffers()[1], np.uint8)[start:]
    return np.unpackbits(packed, count=skip + len(bits), bitorder="little")[skip:].view(np.bool_)


def _select(chunk: Chunk, keep: NDArray[np.bool_]) -> Chunk:
    rows = keep[chunk.stream]
    time = None if chunk.time is None else chunk.time[rows]
    return Chunk(chunk.stream[rows], chunk.page[rows], chunk.write[rows], time)
