"""Hold the search of observations to the enumerator and to the search of traces, and print what was compared.

    python -m tests.quality.observations --programs 100 --first 0

Random programs: the outcomes of every order, and what breaks in any trace, data races included. Then all programs of
the museum and of the matrix that have no more than so many traces. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.orders import TooMany
from tests.explore.observations import Compared, against_every_order, against_every_trace

from swaplab.explore import Program
from swaplab.races.museum import exhibits
from swaplab.races.offline import matrix

STATES_MAX = 1000
CHUNK = 4


def races() -> list[Program[object]]:
    """Return all programs that come with swaplab."""
    forms = [[*exhibit.broken.values(), *exhibit.fixed.values()] for exhibit in exhibits()]
    return [*(cell.program for cell in matrix()), *(program for each in forms for program in each)]


def compare_random(theme: str, seed: int) -> Compared | None:
    """Compare a random program; None if it is too large."""
    try:
        return against_every_order(random_program(theme, seed), STATES_MAX)
    except TooMany:
        return None


def compare_race(number: int, executions_max: int) -> Compared | None:
    """Compare a program of ours; None if it has too many traces."""
    return against_every_trace(races()[number], executions_max)


def report(name: str, found: list[Compared | None]) -> str:
    """One line on some programs."""
    rows = [row for row in found if row]
    counts = (
        len(rows),
        sum(row.outcomes for row in rows),
        sum(row.traces for row in rows),
        sum(row.executions for row in rows),
        sum(bool(row.reason) for row in rows),
        len(found) - len(rows),
        sum(bool(row.differences) for row in rows),
    )
    return f"{name:<12}" + "".join(f"{number:>13,}" for number in counts)


class Group(NamedTuple):
    """Programs to compare: a function of two arguments, and these for each."""

    name: str
    compare: Callable[[Any, int], Compared | None]
    arguments: list[tuple[Any, int]]


def groups(options: argparse.Namespace) -> list[Group]:
    """Return what to compare."""
    seeds = range(options.first, options.first + options.programs)
    themes = options.theme or [*THEMES]
    found = [Group(theme, compare_random, [(theme, seed) for seed in seeds]) for theme in themes]
    if not options.theme:
        found.append(Group("races/", compare_race, [(number, options.executions) for number in range(len(races()))]))
    return found


def main() -> int:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100, help="of each theme")
    parser.add_argument("--first", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--executions", type=int, default=2000, help="of a program of ours, at most")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--theme", choices=THEMES, action="append", help="only these")
    options = parser.parse_args()
    names = ("programs", "outcomes", "traces", "executions", "every trace", "too large", "differ")
    sys.stdout.write(f"{'':<12}{''.join(f'{name:>13}' for name in names)}\n")
    everything: list[Compared | None] = []
    with ProcessPoolExecutor(options.workers) as pool:
        for group in groups(options):
            found = [*pool.map(group.compare, *zip(*group.arguments, strict=True), chunksize=CHUNK)]
            everything += found
            texts = [text for row in found if row for text in row.differences]
            sys.stdout.write("\n".join([*texts, report(group.name, found)]) + "\n")
            sys.stdout.flush()
    sys.stdout.write(report("all", everything) + "\n")
    return int(any(row.differences for row in everything if row))


if __name__ == "__main__":
    sys.exit(main())
