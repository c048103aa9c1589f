"""Small scenarios in which everything happens: made from any source of choices, Hypothesis' or a seed's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np

from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import MODELLED
from swaplab.scenario.content import Content, Mix, Part, Random, Ratio, SameFilled, Zero
from swaplab.scenario.device import DEVICES
from swaplab.scenario.model import BASELINES, Cgroup, Event, Machine, Scenario, Swap, Workload, Zswap, with_baseline
from swaplab.scenario.patterns import HotCold, Pattern, Scan, Uniform, Zipf

__all__ = ["Below", "seeded_scenario", "small_scenario"]

Below = Callable[[int], int]
"""Gives a number from 0 up to, and without, its argument."""

T = TypeVar("T")

SLOW = msgspec.structs.replace(DEVICES["nvme"], write_bandwidth=1 << 22)
TREES: tuple[tuple[str, ...], ...] = ((), ("a",), ("a", "b"), ("a", "a/x", "a/y"), ("a", "a/x", "a/x/z", "b"))
MIXED = Mix(
    mix=(
        Part(weight=0.2, content=Zero()),
        Part(weight=0.2, content=Random()),
        Part(weight=0.3, content=Ratio(ratio={"zstd": 3.0})),
        Part(weight=0.3, content=SameFilled(same_filled=0x42)),
    )
)
CONTENTS: tuple[Content, ...] = (MIXED, Zero(), Random(), Ratio(ratio={"zstd": 2.0}), SameFilled(same_filled=1))
PATTERNS: tuple[Pattern, ...] = (Scan(), Uniform(), Zipf(), HotCold())


def pick(below: Below, options: tuple[T, ...]) -> T:
    return options[below(len(options))]


def limit(below: Below, most: int) -> int | None:
    """No limit two times out of three, else some pages."""
    return None if below(3) else (1 + below(most)) * PAGE_SIZE


def small_scenario(below: Below) -> Scenario:
    """A scenario of at most 200 pages and a few hundred accesses."""
    paths = pick(below, TREES)
    cgroups = {path: small_cgroup(below) for path in paths}
    workloads = tuple(small_workload(below, paths) for _ in range(1 + below(3)))
    total = sum(each.accesses or 0 for each in workloads)
    scenario = Scenario(
        machine=Machine(
            memory=(64 + below(160)) * PAGE_SIZE,
            page_cluster=pick(below, (0, 3, 5)),
            seed=below(1000),
            swappiness=pick(below, (60, 0, 1, 100, 200)),
        ),
        zswap=Zswap(
            enabled=True,
            compressor="zstd",  # a C library, so that interpreting the replay interprets no compressor
            max_pool_percent=1 + below(30),
            accept_threshold_percent=50 + below(51),
        ),
        swap=Swap(
            size=pick(below, (0, 9, 60, 300, 300, 300)) * PAGE_SIZE,
            device=pick(below, (DEVICES["nvme"], DEVICES["hdd"], SLOW)),
        ),
        cgroups=cgroups,
        workloads=workloads,
        events=small_events(below, paths, total),
        interleave=1 + below(20),
        samples=3,
    )
    scenario = with_baseline(scenario, pick(below, (*BASELINES, "memcg", "memcg", "shrinker", "shrinker")))
    lru: Any = pick(below, ("classic", "mglru"))
    machine = msgspec.structs.replace(scenario.machine, lru=lru, kernel=pick(below, MODELLED))
    return msgspec.structs.replace(scenario, machine=machine)


def small_cgroup(below: Below) -> Cgroup:
    return Cgroup(
        memory_max=None if below(3) == 0 else (10 + below(60)) * PAGE_SIZE,
        memory_high=limit(below, 40),
        memory_swap_max=limit(below, 100),
        memory_zswap_max=limit(below, 9),
        memory_zswap_writeback=below(4) > 0,
    )


def small_workload(below: Below, paths: tuple[str, ...]) -> Workload:
    return Workload(
        cgroup=pick(below, ("", *paths)),
        pages=20 + below(100),
        accesses=50 + below(350),
        pattern=pick(below, PATTERNS),
        write_fraction=below(11) / 10,
        content=pick(below, CONTENTS),
    )


def small_events(below: Below, paths: tuple[str, ...], total: int) -> tuple[Event, ...]:
    there = list(paths)
    events = []
    for at in sorted(below(total + 1) for _ in range(below(5) if paths else 0)):
        if not there:
            break
        cgroup = there[below(len(there))]
        action = small_action(below)
        if "remove" in action:
            if any(other.startswith(cgroup + "/") for other in there):
                continue
            there.remove(cgroup)
        events.append(Event(at=at, cgroup=cgroup, **action))
    return tuple(events)


def small_action(below: Below) -> dict[str, Any]:
    return pick(
        below,
        (
            {"set": {"memory_max": (1 + below(40)) * PAGE_SIZE}},
            {"set": {"memory_high": below(40) * PAGE_SIZE, "memory_zswap_writeback": bool(below(2))}},
            {"set": {"memory_swap_max": below(20) * PAGE_SIZE, "memory_zswap_max": below(4) * PAGE_SIZE}},
            {"reclaim": below(100) * PAGE_SIZE},
            {"exit": True},
            {"remove": True},
        ),
    )


def seeded_scenario(seed: int) -> Scenario:
    """The scenario that a seed makes, the same on every machine."""
    random = np.random.default_rng(seed)
    return small_scenario(lambda bound: int(random.integers(bound)))
