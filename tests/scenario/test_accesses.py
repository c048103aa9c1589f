"""The one order of all accesses, against the plainest way to make it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.accesses import CHUNK, OPS, Accesses, Chunk, _read_ahead, _Reader, _round_robin
from swaplab.scenario.model import Cgroup, Event, Scenario, Workload
from swaplab.scenario.patterns import Phases, Scan, pattern_chunks
from swaplab.scenario.trace import EVENTS, EventKind, Stream, TraceFile, TraceWriter
from swaplab.scenario.trace.layout import METADATA_KEY

# Stream, page, write; streams "a", "b" and "c" have 3, 2 and 1 pages.
ROWS = [(0, 0, 0), (1, 1, 1), (0, 2, 1), (2, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]
STREAMS = [Stream("a", 3), Stream("b", 2), Stream("c", 1)]


def write_trace(path: Path, rows: list[tuple[int, int, int]] = ROWS, streams: list[Stream] = STREAMS) -> None:
    stream, page, write = np.array(rows).T
    with TraceWriter(path) as writer:
        writer.append(stream.astype(np.uint16), page.astype(np.uint32), write.astype(np.bool_))
        writer.finish(streams)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces")
    write_trace(path / "t.parquet")
    return path


def scenario(*workloads: Workload, **keys: Any) -> Scenario:
    return Scenario(workloads=workloads, source="s.toml", **keys)


def of_trace(*streams: str, **keys: Any) -> Workload:
    return Workload(trace="t.parquet", streams=streams, **keys)


def order(given_scenario: Scenario) -> list[tuple[int, int]]:
    """All accesses as (page, write), and that they are as many as announced."""
    accesses = Accesses(given_scenario)
    chunks = list(accesses.chunks())
    assert all(chunk.accesses.dtype == np.uint32 for chunk in chunks)
    joined = np.concatenate([chunk.accesses for chunk in chunks])
    assert len(joined) == accesses.total == sum(accesses.counts)
    return [(int(access) >> 1, int(access) & 1) for access in joined]


# Reading ahead --------------------------------------------------------------------------------------------------------


def test_what_fails_ahead_is_raised_in_its_turn() -> None:
    def fails() -> Iterator[Chunk]:
        yield Chunk(np.zeros(1, np.uint32))
        raise InputError("t.parquet", "an undamaged file", "a damaged one")

    chunks = _read_ahead(fails())
    assert len(next(chunks).accesses) == 1
    with pytest.raises(InputError, match="a damaged one"):
        next(chunks)


def test_nobody_reads_on_for_who_has_left() -> None:
    made: list[int] = []

    def ten() -> Iterator[Chunk]:
        for i in range(10):
            made.append(i)
            yield Chunk(np.full(1, i, np.uint32))

    before = threading.active_count()
    for _ in _read_ahead(ten()):
        break
    assert threading.active_count() == before
    assert made in ([0], [0, 1])


# Round robin ----------------------------------------------------------------------------------------------------------


def naive(queues: list[list[int]], quantum: int) -> list[int]:
    left, made = [list(queue) for queue in queues], []
    while any(left):
        for queue in left:
            made += queue[:quantum]
            del queue[:quantum]
    return made


def cut(queue: list[int], at: list[int]) -> list[Chunk]:
    """Chunks of a queue; before every third access an operation says its number, before every sixth another again."""
    bounds = [0, *sorted(min(each, len(queue)) for each in at), len(queue)]
    chunks = []
    for start, end in pairwise(bounds):
        ops = [
            (place, EventKind.UNMAP, access, again, 0)
            for place, access in enumerate(queue[start:end])
            for again in range(said(access))
        ]
        chunks.append(Chunk(np.array(queue[start:end], np.uint32), np.array(ops, OPS)))
    return chunks


def said(access: int) -> int:
    return (access % 3 == 0) + (access % 6 == 0)


@settings(max_examples=150)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    quantum=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    memory=st.integers(1, 64),
)
def test_turns_are_taken(lengths: list[int], quantum: int, cuts: list[int], memory: int) -> None:
    """Whatever chunks the accesses come in, and however few of them fit in memory."""
    queues = [[100 * i + k for k in range(length)] for i, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swaplab.scenario.accesses.CHUNK", memory)
        patch.setattr("swaplab.scenario.accesses.TURNS", 3)
        chunks = list(_round_robin([_Reader(iter(cut(queue, cuts))) for queue in queues], quantum))
    made = naive(queues, quantum)
    assert [int(access) for chunk in chunks for access in chunk.accesses] == made
    assert all(len(chunk.accesses) for chunk in chunks)
    ops = [(int(op["page"]), int(op["pages"])) for chunk in chunks for op in chunk.ops]
    assert ops == [(access, again) for access in made for again in range(said(access))]
    assert all(chunk.accesses[op["at"]] == op["page"] for chunk in chunks for op in chunk.ops)


def test_one_of_many_goes_on_alone() -> None:
    readers = [_Reader(iter([Chunk(np.array([i], np.uint32))])) for i in range(2999)]
    readers.append(_Reader(iter([Chunk(np.arange(5000, 9000, dtype=np.uint32))])))
    made = np.concatenate([chunk.accesses for chunk in _round_robin(readers, 1)])
    assert made.tolist() == [*range(2999), *range(5000, 9000)]


@pytest.mark.parametrize("quantum", [1, 1000, CHUNK, 1 << 40])
def test_a_turn_of_any_length_takes_little_memory(quantum: int) -> None:
    workloads = [Workload(pages=10, accesses=1 << 40), Workload(pages=10, accesses=1 << 40)]
    chunks = Accesses(scenario(*workloads, interleave=quantum)).chunks()
    assert max(len(chunk.accesses) for chunk in islice(chunks, 8)) <= 2 * CHUNK


def test_workloads_have_their_own_pages_and_random_numbers() -> None:
    workloads = [Workload(pages=pages, accesses=5000, write_fraction=0.5) for pages in (1000, 1, 300)]
    made = order(scenario(*workloads, interleave=1))
    for i, (first, end) in enumerate([(0, 1000), (1000, 1001), (1001, 1301)]):
        pages, writes = zip(*made[i::3], strict=True)
        expected = next(pattern_chunks(workloads[i].pattern, workloads[i].pages or 0, 0.5, i << 1))
        assert [page - first for page in pages] == expected[0][:5000].tolist()
        assert [bool(write) for write in writes] == expected[1][:5000].tolist()
        assert first <= min(pages) <= max(pages) < end


def test_a_workload_touches_its_pages_four_times_unless_told() -> None:
    made = order(scenario(Workload(pages=30_000, pattern=Scan())))
    assert [page for page, _ in made] == 4 * list(range(30_000))
    assert Accesses(scenario(Workload(pages=30_000, accesses=7))).total == 7


# Traces ---------------------------------------------------------------------------------------------------------------


def test_a_trace_alone(base: Path) -> None:
    offsets = [0, 3, 5]
    assert order(scenario(of_trace(), base=base)) == [(offsets[s] + page, write) for s, page, write in ROWS]


@pytest.mark.parametrize("interleave", ["trace", 1000])
def test_some_streams(base: Path, interleave: Any) -> None:
    offsets = {0: 0, 2: 3}
    expected = [(offsets[s] + page, write) for s, page, write in ROWS if s in offsets]
    assert order(scenario(of_trace("c", "a"), base=base, interleave=interleave)) == expected


def test_the_order_of_the_trace_across_workloads(base: Path) -> None:
    made = order(scenario(of_trace("b"), of_trace("c", "a"), base=base, interleave="trace"))
    offsets = [2, 0, 5]
    assert made == [(offsets[s] + page, write) for s, page, write in ROWS]


def test_turns_across_workloads(base: Path) -> None:
    made = order(scenario(of_trace("b"), of_trace("a"), of_trace("a"), base=base, interleave=3))
    b = [(page, write) for s, page, write in ROWS if s == 1]
    a = [(2 + page, write) for s, page, write in ROWS if s == 0]
    again = [(3 + page, write) for page, write in a]
    assert made == b + a[:3] + again[:3] + a[3:] + again[3:]


def test_the_first_accesses_of_a_trace(base: Path) -> None:
    whole = order(scenario(of_trace("a"), base=base))
    assert order(scenario(of_trace("a", accesses=2), base=base)) == whole[:2]
    assert order(scenario(of_trace("a", accesses=99), base=base)) == whole


def test_a_trace_beside_a_pattern(base: Path) -> None:
    made = order(scenario(of_trace("c"), Workload(pages=2, accesses=3, pattern=Scan()), base=base, interleave=2))
    assert made == [(0, 0), (1, 0), (2, 0), (1, 0)]


def test_counts_by_workload(base: Path) -> None:
    cgroups = {"x": Cgroup()}
    workloads = (of_trace("a", name="n", cgroup="x"), of_trace("c", name="n", cgroup="x"), of_trace("b"))
    assert Accesses(scenario(*workloads, cgroups=cgroups, base=base)).by_workload() == {"x:n": 4, "x:n#1": 1, ":": 3}


@pytest.mark.parametrize(
    ("workloads", "keys", "message"),
    [
        (
            [of_trace("a"), of_trace("z")],
            {},
            r"s.toml: workload\[1\].streams: expected streams of t.parquet \(a, b, c\), found 'z'",
        ),
        (
            [of_trace("b"), of_trace("a", "b")],
            {"interleave": "trace"},
            r"s.toml: workload\[1\].streams: expected streams that workload\[0\] does not have, found 'b'",
        ),
        ([of_trace("b"), of_trace()], {"interleave": "trace"}, r"streams that workload\[0\] does not have, found 'b'"),
        (
            [of_trace("a")],
            {
                "events": (Event(at=4, cgroup="x", exit=True), Event(at=5, cgroup="x", exit=True)),
                "cgroups": {"x": Cgroup()},
            },
            r"s.toml: event\[1\].at: expected at most 4, the number of accesses, found 5",
        ),
    ],
)
def test_what_does_not_fit_the_trace(base: Path, workloads: list[Workload], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Accesses(scenario(*workloads, base=base, **keys))


def test_a_stream_without_accesses(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.parquet", streams=[*STREAMS, Stream("idle", 4)])
    with pytest.raises(InputError, match=r"workload\[0\].streams: expected streams that have accesses, found idle"):
        Accesses(scenario(of_trace("idle"), base=tmp_path))


@pytest.mark.parametrize("damage", ["empty", "truncated", "other", "missing", "pipe"])
def test_a_broken_trace_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.parquet"
    write_trace(path)
    data = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "truncated": data[:-20], "other": b"time,page\n" * 9}[damage])
    with pytest.raises(
        InputError, match=r"s\.toml: workload\[0\]\.trace: .*t\.parquet" if damage == "missing" else str(path)
    ):
        Accesses(scenario(of_trace(), base=tmp_path))


def test_a_page_out_of_range_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_trace(path)
    table = pq.read_table(path)
    page = table["page"].to_pylist()
    page[4] = 2
    changed = table.set_column(1, table.schema.field("page"), [np.array(page, np.uint32)])
    pq.write_table(changed.replace_schema_metadata({METADATA_KEY: pq.read_metadata(path).metadata[METADATA_KEY]}), path)
    with pytest.raises(InputError, match=rf"{path}: row 4: expected a page below 2, found 2"):
        order(scenario(of_trace(), base=tmp_path))


# Operations -----------------------------------------------------------------------------------------------------------

UNMAP, DISCARD, EXIT, FORK, SHARE, REMOVE, FILE_READ, *_ = EventKind
# Two processes of 3 and 2 pages, shared memory of 2, and one that touches nothing.
FAMILY = [Stream("a", 3), Stream("b", 2, parent=0), Stream("shm", 2, kind="shared"), Stream("idle", 0)]


def event(at: int, kind: int, stream: int, page: int = 0, pages: int = 0, other: int = 0, other_page: int = 0) -> Any:
    return at, kind, stream, page, pages, other, other_page, 0


EVENTFUL = [
    event(0, SHARE, 0, 1, 2, 2, 0),
    event(2, FORK, 1, 0, 1, 0, 0),
    event(2, SHARE, 1, 1, 1, 2, 1),
    event(2, FILE_READ, 0, 5, 2),
    event(3, UNMAP, 0, 0, 2),
    event(4, DISCARD, 1, 0, 1),
    event(4, EXIT, 3),
    event(5, EXIT, 0),
    event(5, REMOVE, 2, 0, 2),
    event(6, EXIT, 1),
]
TOUCHES = [(0, 0, 1), (0, 2, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1), (1, 0, 0)]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces")
    stream, page, write = np.array(TOUCHES).T
    with TraceWriter(path / "t.parquet", with_events=True) as writer:
        events = np.array(EVENTFUL, EVENTS)
        writer.append(stream.astype(np.uint16), page.astype(np.uint32), write.astype(np.bool_), events=events)
        writer.finish(FAMILY, files=[TraceFile("f", 7)])
    return path


def done(given_scenario: Scenario) -> list[tuple[int, ...]]:
    """All accesses as (page, write) and all operations as (op, page, pages, other), in order."""
    made: list[tuple[int, ...]] = []
    for chunk in Accesses(given_scenario).chunks():
        assert all(chunk.ops["at"] < len(chunk.accesses))
        for number, access in enumerate(chunk.accesses.tolist()):
            made += [tuple(op)[1:] for op in chunk.ops.tolist() if op[0] == number]
            made.append((access >> 1, access & 1))
    return made


def test_tasks_are_streams(eventful: Path) -> None:
    accesses = Accesses(scenario(Workload(pages=10), of_trace(), base=eventful))
    assert accesses.task_first.tolist() == [0, 10, 13, 15, 17, 17]
    assert accesses.task_workload.tolist() == [0, 1, 1, 1, 1]
    assert accesses.task_shared.tolist() == [False, False, False, True, False]
    assert accesses.first.tolist() == [0, 10, 17]


@pytest.mark.parametrize("rows", [1, 2, CHUNK])
def test_operations_come_before_the_access_that_follows(eventful: Path, rows: int) -> None:
    """However the file is read; what comes after the last access is left out, and so are files and who has no pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swaplab.scenario.accesses.CHUNK", rows)
        made = done(scenario(of_trace(), base=eventful))
    assert made == [
        (SHARE, 1, 2, 5),
        (0, 1),
        (2, 0),
        (FORK, 3, 1, 0),
        (SHARE, 4, 1, 6),
        (3, 0),
        (UNMAP, 0, 2, 0),
        (1, 0),
        (DISCARD, 3, 1, 0),
        (4, 1),
        (EXIT, 0, 3, 0),
        (REMOVE, 5, 2, 0),
        (3, 0),
    ]


