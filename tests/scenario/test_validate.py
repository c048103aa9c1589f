"""What no single key says: which parts of a scenario fit each other, and how large it may be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from swaplab.errors import InputError
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Cgroup, Event, Machine, Scenario, Swap, Workload, Zswap
from swaplab.scenario.patterns import Churn, Phases
from swaplab.scenario.timeline import timeline
from swaplab.scenario.validate import CGROUPS_MAX, PAGES_MAX, WORKLOADS_MAX, some, validate

ONE = (Workload(pages=1),)
TREE = {"a": Cgroup(), "a/b": Cgroup(), "c": Cgroup()}


def of_trace(**keys: Any) -> Workload:
    return Workload(trace="t.parquet", **keys)


def of_file(**keys: Any) -> Workload:
    return Workload(pages=9, kind="file", **keys)


def events(*happen: Event) -> Scenario:
    return Scenario(workloads=ONE, cgroups=TREE, events=happen, source="s.toml")


RIGHT = [
    Scenario(workloads=ONE),
    Scenario(workloads=ONE, machine=Machine(memory=1 << 20), swap=Swap(size=0)),
    Scenario(workloads=ONE, swap=Swap(device="zram")),
    Scenario(workloads=ONE, cgroups={"a": Cgroup(memory_max=4096, memory_high=1 << 60, memory_swap_max=0)}),
    Scenario(workloads=(Workload(pages=PAGES_MAX),)),
    Scenario(workloads=ONE * WORKLOADS_MAX),
    Scenario(workloads=(of_trace(streams=("x",)), of_trace(streams=("y",))), interleave="trace"),
    Scenario(workloads=(of_trace(accesses=3), *ONE)),
    Scenario(workloads=(of_file(), of_file(advice="random", pattern=Phases()), *ONE)),
    # A workload of a removed cgroup goes on in the parent.
    Scenario(
        workloads=(Workload(pages=1, cgroup="a/b"),), cgroups=TREE, events=(Event(at=1, cgroup="a/b", remove=True),)
    ),
    events(Event(at=2, cgroup="a", remove=True), Event(at=1, cgroup="a/b", remove=True)),
    events(Event(at=1, cgroup="a/b", remove=True), Event(at=1, cgroup="a", remove=True)),
    events(Event(at=1, cgroup="a", set={"memory_max": None}), Event(at=1, cgroup="a", reclaim=0)),
]


@pytest.mark.parametrize("scenario", RIGHT)
def test_what_fits_is_taken(scenario: Scenario) -> None:
    validate(scenario)


WRONG = [
    (Scenario(workloads=()), "workload: expected at least one [[workload]], found none"),
    (Scenario(workloads=ONE, machine=Machine(memory=4096)), "machine.memory: expected at least 1M, found 4096"),
    (Scenario(workloads=ONE, swap=Swap(size=1 << 41)), f"swap.size: expected at most 1T, found {1 << 41}"),
    (
        Scenario(workloads=ONE, swap=Swap(device="zram"), zswap=Zswap(enabled=True)),
        'zswap.enabled: expected false with swap.device = "zram", found True',
    ),
    (
        Scenario(workloads=(Workload(pages=10**9),)),
        f"workload: expected at most {PAGES_MAX} pages in all, found 1000000000",
    ),
    (Scenario(workloads=(Workload(pages=PAGES_MAX), *ONE)), f"workload: expected at most {PAGES_MAX} pages"),
    (Scenario(workloads=ONE * 10**6), "workload: expected at most 1000 workloads, found 1000000"),
    (
        Scenario(workloads=ONE, cgroups={str(i): Cgroup() for i in range(CGROUPS_MAX + 1)}),
        "cgroup: expected at most 10000 cgroups, found 10001",
    ),
    (
        Scenario(workloads=ONE, cgroups={str(i): Cgroup() for i in range(99)}, samples=10_001),
        "samples: expected at most 10000 with 99 cgroups, found 10001",
    ),
    (Scenario(workloads=ONE, cgroups={"a/b": Cgroup()}), 'cgroup."a/b": expected its parent [cgroup."a"] as well'),
    (
        Scenario(workloads=ONE, cgroups={"a": Cgroup(memory_max=4095)}),
        'cgroup."a".memory.max: expected at least one page, 4096 bytes, found 4095',
    ),
    (
        Scenario(workloads=(Workload(pages=1, cgroup="b"),), cgroups=TREE),
        "workload[0].cgroup: expected a cgroup of this scenario (a, a/b, c), found b",
    ),
    (Scenario(workloads=(Workload(pages=1, cgroup="b"),)), "expected a cgroup of this scenario (none), found b"),
    (Scenario(workloads=(Workload(),)), "workload[0]: expected either pages and a pattern, or a trace, found neither"),
    (
        Scenario(workloads=(of_trace(pages=1),)),
        "workload[0]: expected either pages and a pattern, or a trace, found both",
    ),
    (
        Scenario(workloads=(*ONE, Workload(pages=1, streams=("x",)))),
        "workload[1].streams: expected a trace that has them, found none",
    ),
    (
        Scenario(workloads=(*ONE, of_trace(kind="file"))),
        'workload[1].kind: expected "anonymous" with a trace, found file',
    ),
    (Scenario(workloads=(of_file(write_fraction=0.5),)), "workload[0].write_fraction: expected 0 for a file"),
    (Scenario(workloads=(of_file(pattern=Churn()),)), "workload[0].pattern: expected one that frees nothing"),
    (Scenario(workloads=(of_file(pattern=Phases(free=True)),)), "workload[0].pattern: expected one that frees nothing"),
    (
        Scenario(workloads=(Workload(pages=1, advice="random"),)),
        'workload[0].advice: expected none without kind = "file", found random',
    ),
    (Scenario(workloads=(of_file(),), swap=Swap(device="zram")), "swap.device: expected a device, which files are on"),
    (
        Scenario(workloads=ONE, interleave="trace"),
        'interleave: expected one trace that all workloads share for "trace", found a workload without',
    ),
    (
        Scenario(workloads=(of_trace(), Workload(trace="u.parquet")), interleave="trace"),
        "found t.parquet, u.parquet",
    ),
    (Scenario(workloads=(of_trace(), *ONE), interleave="trace"), "found a workload without, t.parquet"),
    (
        Scenario(workloads=(of_trace(accesses=3),), interleave="trace"),
        'workload[0].accesses: expected all that the trace has with interleave = "trace", found 3',
    ),
    (
        events(Event(at=1, cgroup="b", exit=True)),
        "event[0].cgroup: expected a cgroup that is there at that time (a, a/b, c)",
    ),
    (events(Event(at=1, cgroup="", remove=True)), "found ''"),
    (events(Event(at=1, cgroup="a")), "event[0]: expected a limit, memory.reclaim, exit or remove, found none"),
    (
        events(Event(at=1, cgroup="a", set={"memory_max": 4095})),
        "event[0].memory.max: expected at least one page, 4096 bytes, found 4095",
    ),
    (events(Event(at=1, cgroup="a", remove=True)), "event[0].remove: expected a cgroup without children, found a/b"),
    (
        events(Event(at=1, cgroup="c", remove=True), Event(at=1, cgroup="c", remove=True)),
        "event[1].cgroup: expected a cgroup that is there at that time (a, a/b), found 'c'",
    ),
    (
        events(Event(at=9, cgroup="c", exit=True), Event(at=8, cgroup="c", remove=True)),
        "event[0].cgroup: expected a cgroup that is there at that time (a, a/b), found 'c'",
    ),
]


@pytest.mark.parametrize(("scenario", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_what_does_not_fit_is_named(scenario: Scenario, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(scenario)
    assert str(caught.value).startswith(f"{scenario.source}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("path", ["/", "..", ".", "/a", "a/", "a//b", "a/../a", "a\nb", "a\tb"])
def test_paths_of_cgroups_stay_inside(path: str) -> None:
    with pytest.raises(InputError, match="expected a path such as a/b, relative to the root"):
        validate(Scenario(workloads=ONE, cgroups={"a": Cgroup(), path: Cgroup()}))


def test_the_name_of_a_leaf_is_taken() -> None:
    with pytest.raises(InputError, match=r"expected no cgroup named \.swaplab"):
        validate(Scenario(workloads=ONE, cgroups={"a": Cgroup(), "a/.swaplab": Cgroup()}))


def test_the_largest_file_is_judged_before_it_takes_memory() -> None:
    many = "workload = [" + "{pages=1}," * 100_000 + "]"
    with pytest.raises(InputError, match="at most 1000 workloads, found 100000"):
        parse_scenario(many, "s.toml", Path())


def test_messages_name_only_some() -> None:
    assert some([]) == "none"
    assert some(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert some(map(str, range(11))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."


def test_the_root_has_writeback_and_no_limits() -> None:
    root = '[[workload]]\npages = 8\n[cgroup.""]\nmemory.zswap.writeback = false\n'
    assert not parse_scenario(root, "a.toml", Path()).cgroups[""].memory_zswap_writeback
    with pytest.raises(InputError, match=r'cgroup\."": expected memory\.zswap\.writeback only'):
        parse_scenario(root + 'memory.max = "1M"\n', "a.toml", Path())


def instructions(work: Callable[[], object]) -> int:
    """How many instructions of Python's some work takes: the same every time."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def removed_one_by_one(cgroups: int) -> Scenario:
    return Scenario(
        workloads=ONE,
        cgroups={f"c{i}": Cgroup() for i in range(cgroups)},
        events=tuple(Event(at=i, cgroup=f"c{i}", remove=True) for i in range(cgroups)),
    )


@pytest.mark.parametrize("work", [validate, lambda scenario: list(timeline(scenario, 0))], ids=["check", "timeline"])
def test_twice_the_events_take_twice_the_work(work: Callable[[Scenario], object]) -> None:
    few, more, most = (instructions(lambda n=n: work(removed_one_by_one(n))) for n in (50, 100, 200))  # type: ignore[misc]
    assert most - more == pytest.approx(2 * (more - few), rel=0.02)
