from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from swaplab.errors import InputError
from swaplab.report.tune import settings, verdict
from swaplab.scenario.model import Cgroup, Scenario, Workload
from swaplab.study.plan import Variant
from swaplab.study.table import Outcome, Summary
from swaplab.study.tune import STEPS, Constraint, Point, front, kinds, parse_constraint, tune

MIB = 1 << 20
SCENARIO = Scenario(cgroups={"app": Cgroup(memory_max=32 * MIB)}, workloads=(Workload(cgroup="app", pages=9000),))


@dataclass
class World:
    """Stands in for the replay: memory is the limit, time what is missing of a need, as a compressor has it."""

    need: float = 24 * MIB
    ran: list[Variant] = field(default_factory=list)

    def __call__(self, variant: Variant) -> Summary:
        self.ran.append(variant)
        limit = variant.scenario.cgroups["app"].memory_max or 0
        factor = {"off": 9.0, "lz4": 2.0, "zstd": 1.0}[
            variant.scenario.zswap.compressor
            if variant.scenario.zswap.enabled or variant.scenario.swap.device == "zram"
            else "off"
        ]
        stall = max(0.0, self.need - limit) * factor + variant.scenario.machine.seed
        return Summary(Outcome(float(limit), 0, 0, 0, stall, float(limit < 4 * MIB)), {})


def test_limits_are_lowered_as_far_as_the_constraints_allow() -> None:
    found = tune(SCENARIO, "memory", [Constraint("stall", 4 * MIB)], map, World())
    best = found.best[0]
    assert "zstd" in best.kind.name
    assert best.share == 20  # 20M: a need of 24M, less 4M of stall
    assert best.scenario.cgroups["app"].memory_max == 20 * MIB
    shares = {point.kind.name: point.share for point in found.best}
    assert shares["zswap, lz4, pool 20%"] == 22
    assert shares["no compression"] == 24


def test_nobody_is_killed_for_memory() -> None:
    found = tune(SCENARIO, "memory", [], map, World())
    assert {point.share for point in found.best} == {4}


def test_what_a_constraint_costs() -> None:
    found = tune(SCENARIO, "memory", [Constraint("stall", 4 * MIB)], map, World())
    ((constraint, without),) = found.costs
    assert (constraint.name, without.share) == ("stall", 4)
    assert "Without the limit on stall it would hold 16.0M less" in verdict(found, "memory")


def test_constraints_that_nothing_keeps() -> None:
    found = tune(SCENARIO, "memory", [Constraint("memory", MIB)], map, World())
    assert found.best == []
    assert verdict(found, "memory") == "Nothing that was tried keeps the constraints."


def test_other_objectives_leave_the_limits() -> None:
    found = tune(SCENARIO, "stall", [], map, World(need=64 * MIB))
    assert {point.share for point in found.best} == {STEPS}
    assert "zstd" in found.best[0].kind.name


def test_the_worst_seed_has_to_keep_the_constraints() -> None:
    world = World()
    limits = [Constraint("stall", 4 * MIB + seeds) for seeds in (0, 2)]
    shares = [tune(SCENARIO, "memory", [limit], map, world, seeds=3).best[0].share for limit in limits]
    assert shares == [21, 20]
    assert {variant.scenario.machine.seed for variant in world.ran} == {0, 1, 2}


def test_what_seeds_do_not_tell_apart_is_equal() -> None:
    found = tune(SCENARIO, "stall", [], map, World(need=64 * MIB), seeds=2)
    assert "cannot be told from zswap, zstd, pool 20%, shrinker" in verdict(found, "stall")
    assert "lz4" not in verdict(found, "stall")


def test_a_limit_is_needed() -> None:
    unlimited = Scenario(workloads=(Workload(pages=10),))
    with pytest.raises(InputError, match=r"one with memory\.max or memory\.high"):
        tune(unlimited, "memory", [], map, World())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stall<=500ms", Constraint("stall", 500_000_000)),
        (" writes <= 100M ", Constraint("writes", 100 << 20)),
        ("memory<=1G", Constraint("memory", 1 << 30)),
        ("refaults<=10000", Constraint("refaults", 10_000)),
    ],
)
def test_constraints(text: str, expected: Constraint) -> None:
    assert parse_constraint(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stall<5s", "NAME<=VALUE"),
        ("speed<=5", "memory, stall, refaults, writes"),
        ("slowdown<=2", "a percentage"),
        ("stall<=5", "a duration"),
        ("refaults<=5M", "a count"),
        ("writes<=much", "a size"),
    ],
)
def test_what_is_no_constraint(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_constraint(text)


def point(memory: float, stall: float, writes: float, killed: float = 0) -> Point:
    outcome = Outcome(memory, 0, 0, writes, stall, killed)
    return Point(kinds()[0], STEPS, SCENARIO, outcome, outcome, outcome)


def test_the_front_has_what_nothing_beats() -> None:
    points = [point(1, 5, 5), point(5, 1, 5), point(5, 5, 5), point(1, 5, 4), point(0, 0, 0, killed=1)]
    assert list(front(points)) == [points[1], points[3]]


def test_the_lines_that_set_it() -> None:
    by_name = {kind.name: kind.applied(SCENARIO) for kind in kinds()}
    outcome = Outcome(0, 0, 0, 0, 0, 0)
    lines = {
        name: list(settings(Point(kinds()[0], STEPS, scenario, outcome, outcome, outcome)))
        for name, scenario in by_name.items()
    }
    assert "  zswap.enabled=N" in lines["no compression"]
    assert "  echo zstd > /sys/module/zswap/parameters/compressor" in lines["zswap, zstd, pool 10%, shrinker"]
    assert "  MemoryMax=33554432" in lines["no compression"]
    assert "  MemoryZSwapWriteback=no" in lines["zswap, lz4, no writeback"]
    assert "  compression-algorithm = lz4" in lines["zram, lz4"]
