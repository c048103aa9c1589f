"""Hold the explorer to second opinions on thousands of programs, and print what was compared.

    python -m tests.quality.explorer --programs 300 --first 0

Random programs are compared with the enumerator, each in every order of naming its tasks. One that they do not agree on
is printed, small, as a line; `tests.explore.enumerator.compare` says what differs. The programs of races/ are run with
few preemptions, which has to show what the search says. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.explore.enumerator.compare import compare, every_naming
from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.language import Program, line
from tests.explore.enumerator.orders import TooMany
from tests.explore.enumerator.shrink import shrink
from tests.explore.few import BOUND, PROGRAMS, disagreements

from swaplab.explore import explore

STATES_MAX = 2000
EXECUTIONS_MAX = 500


class Row(NamedTuple):
    """What was compared of one program; nothing if it is too large."""

    compared: int = 0
    states: int = 0
    traces: int = 0
    orders: int = 0
    executions: int = 0
    racy: int = 0
    violations: frozenset[str] = frozenset()
    differences: tuple[str, ...] = ()


def compare_one(theme: str, seed: int) -> Row:
    """Compare one program."""
    program = random_program(theme, seed)
    try:
        found = compare(program, every_naming(program), STATES_MAX)
    except TooMany:
        return Row()
    texts: tuple[str, ...] = ()
    if found.differences:
        small = shrink(program, differs)
        texts = (f"{theme} {seed}: {found.differences[0]}", f"  smaller: {line(small)}")
    orders = len(every_naming(program))
    racy = int(bool(found.races))
    violations = frozenset(found.violations)
    return Row(1, found.states, found.traces, orders, found.executions, racy, violations, texts)


def differs(program: Program) -> bool:
    """Tell whether explorer and enumerator differ on a program."""
    try:
        return bool(compare(program, every_naming(program), STATES_MAX).differences)
    except TooMany:
        return False


def rows(theme: str, seeds: range, pool: ProcessPoolExecutor) -> Iterator[Row]:
    """Compare the programs of a theme."""
    return pool.map(compare_one, [theme] * len(seeds), seeds, chunksize=4)


def report(theme: str, found: list[Row]) -> str:
    """One line on a theme."""
    kinds = Counter(kind for row in found for kind in row.violations)
    counts = [sum(row[at] for row in found) for at in range(6)]  # type: ignore[misc]
    texts = [f"{kind} {number}" for kind, number in sorted(kinds.items())]
    differing = sum(bool(row.differences) for row in found)
    columns = "".join(f"{number:>11,}" for number in (*counts, len(found) - counts[0], differing))
    return f"{theme:<12}{columns}  {', '.join(texts)}"


def compare_race(label: str) -> list[str]:
    """Compare one program of races/."""
    return disagreements(PROGRAMS[label], explore(PROGRAMS[label]), EXECUTIONS_MAX)


def compare_races(pool: ProcessPoolExecutor) -> int:
    """Compare the programs of races/; return how many differ."""
    found = list(pool.map(compare_race, PROGRAMS))
    sys.stdout.write("".join(f"{text}\n" for texts in found for text in texts))
    differing = sum(map(bool, found))
    sys.stdout.write(f"races/: {len(found)} programs with {BOUND} preemptions, {EXECUTIONS_MAX:,} executions at most; ")
    sys.stdout.write(f"{differing} differ\n")
    return differing


def main() -> int:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=300, help="of each theme")
    parser.add_argument("--first", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--theme", choices=THEMES, action="append", help="only this, without races/")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.programs)
    names = ("programs", "states", "traces", "orders", "executions", "racy", "too large", "differ")
    sys.stdout.write(f"random programs, seeds {seeds.start} to {seeds.stop - 1}\n")
    sys.stdout.write(f"{'theme':<12}{''.join(f'{name:>11}' for name in names)}  programs that violate, by kind\n")
    everything: list[Row] = []
    differing = 0
    with ProcessPoolExecutor(options.workers) as pool:
        for theme in options.theme or THEMES:
            found = list(rows(theme, seeds, pool))
            everything += found
            sys.stdout.write(
                "".join(f"{text}\n" for row in found for text in row.differences) + report(theme, found) + "\n"
            )
            sys.stdout.flush()
        sys.stdout.write(report("all themes", everything) + "\n")
        if not options.theme:
            differing = compare_races(pool)
    return int(bool(differing) or any(row.differences for row in everything))


if __name__ == "__main__":
    sys.exit(main())
