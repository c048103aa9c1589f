"""Events by address: numbering pages densely changes neither what an access sees nor what has a number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenario.trace.rows import Row, read

from swaplab.errors import InputError
from swaplab.scenario.trace import RAW_EVENTS, EventKind, RawTraceWriter, Stream, TraceFile, TraceInfo, raw

UNMAP, DISCARD, EXIT, FORK, SHARE, REMOVE, FILE_READ, *_ = EventKind
EVERYTHING = (0, 2**52)
NAMES = ["a", "b", "c", "shm", "memfd"]

# An access (stream, page, write) or an event (kind, stream, page, pages, other, other_page), by address or densely.


class Memory:
    """What every access sees: the number of the access that wrote there last, None in fresh memory."""

    def __init__(self) -> None:
        self._cells: defaultdict[int, dict[int, object]] = defaultdict(dict)
        self._mapped: defaultdict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        self._number = 0

    def do(self, row: Row) -> object:
        if len(row) == 3:
            return self._access(*row)
        self._event(*row)
        return None

    def _access(self, stream: int, page: int, write: int) -> object:
        stream, page = self._mapped[stream].get(page, (stream, page))
        seen = self._cells[stream].get(page)
        self._number += 1
        if write or seen is None:
            self._cells[stream][page] = self._number
        return seen

    def _event(self, kind: int, stream: int, page: int, pages: int, other: int, other_page: int) -> None:
        cells, mapped = self._cells[stream], self._mapped[stream]
        for table in (cells, mapped) if kind in (UNMAP, EXIT, SHARE) else (cells,):
            if kind in (UNMAP, DISCARD, EXIT, SHARE, REMOVE):
                for key in [key for key in table if kind == EXIT or page <= key < page + pages]:
                    del table[key]
        if kind == FORK:
            for key, value in list(self._cells[other].items()):
                if other_page <= key < other_page + pages:
                    cells[key - other_page + page] = value
        if kind == SHARE:
            for offset in range(min(pages, 50)):
                mapped[page + offset] = (other, other_page + offset)


def write(path: Path, rows: list[Row], cuts: Iterable[int] = ()) -> TraceInfo:
    with RawTraceWriter(path.parent) as writer:
        bounds = [0, *sorted(cuts), len(rows)]
        for start, end in pairwise(bounds):
            accesses = [row for row in rows[start:end] if len(row) == 3]
            events, before = [], 0
            for row in rows[start:end]:
                before += len(row) == 3
                if len(row) > 3:
                    events.append((before, *row, 0))
            stream, page, is_write = zip(*accesses, strict=True) if accesses else ((), (), ())
            writer.append(
                np.array(stream, np.uint16),
                np.array(page, np.uint64),
                np.array(is_write, np.bool_),
                events=np.array(events, RAW_EVENTS),
            )
        return writer.finish(path, NAMES, files=["f"])


def seen(rows: list[Row]) -> list[object]:
    memory = Memory()
    return [result for row in rows for result in [memory.do(row)] if len(row) == 3]


def addresses(stream: Stream) -> set[int]:
    return {first + offset for first, count in stream.ranges or [] for offset in range(count)}


PAGE = st.integers(0, 11)
PROCESS = st.integers(0, 2)
OBJECT = st.integers(3, 4)
ROW = st.one_of(
    st.tuples(PROCESS, PAGE, st.integers(0, 1)),
    st.tuples(PROCESS, PAGE, st.integers(0, 1)),
    st.tuples(st.sampled_from([UNMAP, DISCARD]), PROCESS, PAGE, st.integers(1, 12), st.just(0), st.just(0)),
    st.tuples(st.just(SHARE), PROCESS, PAGE, st.integers(1, 6), OBJECT, st.integers(0, 5)),
    st.tuples(st.just(REMOVE), OBJECT, PAGE, st.integers(1, 6), st.just(0), st.just(0)),
    st.tuples(st.just(EXIT), PROCESS, st.just(0), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just(FORK), st.integers(1, 2), PAGE, st.integers(1, 12), PROCESS, PAGE),
    st.just((FORK, 1, *EVERYTHING, 0, 0)),
)


def of(stream: int, write: int, most: int) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(st.just(stream), PAGE, st.just(write)), min_size=1, max_size=most)


# A parent writes, forks and writes on, while the child reads.
FAMILY = st.builds(
    lambda before, after, child: [*before, (FORK, 1, *EVERYTHING, 0, 0), *after, *child],
    of(0, 1, 6),
    of(0, 1, 3),
    of(1, 0, 4),
)


def possible(rows: list[Row]) -> list[Row]:
    """Leave out what no processes could do."""
    kept: list[Row] = []
    gone, ran = set(), set()
    for row in rows:
        stream = row[0] if len(row) == 3 else row[1]
        is_fork = row[0] == FORK and len(row) > 3
        if stream in gone or (is_fork and (row[4] in gone or row[4] == stream or stream in ran)):
            continue
        kept.append(row)
        if len(row) == 3 or row[0] not in (FORK, SHARE):
            ran.add(stream)
        if len(row) > 3 and row[0] == EXIT:
            gone.add(stream)
    return kept


@settings(max_examples=150, deadline=None)
@given(
    rows=st.builds(list.__add__, FAMILY, st.lists(ROW, max_size=40)).map(possible),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_accesses_see_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("raw") / "t.parquet"
    write(path, rows, [min(cut, len(rows)) for cut in cuts])
    assert seen(read(path)) == seen(rows)
    one_by_one = path.with_name("one.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "_EVENTS_AT_ONCE", 2)
        patch.setattr(raw, "ROW_GROUP_ROWS", 3)
        write(one_by_one, rows, range(len(rows)))
    assert one_by_one.read_bytes() == path.read_bytes()


def test_a_child_has_what_its_parent_had(tmp_path: Path) -> None:
    rows: list[Row] = [(0, 10, 1), (0, 30, 1), (FORK, 1, *EVERYTHING, 0, 0), (0, 20, 1), (1, 40, 1)]
    info = write(tmp_path / "t.parquet", rows)
    assert [addresses(stream) for stream in info.streams[:2]] == [{10, 20, 30}, {10, 30, 40}]
    assert info.streams[1].parent == 0
    assert [row for row in read(tmp_path / "t.parquet") if len(row) > 3] == [
        (FORK, 1, 0, 1, 0, 0),
        (FORK, 1, 1, 1, 0, 2),
    ]


def test_shared_memory_has_what_somebody_touched(tmp_path: Path) -> None:
    rows: list[Row] = [
        (SHARE, 0, 100, 8, 3, 0),
        (SHARE, 1, 205, 4, 3, 1),
        (0, 101, 1),
        (1, 205, 0),
        (1, 207, 0),
        (REMOVE, 3, *EVERYTHING, 0, 0),
    ]
    info = write(tmp_path / "t.parquet", rows)
    assert [addresses(stream) for stream in info.streams[:4]] == [{101}, {205, 207}, set(), {1, 3}]
    assert [stream.kind for stream in info.streams] == ["process"] * 3 + ["shared", "process"]
    assert [row for row in read(tmp_path / "t.parquet") if len(row) > 3] == [
        (SHARE, 0, 0, 1, 3, 0),
        (SHARE, 1, 0, 2, 3, 0),
        (REMOVE, 3, 0, 2, 0, 0),
    ]


def test_what_has_no_numbers_vanishes(tmp_path: Path) -> None:
    rows: list[Row] = [
        (0, 10, 1),
        (UNMAP, 0, 0, 10, 0, 0),
        (UNMAP, 1, *EVERYTHING, 0, 0),
        (DISCARD, 0, 11, 2**51, 0, 0),
        (FORK, 2, *EVERYTHING, 1, 0),
        (UNMAP, 0, *EVERYTHING, 0, 0),
    ]
    write(tmp_path / "t.parquet", rows)
    assert read(tmp_path / "t.parquet") == [(0, 0, 1), (UNMAP, 0, 0, 1, 0, 0)]


def test_files_keep_their_pages(tmp_path: Path) -> None:
    rows: list[Row] = [(0, 5, 1), (FILE_READ, 0, 2**32 - 2, 2, 0, 0)]
    info = write(tmp_path / "t.parquet", rows)
    assert info.files == [TraceFile("f", 2**32)]
    assert read(tmp_path / "t.parquet")[1] == rows[1]
    with pytest.raises(InputError, match="files of at most"):
        write(tmp_path / "t.parquet", [(0, 5, 1), (FILE_READ, 0, 2**32 - 2, 3, 0, 0)])


def test_events_and_no_access(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one access"):
        write(tmp_path / "t.parquet", [(EXIT, 0, 0, 0, 0, 0)])
    assert list(tmp_path.iterdir()) == []
