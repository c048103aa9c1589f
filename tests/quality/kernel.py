"""Every pair of kernel/'s entry points that Linux lets run side by side, long runs, and calls that fail.

Run it with ``make quality``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from random import Random

from tests.kernel.model import Model, seeded_action
from tests.kernel.side_by_side import PAIRS, breaks
from tests.kernel.test_failures import SHORT, fail_in_turn

from swaplab.kernel.machine import Machine
from swaplab.kernel.sync import Direct, KernelBug, install
from swaplab.linux.release import MODELLED, Modelled


def long_run(kernel: Modelled, seed: int, steps: int) -> list[str]:
    """Do whatever a seed says with one machine, on which pages keep their bytes; return what breaks, if anything."""
    random = Random(seed)  # noqa: S311
    with install(Direct()):
        model = Model(Machine(memory=512 << 12, swap_pages=512, synchronous=seed % 2 > 0, kernel=kernel))
        for step in range(steps):
            action = seeded_action(random)
            try:
                model.attempt(action)
            except (AssertionError, KernelBug) as error:
                return [f"seed {seed}, step {step}, {action}: {error}"]
        model.check_all()
    return []


def pairs(pool: Executor, executions: int) -> Iterator[str]:
    """Run all pairs; yield what breaks, then say what was run."""
    futures = {(kernel, pair): pool.submit(breaks, *pair, executions, kernel) for kernel in MODELLED for pair in PAIRS}
    for (kernel, _), future in futures.items():
        yield from (f"{kernel}: {line}" for line in future.result())
    print(  # noqa: T201
        f"{len(futures):,} pairs of entry points of kernel/ side by side, of {' and '.join(MODELLED)}, up to"
        f" {2 * executions:,} executions each"
    )


def failures(pool: Executor) -> Iterator[str]:
    """Let each call of some sequences fail; yield what breaks, then say what was run."""
    futures = {name: pool.submit(fail_in_turn, name, 0, 1) for name in SHORT}
    count = 0
    for name, future in futures.items():
        try:
            count += future.result()
        except (AssertionError, KernelBug) as error:
            yield f"{name}: {error}"
    print(f"{count:,} calls that fail in turn, in {len(futures)} sequences")  # noqa: T201


def long_runs(pool: Executor, seeds: int, steps: int) -> Iterator[str]:
    """Run all seeds; yield what breaks, then say what was run."""
    futures = {
        (kernel, seed): pool.submit(long_run, kernel, seed, steps) for kernel in MODELLED for seed in range(seeds)
    }
    for (kernel, _), future in futures.items():
        yield from (f"{kernel}: {line}" for line in future.result())
    print(f"{len(futures):,} runs of {steps} things to do with one machine, of {' and '.join(MODELLED)}")  # noqa: T201


def main() -> None:
    """Run all pairs, and exit with status 1 if anything breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100, help="of each pair, by each of two searches")
    parser.add_argument("--seeds", type=int, default=100, help="of long runs")
    parser.add_argument("--steps", type=int, default=60, help="of a long run")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        found = [
            *pairs(pool, arguments.executions),
            *failures(pool),
            *long_runs(pool, arguments.seeds, arguments.steps),
        ]
    for line in found:
        print(line)  # noqa: T201
    print(f"{len(found):,} things break")  # noqa: T201
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
