"""How good the search of `swaplab tune` is: beside a Halton sequence and Optuna, with as many replays, and the optimum.

    python benchmarks/search.py [--seeds 20] [--processes 2]

All points of its space are replayed for each of the shipped recordings: every kind of compressed swap with the limits
at each 32nd. On that table each search is run again and again, and what it has found after so many replays is how much
more memory its best point takes than the best one there is, of those that keep the constraint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from statistics import median

import optuna
from rich.console import Console
from rich.progress import track
from rich.table import Table

from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.load import load_scenario
from swaplab.study.plan import Variant
from swaplab.study.run import Map, Summarise, processes
from swaplab.study.table import Outcome
from swaplab.study.tune import STEPS, Constraint, Kind, kinds, limited, parse_constraint, tune

ROOT = Path(__file__).parents[1] / "scenarios"
SCENARIOS = ("demo.toml", "recordings/database/scenario.toml", "recordings/index/scenario.toml")
CONSTRAINTS = ("slowdown<=20%", "slowdown<=60%")
Point = tuple[Kind, int]
Search = Callable[[dict[Point, Outcome], Constraint, int, int], Iterator[Point]]
"""Yields the points that it replays, given the table, the constraint, how many and a seed."""


def table_of(path: Path, mapped: Map) -> dict[Point, Outcome]:
    """Replay all points of a scenario."""
    scenario = load_scenario(path)
    points = [(kind, share) for kind in kinds() for share in range(1, STEPS + 1)]
    variants = [Variant({}, kind.applied(limited(scenario, share))) for kind, share in points]
    summaries = track(mapped(Summarise(DEFAULT_COST), variants), path.parent.name, len(variants))
    return {point: summary.outcome for point, summary in zip(points, summaries, strict=True)}


def shipped(path: Path) -> Search:
    """The search of `swaplab tune`."""

    def search(table: dict[Point, Outcome], constraint: Constraint, _budget: int, _seed: int) -> Iterator[Point]:
        scenario = load_scenario(path)
        known = {repr(kind.applied(limited(scenario, share))): (kind, share) for kind, share in table}
        tried: list[Point] = []

        def mapped(_task: object, variants: Sequence[Variant]) -> Iterator[object]:
            for variant in variants:
                point = known.get(repr(variant.scenario))
                tried.extend([point] if point else [])
                yield type("Found", (), {"outcome": table[point or (kinds()[0], STEPS)]})

        tune(scenario, "memory", [constraint], mapped, Summarise(DEFAULT_COST))  # type: ignore[arg-type]
        yield from dict.fromkeys(tried)

    return search


def halton(table: dict[Point, Outcome], _constraint: Constraint, budget: int, seed: int) -> Iterator[Point]:
    """A Halton sequence over kinds and limits, from another place for each seed."""
    points = list(dict.fromkeys(kind for kind, _ in table))
    seen: set[Point] = set()
    for index in range(1 + 1000 * seed, 1 << 30):
        point = (points[int(radical(index, 2) * len(points))], 1 + int(radical(index, 3) * STEPS))
        if point not in seen:
            seen.add(point)
            yield point
        if len(seen) >= budget:
            return


def radical(index: int, base: int) -> float:
    """Digits of a number behind the point, backwards: one coordinate of a Halton sequence."""
    found, share = 0.0, 1.0
    while index:
        share /= base
        index, digit = divmod(index, base)
        found += share * digit
    return found


def with_optuna(table: dict[Point, Outcome], constraint: Constraint, budget: int, seed: int) -> Iterator[Point]:
    """Optuna's TPE with its constraints; a point that it asks for again is not replayed again."""
    by_name = {kind.name: kind for kind, _ in table}
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    study = optuna.create_study(sampler=sampler)
    seen: set[Point] = set()
    for _ in range(10 * budget):
        trial = study.ask()
        point = (
            by_name[trial.suggest_categorical("kind", list(by_name))],
            trial.suggest_int("limits", 1, STEPS),
        )
        outcome = table[point]
        trial.set_constraint("broken", 0.0 if keeps(outcome, constraint) else 1.0)
        study.tell(trial, outcome.memory)
        if point not in seen:
            seen.add(point)
            yield point
        if len(seen) >= budget:
            return


def keeps(outcome: Outcome, constraint: Constraint) -> bool:
    """Whether a point may be recommended."""
    return not outcome.killed and constraint.is_kept(outcome)


def regret(table: dict[Point, Outcome], constraint: Constraint, tried: Sequence[Point]) -> float:
    """How much more memory the best of the points takes than the best there is, as a share."""
    best = min(outcome.memory for outcome in table.values() if keeps(outcome, constraint))
    found = [table[point].memory for point in tried if keeps(table[point], constraint)]
    return min(found) / best - 1 if found else float("inf")


def compared(
    path: Path, table: dict[Point, Outcome], constraint: Constraint, seeds: int
) -> Iterator[dict[str, object]]:
    """Each search with as many replays as the shipped one takes, and with half of them."""
    own = list(shipped(path)(table, constraint, 0, 0))
    searches: dict[str, tuple[Search, int]] = {
        "swaplab tune": (lambda *_: iter(own), 1),
        "Halton": (halton, seeds),
        "Optuna": (with_optuna, seeds),
    }
    for name, (search, times) in searches.items():
        runs = [list(search(table, constraint, len(own), seed)) for seed in range(times)]
        found = [regret(table, constraint, run) for run in runs]
        early = [regret(table, constraint, run[: len(own) // 2]) for run in runs]
        yield {
            "search": name,
            "replays": len(own),
            "median": median(found),
            "worst": max(found),
            "median of half": median(early),
            "worst of half": max(early),
        }


def cell(value: object) -> str:
    """A regret as a percentage, or nothing found; all else as it is."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2%}" if isfinite(value) else "nothing"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = []
    with processes(arguments.processes) as mapped:
        for name in SCENARIOS:
            table = table_of(ROOT / name, mapped)
            for text in CONSTRAINTS:
                constraint = parse_constraint(text)
                if any(keeps(outcome, constraint) for outcome in table.values()):
                    rows = compared(ROOT / name, table, constraint, arguments.seeds)
                    found += [{"scenario": name, "within": text, **row} for row in rows]
    if arguments.json:
        print(json.dumps(found))
        return
    columns = list(found[0])
    shown = Table(*columns, title="Memory above the least there is, by search")
    for row in found:
        shown.add_row(*map(cell, row.values()))
    Console().print(shown)


if __name__ == "__main__":
    main()
