"""Pages a second through zswap's store and load in the kernel's shape, against the bare compressor in the same run.

Run it alone: ``python benchmarks/kernel.py``. One thread, lz4, 4 KiB pages of which 1,500 bytes are random. A page is
swapped out, which stores it, and used again, which faults and loads it, with all that both take beside: reference
counts, charges, lists, swap slots, zsmalloc. The bare calls only compress and decompress the same pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from swaplab.compress import compress, decompress
from swaplab.kernel.machine import Machine
from swaplab.kernel.sync import Direct, install

PAGES, ROUNDS = 2_000, 3


def pages() -> list[bytes]:
    """What the pages hold."""
    random = np.random.default_rng(0)
    return [random.bytes(1500) + bytes(4096 - 1500) for _ in range(PAGES)]


def best(action: Callable[[], None]) -> float:
    """Seconds of the fastest round."""
    taken = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return min(taken)


def main() -> None:
    """Print both, and the ratio."""
    contents = pages()
    with install(Direct()):
        machine = Machine(memory=64 << 20, swap_pages=2 * PAGES, compressor="lz4")
        cgroup = machine.cgroup("a")
        for key, data in enumerate(contents):
            cgroup.write(key, data)

        def through_zswap() -> None:
            for key in range(PAGES):
                cgroup.swap_out(key)
            for key in range(PAGES):
                cgroup.swap_in(key)

        def bare() -> None:
            for data in contents:
                decompress("lz4", compress("lz4", data))

        ours, alone = best(through_zswap), best(bare)
        stat = machine.stat()
        machine.validate()
    print(f"zswap in the kernel's shape  {PAGES / ours:>9,.0f} pages a second ({stat['zswpout']:,} stored in all)")
    print(f"bare lz4 calls               {PAGES / alone:>9,.0f} pages a second")
    print(f"ratio                        {alone / ours:>9.1%}")


if __name__ == "__main__":
    main()
