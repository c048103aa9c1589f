"""What the guest is given of contents, and what it must report, against the slow way: page by page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.scenario.accesses import OPS, Accesses, Chunk
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.trace import EventKind
from swaplab.vm.contents import Memory, checksums, contents_of

SCENARIO = """
machine.seed = 3
[[workload]]
pages = 30
content = { mix = [{ weight = 1, content = "zero" }, { weight = 2, content = { ratio = 2.0 } }] }
[[workload]]
pages = 20
content = "random"
[[workload]]
pages = 20
content = { mix = [{ weight = 1, content = "zero" }, { weight = 2, content = { ratio = 2.0 } }] }
"""


def slow_checksum(page: int, data: bytes) -> int:
    total = 0xCBF29CE484222325
    for i in range(0, 4096, 8):
        total = (total ^ int.from_bytes(data[i : i + 8], "little")) * 0x100000001B3 % 2**64
    return total * (2 * page + 1)


def test_checksums_are_those_of_every_page() -> None:
    scenario = parse_scenario(SCENARIO, "x", Path())
    accesses = Accesses(scenario)
    contents = contents_of(scenario, accesses)
    assert len(contents.counts) == 3, "the same content, once"
    assert len(contents.samples) == 1 + 64 + 64
    memory = Memory(np.zeros(70, np.bool_))
    versions = memory.versions = np.arange(70) % 5 - 1
    expected = []
    for i, workload in enumerate(scenario.workloads):
        samples = workload.content.resolve(3, Path())
        pages = range(int(accesses.first[i]), int(accesses.first[i + 1]))
        touched = [page for page in pages if versions[page] >= 0]
        sums = [slow_checksum(page, samples.bytes_of(page, int(versions[page]))) for page in touched]
        expected.append(sum(sums) % 2**64)
    assert checksums(contents, accesses.first, memory) == expected


def test_a_checksum_is_of_the_versions() -> None:
    scenario = parse_scenario(SCENARIO, "x", Path())
    accesses = Accesses(scenario)
    contents = contents_of(scenario, accesses)
    memory = Memory(np.zeros(70, np.bool_))
    memory.versions[:] = 0
    before = checksums(contents, accesses.first, memory)
    memory.versions[35] = 1
    after = checksums(contents, accesses.first, memory)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


UNMAP, DISCARD, EXIT, FORK, SHARE, REMOVE, *_ = EventKind
# Processes have pages 0 to 3 and 4 to 7, shared memory 8 to 11.
Row = tuple[int, ...]
RANGE = st.sampled_from([(first, pages) for first in range(4) for pages in range(1, 5 - first)])
TOUCH = st.tuples(st.integers(0, 7), st.integers(0, 1))


def op(kind: int, base: st.SearchStrategy[int], other: st.SearchStrategy[int]) -> st.SearchStrategy[Row]:
    return st.builds(
        lambda at, base, other: (kind, base + at[0], at[1], other + at[0] if other else 0), RANGE, base, other
    )


PROCESS, NOTHING, OBJECT = st.sampled_from([0, 4]), st.just(0), st.just(8)
ROW = st.one_of(
    TOUCH,
    TOUCH,
    op(UNMAP, PROCESS, NOTHING),
    op(DISCARD, PROCESS, NOTHING),
    op(SHARE, PROCESS, OBJECT),
    op(REMOVE, OBJECT, NOTHING),
    st.just((EXIT, 0, 4, 0)),
    st.builds(lambda at: (FORK, 4 + at[0], at[1], at[0]), RANGE),
)


def held(rows: list[Row]) -> dict[int, tuple[int, int]]:
    """Source and version of what each page holds, one row after the other."""
    holds: dict[int, tuple[int, int]] = {}
    mapped: dict[int, int] = {}
    for row in rows:
        if len(row) == 2:
            page = mapped.get(row[0], row[0])
            source, version = holds.get(page, (page, 0))
            holds[page] = (page, version + 1) if row[1] else (source, version)
            continue
        kind, first, pages, other = row
        for page, counterpart in zip(range(first, first + pages), range(other, other + pages), strict=True):
            if kind != DISCARD or page not in mapped:
                holds.pop(page, None)
            if kind not in (DISCARD, REMOVE):
                mapped.pop(page, None)
            if kind == SHARE or (kind == FORK and counterpart in mapped):
                mapped[page] = mapped.get(counterpart, counterpart)
            elif kind == FORK and counterpart in holds:
                holds[page] = holds[counterpart]
    return holds


@settings(max_examples=200)
@given(st.lists(ROW, max_size=30), st.integers(0, 30))
def test_memory_follows_operations(rows: list[Row], cut: int) -> None:
    memory = Memory(np.zeros(12, np.bool_))
    for part in (rows[:cut], rows[cut:]):
        touched = [row for row in part if len(row) == 2]
        ops = [(sum(len(each) == 2 for each in part[:at]), *row) for at, row in enumerate(part) if len(row) == 4]
        accesses = np.array([page << 1 | write for page, write in touched], np.uint32)
        memory.follow(Chunk(accesses, np.array(ops, OPS)))
    found = zip(memory.sources.tolist(), memory.versions.tolist(), strict=True)
    assert {page: each for page, each in enumerate(found) if each[1] >= 0} == held(rows)
