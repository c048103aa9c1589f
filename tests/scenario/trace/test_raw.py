"""Dense numbers are ranks of addresses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.trace import RawTraceWriter, Trace, raw

ADDRESS = st.one_of(st.integers(0, 6), st.integers(2**52 - 4, 2**52), st.integers(2**64 - 3, 2**64 - 1))
Access = tuple[int, int, bool]

ACCESS = st.tuples(st.integers(0, 2), ADDRESS, st.booleans())


def append(writer: RawTraceWriter, rows: list[Access]) -> None:
    stream, page, write = zip(*rows, strict=True) if rows else ((), (), ())
    writer.append(np.array(stream, np.uint16), np.array(page, np.uint64), np.array(write, np.bool_))


def rows_of(path: Path) -> list[Access]:
    trace = Trace.open(path)
    return [row for chunk in trace.chunks() for row in zip(*(array.tolist() for array in chunk[:3]), strict=True)]


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(ACCESS, max_size=20), max_size=4).filter(any))
def test_pages_are_ranks(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Access]]) -> None:
    out = tmp_path_factory.mktemp("raw") / "t.parquet"
    with RawTraceWriter(out.parent) as writer:
        for batch in batches:
            append(writer, batch)
        info = writer.finish(out, ["a", "b", "c"])
    rows = [row for batch in batches for row in batch]
    pages = [sorted({page for stream, page, _ in rows if stream == number}) for number in range(3)]
    assert rows_of(out) == [(stream, pages[stream].index(page), write) for stream, page, write in rows]
    for stream, addresses in zip(info.streams, pages, strict=True):
        told = [first + offset for first, count in stream.ranges or [] for offset in range(count)]
        assert told == addresses
        assert stream.pages == len(addresses)


def test_ranges_join_neighbours(tmp_path: Path) -> None:
    with RawTraceWriter(tmp_path) as writer:
        append(writer, [(0, page, False) for page in (9, 1, 2, 7, 8, 3)])
        info = writer.finish(tmp_path / "t.parquet", ["a"])
    assert info.streams[0].ranges == [(1, 3), (7, 3)]


def test_object_ids_have_no_ranges(tmp_path: Path) -> None:
    with RawTraceWriter(tmp_path) as writer:
        append(writer, [(0, 5, False)])
        info = writer.finish(tmp_path / "t.parquet", ["a"], addresses=False)
    assert info.streams[0].ranges is None


def test_merging_in_between_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "_MERGE_PAGES", 3)
    rows = [(n % 2, n * 7919 % 101, n % 5 == 0) for n in range(400)]
    with RawTraceWriter(tmp_path) as writer:
        for start in range(0, 400, 9):
            append(writer, rows[start : start + 9])
        writer.finish(tmp_path / "t.parquet", ["a", "b"])
    pages = [sorted({page for stream, page, _ in rows if stream == number}) for number in range(2)]
    assert rows_of(tmp_path / "t.parquet") == [(s, pages[s].index(page), write) for s, page, write in rows]


def test_too_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "MAX_PAGES", 10)
    monkeypatch.setattr(raw, "_MERGE_PAGES", 5)
    with (
        RawTraceWriter(tmp_path, where="big.csv") as writer,
        pytest.raises(InputError, match=r"big.csv: expected at most"),
    ):
        append(writer, [(0, page, False) for page in range(11)])
    assert list(tmp_path.iterdir()) == []


def test_metadata_and_progress(tmp_path: Path) -> None:
    seen = []
    with RawTraceWriter(tmp_path, with_time=True) as writer:
        writer.append(np.zeros(3, np.uint16), np.arange(3, dtype=np.uint64), np.ones(3, np.bool_), np.arange(3))
        writer.finish(
            tmp_path / "t.parquet",
            ["python3:1"],
            source="here",
            window=2,
            command=["python3"],
            extra={"seed": 1},
            progress=lambda done, rows: seen.append((done, rows)),
        )
    info = Trace.open(tmp_path / "t.parquet").info
    assert (info.source, info.window, info.command, info.extra) == ("here", 2, ["python3"], {"seed": 1})
    assert seen == [(3, 3)]
    chunk = next(Trace.open(tmp_path / "t.parquet").chunks(with_time=True))
    assert chunk.time is not None
    assert chunk.time.tolist() == [0, 1, 2]


def test_nothing_is_left_without_accesses(tmp_path: Path) -> None:
    with RawTraceWriter(tmp_path) as writer, pytest.raises(InputError, match="at least one access"):
        writer.finish(tmp_path / "t.parquet", ["a"])
    assert list(tmp_path.iterdir()) == []
