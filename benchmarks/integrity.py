"""Whether real threads can make the system lose a byte: random operations on cgroups that come and go, on real pages.

    python benchmarks/integrity.py [--operations 1000000] [--threads 8] [--cgroups 50] [--seed 0] [--kernel 6.12]

Every page belongs to one thread, which knows what it wrote there; the cgroups, their limits, the swap file and the pool
belong to all. Whoever removes a cgroup does so while the others go on using the process in it. At the end every page is
read, and all lists, charges and counters are added up once more.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import ENODEV
from functools import partial
from random import Random

from rich.console import Console
from rich.progress import Progress

from swaplab.kernel.machine import Cgroup, Machine
from swaplab.kernel.sync.threads import Threads
from swaplab.linux.release import BASE, MODELLED, Modelled

KEYS = 24
LIMITS = (48 << 12, 96 << 12, 192 << 12)
COMPRESSORS = ("lz4", "zstd", "lzo")


@dataclass
class Common:
    """What all threads use: one machine, and the cgroup that each name stands for now."""

    machine: Machine
    cgroups: list[Cgroup]
    replace: threading.Lock = field(default_factory=threading.Lock)


class Worker:
    """One thread's operations, and what must come of them.

    Args:
        common: what it uses.
        number: its own.
        threads: how many there are; a page is of the thread that its key modulo this says.
        seed: of its choices.
    """

    def __init__(self, common: Common, number: int, threads: int, seed: int) -> None:
        self.common = common
        self.random = Random(f"{seed} {number}")  # noqa: S311
        self.keys = range(number, KEYS * threads, threads)
        self.written: dict[Cgroup, dict[int, bytes]] = {}
        self.counts: Counter[str] = Counter()
        actions = {
            self.write: 36, self.read: 30, self.swap_out: 18, self.discard: 5, self.reclaim: 5, self.limit: 4,
            self.renew: 1, self.set_compressor: 0.1,
        }  # fmt: skip
        self.actions, self.weights = list(actions), list(actions.values())

    def act(self) -> None:
        """Do one thing to one cgroup."""
        action = self.random.choices(self.actions, self.weights)[0]
        which = self.random.randrange(len(self.common.cgroups))
        self.counts[action.__name__] += 1
        try:
            action(which)
        except MemoryError:
            self.counts["out of memory"] += 1
        except OSError as error:
            if error.errno != ENODEV:
                raise
            self.counts["removed meanwhile"] += 1

    def _cgroup(self, which: int) -> Cgroup:
        return self.common.cgroups[which]

    def write(self, which: int) -> None:
        """Write to a page: noise that compresses well or badly, or nothing but zeros."""
        cgroup, key = self._cgroup(which), self.random.choice(self.keys)
        data = self.random.randbytes(self.random.choice((0, 8, 400, 1500, 4096)))
        cgroup.write(key, data)
        self.written.setdefault(cgroup, {})[key] = data.ljust(4096, b"\0")

    def read(self, which: int) -> None:
        """Read a page, also of a cgroup that is gone by now."""
        cgroup = self.random.choice(list(self.written)) if self.written else self._cgroup(which)
        self.check(cgroup, self.random.choice(self.keys))

    def check(self, cgroup: Cgroup, key: int) -> None:
        """Compare a page with what was written."""
        found, expected = cgroup.read(key), self.written.get(cgroup, {}).get(key, bytes(4096))
        if found != expected:
            raise AssertionError(f"{cgroup.path}: page {key} is {found[:16].hex()}..., not {expected[:16].hex()}...")
        self.counts["pages compared"] += 1

    def swap_out(self, which: int) -> None:
        """Swap one of the pages out."""
        self._cgroup(which).swap_out(self.random.choice(self.keys))

    def discard(self, which: int) -> None:
        """Give up a page, or all of a cgroup that is gone, once they have been compared."""
        gone = [each for each in self.written if each not in self.common.cgroups]
        if not gone:
            self.forget(self._cgroup(which), [self.random.choice(self.keys)])
        for cgroup in gone:
            self.forget(cgroup, self.keys)
            del self.written[cgroup]

    def forget(self, cgroup: Cgroup, keys: range | list[int]) -> None:
        """Compare pages, and give them up."""
        for key in keys:
            self.check(cgroup, key)
            cgroup.discard(key)
            self.written.get(cgroup, {}).pop(key, None)

    def reclaim(self, which: int) -> None:
        """Press on a cgroup."""
        self._cgroup(which).reclaim(self.random.randrange(1, 32) << 12)

    def limit(self, which: int) -> None:
        """Set limits."""
        choose = self.random.choice
        self._cgroup(which).limit(
            memory_max=choose(LIMITS), zswap_max=choose((1 << 40, 8 << 12)), zswap_writeback=choose((0, 1, 1))
        )

    def renew(self, which: int) -> None:
        """Remove a cgroup that others use, and make another of its name."""
        with self.common.replace:
            old = self._cgroup(which)
            old.remove()
            self.common.cgroups[which] = self.common.machine.cgroup(old.path)

    def set_compressor(self, which: int) -> None:
        """Switch compressors while entries of the others live on."""
        self.common.machine.set_compressor(COMPRESSORS[which % len(COMPRESSORS)])

    def check_all(self) -> None:
        """Compare every page that there is."""
        for cgroup in self.written:
            for key in self.keys:
                self.check(cgroup, key)


def run(
    operations: int,
    threads: int,
    cgroups: int,
    seed: int,
    advance: Callable[[], object] = lambda: None,
    kernel: Modelled = "6.12",
) -> tuple[Counter[str], dict[str, int]]:
    """Let threads loose on one machine; what they did, and the machine's counters.

    Raises:
        AssertionError: a page does not hold what was written to it.
        KernelBug: the machine's parts do not agree, or something was used that was gone.
    """
    with Threads() as runtime:
        swap_pages = cgroups * KEYS * threads * 4
        machine = Machine(memory=(cgroups * 128 + 1024) << 12, swap_pages=swap_pages, kernel=kernel)
        machine.zswap.shrinker_enabled = True
        common = Common(machine, [machine.cgroup(f"{i % 5}/{i}", memory_max=LIMITS[1]) for i in range(cgroups)])
        workers = [Worker(common, number, threads, seed) for number in range(threads)]

        def work(worker: Worker) -> None:
            for _ in range(operations // threads):
                worker.act()
                advance()

        runtime.run(partial(work, worker) for worker in workers)
        runtime.drain()
        for cgroup in common.cgroups:
            cgroup.limit(memory_max=1 << 40)
        for worker in workers:
            worker.check_all()
        runtime.drain()
        machine.validate()
        return sum((worker.counts for worker in workers), Counter()), machine.stat()


def main() -> None:
    """Print what was done, and that nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--cgroups", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kernel", choices=MODELLED, default=str(BASE))
    options = parser.parse_args()
    before = time.perf_counter()
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        advance = partial(progress.advance, progress.add_task("operations", total=options.operations))
        counts, stat = run(options.operations, options.threads, options.cgroups, options.seed, advance, options.kernel)
    seconds = time.perf_counter() - before
    print(f"{options.operations:,} operations, {options.threads} threads, {options.cgroups} cgroups: {seconds:,.0f} s")
    for name, count in counts.most_common():
        print(f"{name:>16} {count:>11,}")
    for name in ("zswpout", "zswpin", "zswpwb", "pswpout", "pswpin"):
        print(f"{name:>16} {stat[name]:>11,}")
    print("no byte is wrong, no page is lost, all charges, lists and counters agree")


if __name__ == "__main__":
    main()
