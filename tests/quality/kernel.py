"""Every pair of kernel/'s entry points that Linux lets run side by side, and how many executions found nothing wrong.

Run it with ``make quality``.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.kernel.side_by_side import PAIRS, breaks

from swaplab.linux.release import MODELLED


def main() -> None:
    """Run all pairs, and exit with status 1 if anything breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100, help="of each pair, by each of two searches")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        futures = {
            (kernel, pair): pool.submit(breaks, *pair, arguments.executions, kernel)
            for kernel in MODELLED
            for pair in PAIRS
        }
        found = [f"{kernel}: {line}" for (kernel, _), future in futures.items() for line in future.result()]
    for line in found:
        print(line)  # noqa: T201
    print(  # noqa: T201
        f"{len(futures):,} pairs of entry points of kernel/ side by side, of {' and '.join(MODELLED)}, up to"
        f" {2 * arguments.executions:,} executions each: {len(found):,} things break"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
