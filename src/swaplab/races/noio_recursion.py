"""The block layer needs memory to finish its I/O, and reclaim starts another I/O to get it.

An allocation with GFP_NOIO says that I/O must not be waited for: its caller holds what I/O needs. The zswap shrinker
did not ask. It wrote back, and the write waits for what the caller of the allocation holds.

Differs: what all I/O needs, the last element of a mempool, is a lock; every allocation enters reclaim.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Flag, auto

from swaplab.explore import Program
from swaplab.kernel.sync import Atomic, Mutex, Shared
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "noio-recursion"


class Gfp(Flag):
    """gfp_t: what reclaim may do for an allocation."""

    IO = auto()
    FS = auto()


GFP_NOIO = Gfp(0)
GFP_KERNEL = Gfp.IO | Gfp.FS


class System(Shared):
    """A device, and two entries in zswap."""

    def __init__(self) -> None:
        self.mempool = Mutex(None, "bio_mempool")
        self.nr_stored = Atomic(None, "nr_stored", 2)


Count = Callable[[System, Gfp], int]


def count_if_allowed(system: System, gfp: Gfp) -> int:
    """mm/zswap.c:zswap_shrinker_count, 6.12: nothing, unless the allocation may wait for I/O and file systems."""
    return system.nr_stored.read() if gfp == GFP_KERNEL else 0


def count_always(system: System, gfp: Gfp) -> int:
    """The same, 6.8."""
    return system.nr_stored.read()


def submit_bio(system: System, zswap_shrinker_count: Count) -> None:
    """block/blk-core.c:submit_bio, 6.12: needs something that only the end of other I/O gives back, and memory."""
    with system.mempool:
        kmalloc(system, GFP_NOIO, zswap_shrinker_count)


def zswap_writeback_entry(system: System, zswap_shrinker_count: Count) -> None:
    """mm/zswap.c:zswap_writeback_entry, 6.12."""
    submit_bio(system, zswap_shrinker_count)
    system.nr_stored.add(-1)


def kmalloc(system: System, gfp: Gfp, zswap_shrinker_count: Count) -> None:
    """mm/vmscan.c:shrink_slab, 6.12, entered by an allocation."""
    if zswap_shrinker_count(system, gfp):
        zswap_writeback_entry(system, zswap_shrinker_count)


def program(label: str, zswap_shrinker_count: Count) -> Program[System]:
    """A file is written while a process asks for memory."""
    return Program(
        f"{NAME}: {label}",
        System,
        {
            "CPU0": lambda system: submit_bio(system, zswap_shrinker_count),
            "CPU1": lambda system: kmalloc(system, GFP_KERNEL, zswap_shrinker_count),
        },
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix writeback shinker GFP_NOIO/GFP_NOFS recursion",
    references=("30fb6a8d9e3378919f378f9bf561142b4a6d2637",),
    story=(
        "An allocation in the middle of an I/O says that reclaim must not wait for I/O. The zswap shrinker writes back"
        " nevertheless, and waits for what the I/O above it holds."
    ),
    broken={"the shrinker does not ask": program("always", count_always)},
    fixed={"the shrinker has nothing for NOIO allocations": program("if allowed", count_if_allowed)},
    finds=frozenset({"deadlock"}),
)
