"""Pages a second through zswap in the kernel's shape, against the bare compressor in the same run.

Run it alone: ``python benchmarks/kernel.py``. One thread, lz4, 4 KiB pages: those of the shipped recordings, and pages
of which 1,500 bytes are random and the rest zeros, which are the least work for lz4. Store and load are zswap_store()
and zswap_load() of folios in the swap cache. Out and in is all of it: a page is reclaimed, then used again, with its
reference counts, charges, lists, page table and swap slot. The bare calls only compress and decompress the same pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from swaplab.compress import compress, decompress
from swaplab.kernel.folio import Folio
from swaplab.kernel.machine import Cgroup, Machine
from swaplab.kernel.sync import Direct, install
from swaplab.kernel.zswap import zswap_load, zswap_store
from swaplab.scenario.content import Profiled

PAGES, ROUNDS = 2_000, 5
SCENARIOS = Path(__file__).parents[1] / "scenarios"


def random_and_zeros() -> list[bytes]:
    """Pages of 1,500 random bytes."""
    random = np.random.default_rng(0)
    return [random.bytes(1500) + bytes(4096 - 1500) for _ in range(PAGES)]


def recorded(name: str) -> list[bytes]:
    """Pages of a shipped recording, without those of zeros, which are never in zswap."""
    samples = Profiled(f"recordings/{name}/content.parquet").resolve(0, SCENARIOS)
    return [page.tobytes() for page in samples.pages if page.any()][:PAGES]


def best(action: Callable[[], None]) -> float:
    """Seconds of the fastest round."""
    taken = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return min(taken)


def out_and_in(cgroup: Cgroup) -> None:
    """Swap all pages out, then use each."""
    for key in range(PAGES):
        cgroup.swap_out(key)
    for key in range(PAGES):
        cgroup.swap_in(key)


def in_swap_cache(cgroup: Cgroup) -> list[Folio]:
    """Lock the folios of all pages and put them into the swap cache, as reclaim does before it writes one."""
    folios = [folio for folio in cgroup.mm.ptes.items.values() if isinstance(folio, Folio)]
    for folio in folios:
        folio.lock.acquire()
        info = cgroup.machine._swap.info
        insist(folio.swapcache or (info is not None and info.alloc_slot(cgroup.machine._swap, folio)))
    return folios


def insist(done: bool) -> None:
    """Stop if something was not done: nothing that follows would mean anything."""
    if not done:
        raise SystemExit("a page did not go where it was meant to")


def store_and_load(cgroup: Cgroup, folios: list[Folio]) -> None:
    """Store all, then load all."""
    swap = cgroup.machine._swap
    if info := swap.info:
        for folio in folios:
            insist(zswap_store(swap, info, folio))
        for folio in folios:
            insist(zswap_load(swap, info, folio) == 0)


def bare(contents: list[bytes]) -> None:
    """Compress and decompress each."""
    for data in contents:
        decompress("lz4", compress("lz4", data))


def measure(contents: list[bytes]) -> tuple[float, float, float]:
    """Seconds of the bare calls, of store and load, and of out and in."""
    with install(Direct()):
        machine = Machine(memory=64 << 20, swap_pages=2 * PAGES, compressor="lz4")
        cgroup = machine.cgroup("a")
        for key, data in enumerate(contents):
            cgroup.write(key, data)
        around = best(lambda: out_and_in(cgroup))
        folios = in_swap_cache(cgroup)
        ours = best(lambda: store_and_load(cgroup, folios))
        alone = best(lambda: bare(contents))
        for folio in folios:
            folio.lock.release()
        insist([folio.data for folio in folios] == contents)
        machine.validate()
    return alone, ours, around


def main() -> None:
    """Print all, and the ratios."""
    table = Table(title=f"{PAGES:,} pages, lz4, microseconds a page")
    for heading in ("pages", "bare lz4", "store and load", "ratio", "out and in", "ratio"):
        table.add_column(heading, justify="left" if heading == "pages" else "right")
    for name, contents in (
        ("recorded: database", recorded("database")),
        ("recorded: index", recorded("index")),
        ("1,500 random bytes", random_and_zeros()),
    ):
        alone, ours, around = measure(contents)
        microseconds = [f"{1e6 * each / PAGES:.1f}" for each in (alone, ours, around)]
        table.add_row(name, *microseconds[:2], f"{alone / ours:.0%}", microseconds[2], f"{alone / around:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