@pytest.mark.parametrize("interleave", ["trace", 2])
def test_operations_between_workloads(eventful: Path, interleave: Any) -> None:
    """Shared memory that nobody names belongs to the first workload."""
    made = done(scenario(of_trace("b"), of_trace("a"), base=eventful, interleave=interleave))
    b = [(FORK, 0, 1, 4), (SHARE, 1, 1, 3), (0, 0), (DISCARD, 0, 1, 0), (1, 1), (REMOVE, 2, 2, 0), (0, 0)]
    a = [(SHARE, 5, 2, 2), (4, 1), (6, 0), (UNMAP, 4, 2, 0), (5, 0)]
    if interleave == 2:
        assert made == b[:5] + a[:3] + b[5:] + a[3:]
    else:
        assert made == a[:3] + b[:3] + a[3:] + b[3:5] + [(EXIT, 4, 3, 0)] + b[5:]


def test_nothing_is_forked_from_who_is_not_there(eventful: Path) -> None:
    made = done(scenario(of_trace("b"), base=eventful))
    assert made == [(SHARE, 1, 1, 3), (0, 0), (DISCARD, 0, 1, 0), (1, 1), (REMOVE, 2, 2, 0), (0, 0)]


def test_a_limit_ends_operations_too(eventful: Path) -> None:
    whole = done(scenario(of_trace(), base=eventful))
    assert done(scenario(of_trace(accesses=2), base=eventful)) == whole[:3]
    assert done(scenario(of_trace(accesses=3), base=eventful)) == whole[:6]


def test_a_pattern_unmaps_its_own_pages() -> None:
    phases = Workload(pages=10, accesses=100, pattern=Phases(share=0.2, length=30, free=True))
    made = done(scenario(Workload(pages=5, accesses=100), phases, interleave=20))
    assert [op for op in made if len(op) == 4] == [(UNMAP, 5, 2, 0), (UNMAP, 7, 2, 0), (UNMAP, 9, 2, 0)]
    own = [access for access in made if len(access) == 4 or access[0] >= 5]
    assert [place for place, op in enumerate(own) if len(op) == 4] == [30, 61, 92]
