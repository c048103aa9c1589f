"""Events between accesses: what is written is read, what cannot be is refused, and pages keep their meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from tests.scenario.trace.rows import Row, read

from swaplab.errors import InputError
from swaplab.scenario.trace import (
    EVENTS,
    EventKind,
    Stream,
    Trace,
    TraceFile,
    TraceWriter,
)
from swaplab.scenario.trace.layout import METADATA_KEY, ROW_GROUP_ROWS, schema

UNMAP, DISCARD, EXIT, FORK, SHARE, REMOVE, FILE_READ, *_ = EventKind
STREAMS = [Stream("a", 5), Stream("b", 4, parent=0), Stream("shm", 3, kind="shared")]
FILES = [TraceFile("f", 7)]

# A row is an access (stream, page, write) or an event (kind, stream, page, pages, other, other_page).


def columns(rows: Iterable[Row], dtype: np.dtype[np.void] = EVENTS) -> tuple[NDArray[Any], ...]:
    """Stream, page and write of the accesses, and the events."""
    accesses, events = [row for row in rows if len(row) == 3], []
    before = 0
    for row in rows:
        if len(row) == 3:
            before += 1
        else:
            events.append((before, *row, 0))
    stream, page, write = zip(*accesses, strict=True) if accesses else ((), (), ())
    numbers = (np.array(stream, np.uint16), np.array(page, dtype["page"]), np.array(write, np.bool_))
    return (*numbers, np.array(events, dtype))


def write(path: Path, rows: list[Row], streams: list[Stream] = STREAMS) -> Path:
    with TraceWriter(path, with_events=True) as writer:
        stream, page, is_write, events = columns(rows)
        writer.append(stream, page, is_write, events=events)
        writer.finish(streams, files=FILES)
    return path


GOOD: list[Row] = [
    (0, 1, 1),
    (UNMAP, 0, 1, 2, 0, 0),
    (DISCARD, 0, 0, 5, 0, 0),
    (0, 0, 1),
    (FORK, 1, 0, 4, 0, 1),
    (SHARE, 1, 2, 2, 2, 1),
    (1, 3, 0),
    (EXIT, 0, 0, 0, 0, 0),
    (REMOVE, 2, 0, 3, 0, 0),
    (FILE_READ, 1, 3, 4, 0, 0),
    (1, 0, 0),
    (EXIT, 1, 0, 0, 0, 0),
]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_what_is_written_is_read(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "t.parquet", GOOD)
    assert read(path, rows=size) == GOOD
    info = Trace.open(path).info
    assert (info.accesses, info.events, info.files) == (4, 8, FILES)
    assert [(stream.kind, stream.parent, stream.accesses) for stream in info.streams] == [
        ("process", None, 2),
        ("process", 0, 2),
        ("shared", None, 0),
    ]


def test_selected_streams_keep_their_events(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", GOOD)
    for kept in ({0}, {1}, {0, 2}):
        own = [row for row in GOOD if (row[0] if len(row) == 3 else row[1]) in kept]
        assert read(path, rows=4, streams=kept) == own


def test_without_events_a_trace_is_of_version_1(tmp_path: Path) -> None:
    stream, page, is_write, _ = columns([(0, 0, 1)])
    with TraceWriter(tmp_path / "t.parquet") as writer:
        writer.append(stream, page, is_write)
        writer.finish([Stream("a", 1)])
    assert json.loads(pq.read_metadata(tmp_path / "t.parquet").metadata[METADATA_KEY])["version"] == 1
    assert pq.read_schema(tmp_path / "t.parquet").names == ["stream", "page", "write"]


def test_columns_of_row_groups_without_events_stay_unread(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with TraceWriter(path, with_events=True) as writer:
        zeros = np.zeros(2 * ROW_GROUP_ROWS, np.uint16)
        writer.append(zeros, zeros.astype(np.uint32), zeros.astype(np.bool_))
        stream, page, is_write, events = columns([(UNMAP, 0, 0, 1, 0, 0)])
        writer.append(stream, page, is_write, events=events)
        writer.finish([Stream("a", 1)])
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == 3
    data = bytearray(path.read_bytes())
    for group in range(2):  # what is damaged there is not noticed
        column = metadata.row_group(group).column(4)
        assert column.path_in_schema == "pages"
        last = column.dictionary_page_offset + column.total_compressed_size - 1  # of a page, behind its header
        data[last] ^= 0xFF
    path.write_bytes(data)
    assert read(path)[-1] == (UNMAP, 0, 0, 1, 0, 0)
    assert len(read(path)) == 2 * ROW_GROUP_ROWS + 1


def test_times_of_events(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.parquet", with_time=True, with_events=True) as writer:
        stream, page, is_write, events = columns([(0, 0, 1), (EXIT, 0, 0, 0, 0, 0)])
        events["time"] = 77
        writer.append(stream, page, is_write, np.array([50]), events)
        writer.finish(STREAMS, files=FILES)
    chunk = next(Trace.open(tmp_path / "t.parquet").chunks(with_time=True))
    assert chunk.time is not None
    assert (chunk.time.tolist(), chunk.events["time"].tolist()) == ([50], [77])
    assert next(Trace.open(tmp_path / "t.parquet").chunks()).events["time"].tolist() == [0]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ((11, 0, 0, 1, 0, 0), "row 2: expected an event from 1 to 10, found 11"),
        ((UNMAP, 3, 0, 1, 0, 0), "row 2: expected a stream below 3, found 3"),
        ((UNMAP, 0, 0, 0, 0, 0), "row 2: expected at least one page, found 0"),
        ((UNMAP, 0, 3, 3, 0, 0), "row 2: expected pages of the stream, found 5"),
        ((UNMAP, 0, 1, 2**32 - 1, 0, 0), "row 2: expected pages of the stream"),
        ((DISCARD, 2, 0, 1, 0, 0), "row 2: expected a process, found 2"),
        ((DISCARD, 0, 0, 1, 1, 0), "row 2: expected 0 as other, found 1"),
        ((EXIT, 0, 0, 1, 0, 0), "row 2: expected 0 as pages, found 1"),
        ((REMOVE, 0, 0, 1, 0, 0), "row 2: expected shared memory, found 0"),
        ((FORK, 1, 0, 1, 3, 0), "row 2: expected another stream below 3, found 3"),
        ((FORK, 1, 0, 1, 1, 0), "row 2: expected another stream as parent, found 1"),
        ((FORK, 1, 0, 1, 2, 0), "row 2: expected a process as parent, found 2"),
        ((FORK, 1, 0, 3, 0, 3), "row 2: expected pages of the other stream, found 5"),
        ((SHARE, 1, 0, 1, 0, 0), "row 2: expected shared memory to map, found 0"),
        ((SHARE, 0, 0, 3, 2, 1), "row 2: expected pages of the other stream, found 3"),
        ((FILE_READ, 0, 0, 1, 1, 0), "row 2: expected a file below 1, found 1"),
        ((FILE_READ, 0, 6, 2, 0, 0), "row 2: expected pages of the file, found 7"),
        ((FILE_READ, 0, 6, 1, 0, 1), "row 2: expected 0 as other_page, found 1"),
        ((2, 0, 0), "row 2: expected an access by who maps the shared memory, found one of stream 2"),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_rows_that_cannot_be(tmp_path: Path, bad: Row, expected: str, size: int) -> None:
    path = written_unchecked(tmp_path / "t.parquet", [(0, 0, 1), (UNMAP, 0, 0, 1, 0, 0), bad, (1, 0, 0)])
    with pytest.raises(InputError, match=f"{path}: {expected}"):
        read(path, rows=size)


END: Row = (EXIT, 0, 0, 0, 0, 0)
BIRTH: Row = (FORK, 1, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 0, 1), END, (1, 0, 0), (0, 1, 0)], "row 3: expected nothing after the exit"),
        ([(0, 0, 1), END, END], "row 2: expected nothing after the exit"),
        ([(0, 0, 1), END, (UNMAP, 0, 0, 1, 0, 0)], "row 2: expected nothing after the exit"),
        ([(0, 0, 1), END, BIRTH], "row 2: expected a fork before the exit"),
        ([(0, 0, 1), (1, 0, 0), BIRTH], "row 2: expected a fork before all else"),
        ([(0, 0, 1), (DISCARD, 1, 0, 1, 0, 0), BIRTH], "row 2: expected a fork before all else"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_orders_that_cannot_be(tmp_path: Path, rows: list[Row], expected: str, size: int) -> None:
    path = written_unchecked(tmp_path / "t.parquet", rows)
    with pytest.raises(InputError, match=f"{path}: {expected}"):
        read(path, rows=size)


def written_unchecked(path: Path, rows: list[Row]) -> Path:
    """Write the rows as another program would, with metadata that fit."""
    names = ["event", "stream", "page", "pages", "other", "other_page"]
    full = [(0, row[0], row[1], 0, 0, 0) if len(row) == 3 else row for row in rows]
    values = dict(zip(names, zip(*full, strict=True), strict=True)) | {
        "write": [len(row) == 3 and bool(row[2]) for row in rows]
    }
    wanted = schema(pa.uint32(), with_time=False, with_events=True)
    streams = [{"name": each.name, "pages": each.pages, "kind": each.kind} for each in STREAMS]
    accesses = sum(len(row) == 3 for row in rows)
    streams[0]["accesses"] = accesses
    info = {"version": 2, "accesses": accesses, "events": len(rows) - accesses, "streams": streams}
    info["files"] = [{"name": "f", "pages": 7}]
    table = pa.table([pa.array(values[name], wanted.field(name).type) for name in wanted.names], wanted)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(info)}), path)
    return path


@pytest.mark.parametrize("bad", [(UNMAP, 0, 4, 2, 0, 0), (FORK, 1, 0, 2, 0, 4), (SHARE, 0, 0, 2, 2, 2)])
def test_writers_refuse_pages_that_there_are_not(tmp_path: Path, bad: Row) -> None:
    with pytest.raises(InputError, match="pages below"):
        write(tmp_path / "t.parquet", [(0, 0, 1), bad])
    assert list(tmp_path.iterdir()) == []
