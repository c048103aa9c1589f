"""A process that exits frees its swap slot, and then looks at the device that nothing keeps any more.

The last page table that names a slot is gone; only the swap cache still has it. Whoever dropped it goes on to free the
folio there. But somebody else may do so first, and then the device is empty: swapoff ends, and frees what the exiting
process is about to read.

Differs: the device has one slot, and swapoff itself comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, relax
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SWAP_HAS_CACHE
from swaplab.races.swap_device import (
    SwapDevice,
    get_swap_device,
    put_swap_device,
    reclaim_cache,
    swapoff_empty,
)

__all__ = ["EXHIBIT"]

NAME = "free-swap-vs-swapoff"


def free_swap_and_cache(si: SwapDevice) -> None:
    """mm/swapfile.c:free_swap_and_cache, 6.8: drop the last reference of a page table, and what the cache has."""
    swap_map = READ_ONCE(si).swap_map
    with si.lock:
        WRITE_ONCE(swap_map).byte = READ_ONCE(swap_map).byte - 1
    if READ_ONCE(swap_map).byte == SWAP_HAS_CACHE:
        reclaim_cache(si, swap_map)


def free_swap_and_cache_pinned(si: SwapDevice) -> None:
    """The same, 6.9: with a reference to the device around it."""
    if get_swap_device(si):
        free_swap_and_cache(si)
        put_swap_device(si)


def try_to_unuse(si: SwapDevice) -> None:
    """mm/swapfile.c:try_to_unuse, 6.12: free what only the swap cache uses, until nothing is used."""
    swap_map = READ_ONCE(si).swap_map
    while not reclaim_cache(si, swap_map):
        relax()


def swapoff(si: SwapDevice) -> None:
    """mm/swapfile.c:swapoff, 6.12."""
    try_to_unuse(si)
    swapoff_empty(si)


def program(label: str, free: Callable[[SwapDevice], None]) -> Program[SwapDevice]:
    """A process exits while the device goes."""
    return Program(f"{NAME}: {label}", lambda: SwapDevice("swap", SWAP_HAS_CACHE | 1), {"CPU0": free, "CPU1": swapoff})


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: swap: fix race between free_swap_and_cache() and swapoff()",
    references=("82b1c07a0af603e3c47b906c8e991dc96f01688e", "CVE-2024-26960"),
    story=(
        "Who drops the last reference of a page table to a swap slot reads the device's map once more; by then the slot"
        " may be free and the device gone."
    ),
    broken={"nothing keeps the device": program("not kept", free_swap_and_cache)},
    fixed={"the device is kept meanwhile": program("kept", free_swap_and_cache_pinned)},
    finds=frozenset({"use after free"}),
)
