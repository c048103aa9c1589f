"""A search for settings: the kinds of compressed swap, each with memory limits as low as the constraints allow.

Memory saved is what the limits take away, so for each kind the lowest limits that keep the constraints are found by
bisection, all kinds at once: a lower limit never makes a workload faster. Differs from a real optimum where that is
not so, by readahead or by luck; every point that is reported was replayed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from swaplab.errors import InputError
from swaplab.linux.crypto import Compressor
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.model import Baseline, Cgroup, Scenario, with_baseline
from swaplab.scenario.units import SIZE_UNITS, parse_duration, parse_size
from swaplab.study.plan import Variant, with_seed
from swaplab.study.run import Map, Task
from swaplab.study.table import Outcome, spreads

__all__ = [
    "OBJECTIVES",
    "Constraint",
    "Kind",
    "Point",
    "Tuning",
    "check_base",
    "front",
    "kinds",
    "limited",
    "parse_constraint",
    "tune",
    "value_of",
]

COMPRESSORS: Final[tuple[Compressor, ...]] = ("lz4", "zstd")
POOLS: Final = (20, 10, 40)
STEPS: Final = 32
"""Parts that the limits are divided into."""
OBJECTIVES: Final = {
    "memory": "what the workloads and the compressed pool hold, in the mean",
    "stall": "time that the workloads would not have spent with memory to spare",
    "refaults": "pages that come back, from compressed memory and from disk",
    "writes": "bytes written to the device",
}
CONSTRAINTS: Final = {
    **OBJECTIVES,
    "slowdown": "stall as a share of the processor time, of the cgroup that it is most of",
}
_PERCENT: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?%", re.ASCII)
_CONSTRAINT: Final = re.compile(r"\s*(?P<name>\w+)\s*<=\s*(?P<value>.+?)\s*")


class Constraint(NamedTuple):
    """At most so much of one of `CONSTRAINTS`."""

    name: str
    most: float

    def is_kept(self, outcome: Outcome) -> bool:
        """Whether an outcome keeps it."""
        return value_of(outcome, self.name) <= self.most


def value_of(outcome: Outcome, name: str) -> float:
    """Return one of `CONSTRAINTS`: bytes, nanoseconds, a count or a share."""
    values = {
        "memory": outcome.memory,
        "stall": outcome.time_lost,
        "refaults": outcome.from_memory + outcome.from_disk,
        "writes": outcome.writes * PAGE_SIZE,
        "slowdown": outcome.slowdown or 0.0,
    }
    return values[name]


def parse_constraint(text: str) -> Constraint:
    """Read ``stall<=500ms``, ``writes<=100M``, ``memory<=1G``, ``refaults<=10000`` or ``slowdown<=2%``.

    Raises:
        InputError: something else.
    """
    found = _CONSTRAINT.fullmatch(text)
    if not found or found["name"] not in CONSTRAINTS:
        raise InputError("--within", f"NAME<=VALUE with a name of {', '.join(CONSTRAINTS)}", repr(text))
    name, value = found["name"], found["value"]
    if name == "slowdown":
        return Constraint(name, _share(value))
    if name == "stall":
        return Constraint(name, parse_duration(value, "--within stall"))
    if name == "refaults" and value[-1:].upper() in SIZE_UNITS:
        raise InputError("--within refaults", "a count of pages", repr(value))
    return Constraint(name, parse_size(value, f"--within {name}"))


def _share(text: str) -> float:
    found = _PERCENT.fullmatch(text)
    if not found:
        raise InputError("--within slowdown", "a percentage such as 2%", repr(text))
    return float(found[1]) / 100


def check_base(scenario: Scenario, constraints: Sequence[Constraint]) -> None:
    """Refuse a limit on slowdown where nobody knows what the workloads take without it.

    Raises:
        InputError: that is so; or a trace is broken.
    """
    if any(each.name == "slowdown" for each in constraints) and "" not in Accesses(scenario).own_times():
        expected = (
            "the processor time of every workload with all its memory (`time` of a trace, `think` of a pattern), or "
            "else limits on stall, refaults or writes"
        )
        raise InputError(f"{scenario.source}: --within slowdown", expected, "a workload that does not say it")


class Kind(NamedTuple):
    """One kind of compressed swap.

    Attributes:
        name: for people.
        baseline: as of `with_baseline`.
        compressor: None without compression.
        pool: zswap's max_pool_percent.
    """

    name: str
    baseline: Baseline
    compressor: Compressor | None = None
    pool: int | None = None

    def applied(self, scenario: Scenario) -> Scenario:
        """Return the same workloads and limits under this kind."""
        changed = with_baseline(scenario, self.baseline)
        zswap = msgspec.structs.replace(
            changed.zswap,
            compressor=self.compressor or changed.zswap.compressor,
            max_pool_percent=changed.zswap.max_pool_percent if self.pool is None else self.pool,
        )
        return msgspec.structs.replace(changed, zswap=zswap)


def kinds() -> list[Kind]:
    """Return all that are tried."""
    found = [Kind("no compression", "off")]
    for name in COMPRESSORS:
        for pool in POOLS:
            found.append(Kind(f"zswap, {name}, pool {pool}%", "memcg", name, pool))
            found.append(Kind(f"zswap, {name}, pool {pool}%, shrinker", "shrinker", name, pool))
        found.append(Kind(f"zswap, {name}, no writeback", "no-writeback", name, max(POOLS)))
        found.append(Kind(f"zram, {name}", "zram", name))
    return found


AS_IT_IS: Final = Kind("as it is", "off")


class Point(NamedTuple):
    """A kind with its limits at a share of the scenario's.

    Attributes:
        share: of every memory.max and memory.high, in `STEPS`.
        scenario: what was replayed, with the first seed.
        outcome: the median over all seeds; and of each number `least` and `most`.
    """

    kind: Kind
    share: int
    scenario: Scenario
    outcome: Outcome
    least: Outcome
    most: Outcome

    def is_like(self, other: Point, objective: str) -> bool:
        """Whether the seeds do not tell the two apart."""
        return value_of(self.least, objective) <= value_of(other.most, objective) and value_of(
            other.least, objective
        ) <= value_of(self.most, objective)


class Tuning(NamedTuple):
    """The result of a search.

    Attributes:
        present: the scenario as it is.
        best: of each kind that keeps the constraints, the best point, best first.
        points: all that were replayed.
        costs: for each constraint, the best point of the best kind without it.
    """

    present: Point
    best: list[Point]
    points: list[Point]
    costs: list[tuple[Constraint, Point]]


Runner = Callable[[Sequence[tuple[Kind, int]]], list[Point]]


def limited(scenario: Scenario, share: int, parts: int = STEPS) -> Scenario:
    """Return a scenario with its memory limits at ``share / parts``, in whole pages."""

    def limit(size: int | None) -> int | None:
        return None if size is None else max(size * share // parts // PAGE_SIZE, 1) * PAGE_SIZE

    def lowered(cgroup: Cgroup) -> Cgroup:
        changed = {"memory_max": limit(cgroup.memory_max), "memory_high": limit(cgroup.memory_high)}
        return msgspec.structs.replace(cgroup, **changed)

    return msgspec.structs.replace(scenario, cgroups={path: lowered(each) for path, each in scenario.cgroups.items()})


def tune(
    scenario: Scenario, objective: str, constraints: Sequence[Constraint], mapped: Map, task: Task, seeds: int = 1
) -> Tuning:
    """Find what to set.

    Args:
        objective: one of `OBJECTIVES`. For ``memory``, limits are lowered; for others they stay.
        constraints: what the worst seed has to keep.
        mapped: runs variants.
        task: what it does with each.
        seeds: how often each point is replayed.

    Raises:
        InputError: no cgroup has a limit that could be lowered, or slowdown has no base.
    """
    if objective == "memory" and not any(each.memory_max or each.memory_high for each in scenario.cgroups.values()):
        raise InputError(f"{scenario.source}: cgroup", "one with memory.max or memory.high, to be lowered", "none")
    check_base(scenario, constraints)
    points: list[Point] = []

    def run(wanted: Sequence[tuple[Kind, int]]) -> list[Point]:
        changed = [kind.applied(limited(scenario, share)) for kind, share in wanted]
        found = [
            Point(kind, share, each, *outcomes)
            for (kind, share), each, outcomes in zip(
                wanted, changed, _spreads(changed, mapped, task, seeds), strict=True
            )
        ]
        points.extend(found)
        return found

    (own,) = _spreads([scenario], mapped, task, seeds)
    present = Point(AS_IT_IS, STEPS, scenario, *own)
    best = _best(kinds(), objective, constraints, run)
    costs = []
    for each in constraints if best else ():
        others = [other for other in constraints if other != each]
        costs += [(each, point) for point in _best([best[0].kind], objective, others, run)]
    return Tuning(present, best, points, costs)


def _spreads(
    scenarios: Sequence[Scenario], mapped: Map, task: Task, seeds: int
) -> list[tuple[Outcome, Outcome, Outcome]]:
    """Run each scenario with all seeds; return median, least and most of each."""
    variants = [
        Variant({"number": str(number)}, with_seed(scenario, seed), seed)
        for number, scenario in enumerate(scenarios)
        for seed in range(seeds)
    ]
    outcomes = [summary.outcome for summary in mapped(task, variants)]
    return [(each.median, each.least, each.most) for each in spreads(variants, outcomes).rows]


def _best(tried: Sequence[Kind], objective: str, constraints: Sequence[Constraint], run: Runner) -> list[Point]:
    """Return the best point of each kind that has one, best first."""
    found = {point.kind: point for point in run([(kind, STEPS) for kind in tried])}
    kept = {kind: point for kind, point in found.items() if _is_kept(point, constraints)}
    if objective == "memory":
        kept = _lowered(kept, constraints, run)
    return sorted(kept.values(), key=lambda point: value_of(point.outcome, objective))


def _lowered(kept: dict[Kind, Point], constraints: Sequence[Constraint], run: Runner) -> dict[Kind, Point]:
    """Lower the limits of each kind by bisection: those of `kept` keep the constraints."""
    low = dict.fromkeys(kept, 0)
    while wanted := [
        (kind, (low[kind] + point.share) // 2) for kind, point in kept.items() if point.share > low[kind] + 1
    ]:
        for point in run(wanted):
            if _is_kept(point, constraints):
                kept[point.kind] = point
            else:
                low[point.kind] = point.share
    return kept


def _is_kept(point: Point, constraints: Sequence[Constraint]) -> bool:
    return not point.most.killed and all(each.is_kept(point.most) for each in constraints)


def front(points: Sequence[Point]) -> Iterator[Point]:
    """Yield the points than which none is better in memory, stall and writes at once."""
    costs = [tuple(value_of(point.outcome, name) for name in ("memory", "stall", "writes")) for point in points]
    for point, own in zip(points, costs, strict=True):
        if point.most.killed:
            continue
        better = (
            other
            for rival, other in zip(points, costs, strict=True)
            if not rival.most.killed and other != own and all(a <= b for a, b in zip(other, own, strict=True))
        )
        if next(better, None) is None:
            yield point
