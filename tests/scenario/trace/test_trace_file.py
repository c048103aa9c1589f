"""Traces as files: what is written is read, and what is damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.trace import Stream, Trace, TraceInfo, TraceWriter
from swaplab.scenario.trace.layout import METADATA_KEY, ROW_GROUP_ROWS

Access = tuple[int, int, bool, int]

ACCESS = st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans(), st.integers(-(2**63), 2**63 - 1))


def columns(
    rows: list[Access],
) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.bool_], NDArray[np.int64]]:
    stream, page, write, time = zip(*rows, strict=True) if rows else ((), (), (), ())
    return (
        np.array(stream, np.uint16),
        np.array(page, np.uint32),
        np.array(write, np.bool_),
        np.array(time, np.int64),
    )


def streams() -> list[Stream]:
    return [Stream(f"s{number}", 10) for number in range(4)]


def write(path: Path, rows: list[Access], **metadata: Any) -> TraceInfo:
    with TraceWriter(path, with_time=True) as writer:
        writer.append(*columns(rows))
        return writer.finish(streams(), **metadata)


def read(trace: Trace, **options: Any) -> list[Access]:
    rows = []
    for chunk in trace.chunks(**options):
        assert [array.dtype for array in chunk[:3]] == [np.uint16, np.uint32, np.bool_]
        time = chunk.time if chunk.time is not None else np.zeros(len(chunk.page), np.int64)
        rows += list(zip(*(array.tolist() for array in (*chunk[:3], time)), strict=True))
    return rows


def rewritten(path: Path, table: pa.Table | None = None, metadata: object = None) -> Path:
    """Write a Parquet file as another program would."""
    if table is None:
        table = pa.table({"stream": pa.array([0], pa.uint16()), "page": pa.array([0], pa.uint32()), "write": [True]})
    if metadata is None:
        metadata = {
            "version": 1,
            "accesses": len(table),
            "streams": [{"name": "a", "pages": 1, "accesses": len(table)}],
        }
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), path)
    return path


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ACCESS, min_size=1, max_size=60), cut=st.integers(0, 60), size=st.integers(1, 70))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Access], cut: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    with TraceWriter(path, with_time=True) as writer:
        writer.append(*columns(rows[:cut]))
        writer.append(*columns(rows[cut:]))
        info = writer.finish(streams(), source="made up", window=3, command=["a", "b"], extra={"more": [1, None]})
    trace = Trace.open(path)
    assert trace.info == info
    assert trace.info.extra == {"more": [1, None]}
    assert [stream.accesses for stream in info.streams] == [sum(r[0] == n for r in rows) for n in range(4)]
    assert read(trace, rows=size, with_time=True) == rows


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(ACCESS, min_size=1, max_size=60), kept=st.sets(st.integers(0, 3)))
def test_streams_can_be_selected(tmp_path_factory: pytest.TempPathFactory, rows: list[Access], kept: set[int]) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.parquet"
    write(path, rows)
    assert read(Trace.open(path), rows=7, streams=kept, with_time=True) == [row for row in rows if row[0] in kept]


def test_more_rows_than_a_row_group_holds(tmp_path: Path) -> None:
    rows = ROW_GROUP_ROWS + 12345
    page = np.arange(rows, dtype=np.uint32) % 1000
    stream, written = np.zeros(rows, np.uint16), page % 3 == 0
    with TraceWriter(tmp_path / "t.parquet") as writer:
        writer.append(stream, page, written)
        writer.finish([Stream("a", 1000)])
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.num_row_groups == 2
    chunks = list(Trace.open(tmp_path / "t.parquet").chunks())
    assert np.array_equal(np.concatenate([chunk.page for chunk in chunks]), page)
    assert np.array_equal(np.concatenate([chunk.write for chunk in chunks]), written)
    assert max(len(chunk.page) for chunk in chunks) <= 1 << 17


def test_the_same_accesses_make_the_same_bytes(tmp_path: Path) -> None:
    rows = [(n % 4, n % 10, n % 3 == 0, n) for n in range(500)]
    write(tmp_path / "a.parquet", rows)
    write(tmp_path / "b.parquet", rows)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_memory_is_flat_in_trace_length(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        block = ROW_GROUP_ROWS // 4
        page = np.random.default_rng(0).integers(0, 1 << 20, block, dtype=np.uint32)
        with TraceWriter(tmp_path / "t.parquet") as writer:
            for _ in range(rows // block):
                writer.append(np.zeros(block, np.uint16), page, page % 2 == 0)
            writer.finish([Stream("a", 1 << 20)])
        before, highest = pa.total_allocated_bytes(), 0
        for _ in Trace.open(tmp_path / "t.parquet").chunks():
            highest = max(highest, pa.total_allocated_bytes() - before)
        return highest

    assert peak(6 * ROW_GROUP_ROWS) < 1.2 * peak(2 * ROW_GROUP_ROWS)


def test_nothing_is_left_of_an_unfinished_trace(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="finish"), TraceWriter(tmp_path / "t.parquet") as writer:
        writer.append(*columns([(0, 0, True, 0)])[:3])
    with pytest.raises(KeyError), TraceWriter(tmp_path / "t.parquet"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "described", "expected"),
    [
        ([], [Stream("a", 1)], "at least one access"),
        ([(0, 5, True, 0)], [Stream("a", 5)], "pages below 5"),
        ([(1, 0, True, 0)], [Stream("a", 5)], "description of each stream"),
        ([(0, 0, True, 0)], [Stream("a", 1), Stream("a", 1)], "a name of its own"),
        ([(0, 0, True, 0)], [Stream("a", 2**31 + 1)], "pages in all"),
        ([(0, 0, True, 0)], [Stream("a", 2, ranges=[(7, 1)])], "2 pages in all"),
        ([(0, 0, True, 0)], [Stream("a", 2, ranges=[(7, 1), (3, 1)])], "in order of address"),
        ([(0, 0, True, 0)], [Stream("a", 2, ranges=[(7, 2), (8, 0)])], "not negative"),
    ],
)
def test_writers_check_what_they_are_told(
    tmp_path: Path, rows: list[Access], described: list[Stream], expected: str
) -> None:
    def attempt() -> None:
        with TraceWriter(tmp_path / "t.parquet", with_time=True) as writer:
            writer.append(*columns(rows))
            writer.finish(described)

    with pytest.raises(InputError, match=expected):
        attempt()
    assert list(tmp_path.iterdir()) == []


def test_no_time_to_read(tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t.parquet") as writer:
        writer.append(*columns([(0, 0, True, 0)])[:3])
        writer.finish([Stream("a", 1)])
    trace = Trace.open(tmp_path / "t.parquet")
    assert not trace.has_time
    with pytest.raises(InputError, match="a column time"):
        next(trace.chunks(with_time=True))


def test_a_page_out_of_range_is_named_by_its_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "stream": pa.array([0, 1, 1, 0], pa.uint16()),
            "page": pa.array([0, 4, 5, 3], pa.uint32()),
            "write": [True] * 4,
        }
    )
    names = [{"name": "a", "pages": 3, "accesses": 2}, {"name": "b", "pages": 5, "accesses": 2}]
    path = rewritten(tmp_path / "t.parquet", table, {"version": 1, "accesses": 4, "streams": names})
    with pytest.raises(InputError, match=r"row 2: expected a page below 5, found 5"):
        list(Trace.open(path).chunks())
    with pytest.raises(InputError, match=r"row 2"):
        list(Trace.open(path).chunks(rows=1))


def test_a_stream_out_of_range_is_named_by_its_row(tmp_path: Path) -> None:
    table = pa.table(
        {"stream": pa.array([0, 1], pa.uint16()), "page": pa.array([0, 0], pa.uint32()), "write": [True] * 2}
    )
    with pytest.raises(InputError, match=r"row 1: expected a stream below 1, found 1"):
        list(Trace.open(rewritten(tmp_path / "t.parquet", table)).chunks())


STREAM = [{"name": "a", "pages": 1, "accesses": 1}]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (b"not json", "the description of a trace"),
        (b"[" * 100_000, "the description of a trace"),
        (b'{"a":' * 100_000, "the description of a trace"),
        (b"\xff\xfe", "the description of a trace"),
        ({}, "version: expected 1, found None"),
        ({"version": 1}, "missing required field"),
        ({"version": 2, "accesses": 1, "streams": STREAM}, "version: expected 1, found 2"),
        ({"version": 1, "accesses": 1, "streams": []}, "1 to 65536 streams"),
        ({"version": 1, "accesses": "many", "streams": STREAM}, "description"),
        ({"version": 1, "accesses": 2, "streams": STREAM}, "all streams together"),
        (
            {"version": 1, "accesses": 0, "streams": [{"name": "a", "pages": 1, "accesses": 0}]},
            "at least one access",
        ),
        (
            {"version": 1, "accesses": 1, "streams": [{"name": "a", "pages": 0, "accesses": 1}]},
            "no access without",
        ),
        (
            {"version": 1, "accesses": 1, "streams": [{"name": "a", "pages": 2**30, "accesses": 1}]},
            "pages in all for",
        ),
        (
            {"version": 1, "accesses": 10**9, "streams": [{"name": "a", "pages": 1, "accesses": 10**9}]},
            "rows, as",
        ),
    ],
)
def test_metadata_that_lies(tmp_path: Path, metadata: Any, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        Trace.open(rewritten(tmp_path / "t.parquet", metadata=metadata))


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"page": pa.array([0], pa.uint32())}),
        pa.table({"stream": pa.array([0], pa.uint16()), "page": pa.array([0], pa.uint64()), "write": [True]}),
        pa.table({"stream": pa.array([0], pa.uint16()), "page": pa.array([0], pa.uint32()), "write": [1], "x": [1]}),
    ],
)
def test_other_columns(tmp_path: Path, table: pa.Table) -> None:
    with pytest.raises(InputError, match="columns stream: uint16"):
        Trace.open(rewritten(tmp_path / "t.parquet", table))


def test_nulls(tmp_path: Path) -> None:
    table = pa.table({"stream": pa.array([0], pa.uint16()), "page": pa.array([None], pa.uint32()), "write": [True]})
    with pytest.raises(InputError, match="null"):
        list(Trace.open(rewritten(tmp_path / "t.parquet", table)).chunks())


def test_parquet_of_others_without_metadata(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"stream": pa.array([0], pa.uint16()), "page": pa.array([0], pa.uint32()), "write": [True]}),
        tmp_path / "t.parquet",
    )
    with pytest.raises(InputError, match=r"metadata under swaplab\.trace"):
        Trace.open(tmp_path / "t.parquet")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trace.open(tmp_path / "none.parquet")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: expected a regular file"):
            Trace.open(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "t.parquet"
    write(path, [(n % 4, n % 10, n % 3 == 0, n) for n in range(40)])
    return path


def test_truncation_at_every_byte(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    path = tmp_path / "t.parquet"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            Trace.open(path)


def test_a_flipped_byte_is_never_silently_read(small: Path, tmp_path: Path) -> None:
    whole = small.read_bytes()
    rows = read(Trace.open(small), with_time=True)
    path = tmp_path / "t.parquet"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            found = read(Trace.open(path), with_time=True)
        except InputError:
            continue
        assert found == rows


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("random") / "t.parquet"
    for content in (
        data,
        b"PAR1" + data + b"PAR1",
        b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError):
            Trace.open(path)
