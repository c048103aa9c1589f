"""Both implementations of Linux 7.2, `kernel/` and `replay/`, step by step over long runs of seeded actions.

Run it with ``make quality``. Cgroups are not removed: of a page that comes back from a slot of a removed cgroup the two
do not say the same of who is charged.
"""

from __future__ import annotations

import argparse
import sys
from random import Random

from tests.differential.pair import Pair
from tests.differential.test_differential import CONTENT, PAGES, PATHS, act, seeded_action

from swaplab.kernel.sync import Direct, install
from swaplab.scenario.model import Zswap


def run(seed: int, steps: int) -> str:
    """Do the same to both; return what is different, if anything is."""
    random = Random(seed)  # noqa: S311
    zswap = Zswap(enabled=True, compressor="zstd", max_pool_percent=1 + seed % 3, shrinker_enabled=seed % 2 > 0)
    swap_pages = 200 if seed % 4 else 60
    with install(Direct()):
        pair = Pair(PATHS, PAGES, CONTENT, memory=1000, swap_pages=swap_pages, zswap=zswap, kernel="7.2")
        for step in range(steps):
            action = seeded_action(random)
            if action[0] == "remove":
                continue
            try:
                act(pair, action)
            except AssertionError as error:
                return f"seed {seed}, step {step}, {action}: {error}"
    return ""


def main() -> None:
    """Run all seeds, and exit with status 1 if anything is different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    found = [line for seed in range(options.seeds) if (line := run(seed, options.steps))]
    for line in found:
        print(line)  # noqa: T201
    print(f"{options.seeds} runs of {options.steps} actions on Linux 7.2: {len(found)} are different")  # noqa: T201
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
