"""The replay's laws over many seeds, after every few accesses, and that it does the same interpreted.

Run it with ``make quality``; `tests.replay.test_laws` has a few of each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.replay.scenarios import seeded_scenario
from tests.replay.stepping import run_checked
from tests.replay.test_laws import SEEDS, operate, results_here, results_of_process


def broken_laws(seeds: range, step: int) -> Iterator[str]:
    """Run seeds, with and without memory that is freed, forked and shared at any time; yield what breaks a law."""
    for seed in seeds:
        try:
            run_checked(seeded_scenario(seed), step)
            operate(seed)
        except AssertionError as error:
            yield f"seed {seed}: {error}"
    print(f"{len(seeds)} scenarios, twice, checked every {step} accesses or fewer")  # noqa: T201


def differences() -> Iterator[str]:
    """Run seeds compiled and interpreted; yield which give other bytes."""
    with TemporaryDirectory() as directory:
        interpreted = results_of_process(Path(directory, "interpreted"), SEEDS, NUMBA_DISABLE_JIT="1")
        compiled = results_here(Path(directory), SEEDS)
    for seed, one, other in zip(SEEDS, interpreted, compiled, strict=True):
        if one != other:
            yield f"seed {seed} gives other bytes when it is interpreted"
    print(f"{len(SEEDS)} scenarios, compiled and interpreted")  # noqa: T201


def main() -> None:
    """Run all, and exit with status 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--step", type=int, default=5, help="accesses between two checks")
    options = parser.parse_args()
    found = [*broken_laws(range(options.first, options.first + options.seeds), options.step), *differences()]
    for line in found:
        print(line)  # noqa: T201
    print(f"the replay's laws: {len(found)} things are wrong")  # noqa: T201
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
