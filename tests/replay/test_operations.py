"""Scenarios and traces that say when memory goes, and whose it is, from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay, replay
from swaplab.scenario.content import SameFilled
from swaplab.scenario.model import Cgroup, Scenario, Swap, Workload, Zswap
from swaplab.scenario.patterns import Churn, Pattern, Phases
from swaplab.scenario.trace import EVENTS, EventKind, Stream, TraceWriter

PARENT, CHILD, OBJECT = 0, 1, 2
Row = tuple[int, EventKind, int, int, int, int, int, int]


def scenario(workload: Workload, base: Path = Path()) -> Scenario:
    """A workload in a cgroup that has 400 pages."""
    return Scenario(
        zswap=Zswap(enabled=True),
        swap=Swap(size=1000 * PAGE_SIZE),
        cgroups={"a": Cgroup(memory_max=400 * PAGE_SIZE)},
        workloads=(workload,),
        samples=1,
        base=base,
    )


@pytest.mark.parametrize("pattern", [Phases(length=500, free=True), Churn(block=20)])
def test_what_is_freed_is_not_swapped(pattern: Pattern) -> None:
    swapped = []
    for each in (pattern, Phases(length=500)):
        workload = Workload(cgroup="a", pages=500, accesses=4000, pattern=each, content=SameFilled(same_filled=1))
        swapped.append(replay(scenario(workload)).final("a")["zswpout"])
    assert swapped[0] < swapped[1] // 2


def write_trace(path: Path, pages: int, rows: list[Row], accesses: list[tuple[int, int, bool]]) -> None:
    events = np.array(rows, EVENTS)
    stream, page, write = (np.array(column) for column in zip(*accesses, strict=True))
    with TraceWriter(path, with_events=True) as writer:
        writer.append(stream.astype(np.uint16), page.astype(np.uint32), write.astype(bool), events=events)
        writer.finish(
            [Stream("parent", pages), Stream("child", pages, parent=PARENT), Stream("memory", pages, kind="shared")]
        )


def test_a_trace_is_replayed_with_what_its_processes_free_fork_and_share(tmp_path: Path) -> None:
    """Five pages of the parent, one of which the child copies; five of shared memory; then the child is gone."""
    pages = 20
    rows: list[Row] = [
        (0, EventKind.SHARE, PARENT, 10, 5, OBJECT, 0, 0),
        (10, EventKind.FORK, CHILD, 0, 10, PARENT, 0, 0),
        (10, EventKind.SHARE, CHILD, 10, 5, OBJECT, 0, 0),
        (13, EventKind.EXIT, CHILD, 0, 0, 0, 0, 0),
        (14, EventKind.UNMAP, PARENT, 0, 3, 0, 0, 0),
        (15, EventKind.REMOVE, OBJECT, 0, 2, 0, 0, 0),
    ]
    accesses = [(PARENT, page, True) for page in (*range(5), *range(10, 15))]
    accesses += [(CHILD, 0, True), (CHILD, 1, False), (CHILD, 10, True)]
    accesses += [(PARENT, 0, False), (PARENT, 4, False), (PARENT, 4, False)]
    write_trace(tmp_path / "t.parquet", pages, rows, accesses)
    run = Replay(scenario(Workload(cgroup="a", trace="t.parquet"), tmp_path))
    own, shared = [], []
    for chunk in run.accesses.chunks():
        rest = chunk
        while len(rest.accesses):
            piece, rest = rest.split(1)
            run.access(piece)
            own.append(int(run.machine.memcgs["anon"][1]))
            shared.append(int(run.machine.memcgs["shmem"][1]))
    assert own == [1, 2, 3, 4, *[5] * 6, *[6] * 3, 5, 2, 2]
    assert shared == [*[0] * 5, 1, 2, 3, 4, *[5] * 6, 3]
