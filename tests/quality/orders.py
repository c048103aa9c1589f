"""Run every execution of random programs again, in another order of what has nothing in common: it comes to the same.

    python -m tests.quality.orders --programs 30 --first 0

The explorer does so with a sample, and without data races. A difference means that operations which it takes to be
independent are not. The exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.explore.enumerator.generate import THEMES, random_program
from tests.explore.enumerator.language import line
from tests.explore.enumerator.translate import translate

from swaplab.explore import ProgramError, explore
from swaplab.explore.runtime import Explorer

EXECUTIONS_MAX = 100


@contextmanager
def every_execution_again() -> Iterator[None]:
    """Hold each execution inside the block to another order, data races included."""
    repeat, outcome = Explorer.repeat_sample, Explorer.outcome

    def repeat_each(explorer: Explorer) -> None:
        explorer.outside.is_sample = True
        repeat(explorer)

    def outcome_with_races(explorer: Explorer) -> dict[str, object]:
        return outcome(explorer) | {"found": sorted(f"{each.bug.title}: {each.bug}" for each in explorer.found)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Explorer, "repeat_sample", repeat_each)
        patch.setattr(Explorer, "outcome", outcome_with_races)
        yield


def difference(theme: str, seed: int) -> str | None:
    """Return what a program comes to in another order that should make no difference; nothing if it is the same."""
    program = random_program(theme, seed)
    with every_execution_again():
        try:
            explore(translate(program, tuple(range(len(program)))), every_trace=True, executions_max=EXECUTIONS_MAX)
        except ProgramError as error:
            if "no two tasks have touched the same" not in str(error):
                return f"{theme} {seed}: {error}\n  {line(program)}"
    return None


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--programs", type=int, default=30, help="of each theme")
    parser.add_argument("--first", type=int, default=0, help="seed")
    options = parser.parse_args()
    differing = 0
    for theme in THEMES:
        found = [difference(theme, seed) for seed in range(options.first, options.first + options.programs)]
        texts = [each for each in found if each]
        differing += len(texts)
        print(f"{theme:14} {len(found):8,} programs {len(texts):5,} differ", *texts, sep="\n  ", flush=True)  # noqa: T201
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
