"""What was proposed for Linux and is of no release: from whose pool memory.reclaim with source=zswap takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import replay
from swaplab.result import Result
from swaplab.scenario.content import SameFilled
from swaplab.scenario.load import load_scenario
from swaplab.scenario.model import Cgroup, Event, Machine, Proposed, Scenario, Swap, Workload, Zswap
from swaplab.scenario.patterns import Scan

EXPERIMENT = Path(__file__).parents[2] / "scenarios/proposed.toml"
CHILDREN = 10
PAGES = 400
CALLS = 12


def asked(proposed: Proposed) -> Result:
    """Ten cgroups, all in zswap, of whose parent 256 pages are asked for again and again: the experiment in small."""
    all_pages = CHILDREN * PAGES
    workloads = tuple(
        Workload(
            cgroup=f"all/{i}",
            pages=PAGES,
            accesses=PAGES,
            pattern=Scan(),
            content=SameFilled(same_filled=0x42),
        )
        for i in range(CHILDREN)
    )
    calls = [Event(at=all_pages, cgroup="all", reclaim=256 * PAGE_SIZE, source="zswap")] * CALLS
    return replay(
        Scenario(
            machine=Machine(memory=1 << 28),
            zswap=Zswap(enabled=True),
            swap=Swap(size=1 << 28),
            proposed=proposed,
            cgroups={"all": Cgroup(), **{f"all/{i}": Cgroup() for i in range(CHILDREN)}},
            workloads=workloads,
            events=(Event(at=all_pages, cgroup="all", reclaim=2 * all_pages * PAGE_SIZE), *calls),
            samples=1,
        )
    )


def written_back(result: Result) -> list[int]:
    return [result.final(f"all/{i}")["zswpwb"] for i in range(CHILDREN)]


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], [6368] * 8 + [0, 0]),
        (["proposed.cursor=true"], [5120] * 10),
        (["proposed.shrink_batch=128"], [25472] * 2 + [0] * 8),
    ],
)
def test_the_published_experiment_comes_out_to_the_page(sets: list[str], expected: list[int]) -> None:
    assert written_back(replay(load_scenario(EXPERIMENT, sets))) == expected


def test_what_was_written_is_dropped_at_once() -> None:
    kept, dropped = asked(Proposed(shrink_batch=32)), asked(Proposed(shrink_batch=32, drop_written=True))
    assert written_back(kept) == written_back(dropped)
    assert kept.final("all")["swapcached"] > dropped.final("all")["swapcached"]
    assert kept.final("all")["memory.current"] > dropped.final("all")["memory.current"]
