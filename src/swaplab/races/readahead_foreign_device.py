"""Readahead meets a page of another swap device than the one that the fault keeps.

A fault keeps the device of its page from being swapped off. Readahead around it goes through the neighbouring entries
of the page table, and they may name another device. It kept each of them by itself, until that was found to be
redundant, which it is for the first device only.

Differs: the fault's own page is left out; that a folio is in the swap cache is all there is of it.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SWAP_HAS_CACHE
from swaplab.races.swap_device import SwapDevice, get_swap_device, put_swap_device, reclaim_cache, swapoff_empty

__all__ = ["EXHIBIT"]

NAME = "readahead-foreign-device"


class Mm(Shared):
    """A process with a page on device B, and a neighbouring one on device A.

    Attributes:
        neighbour: the device that the page table's next entry names, if any.
    """

    neighbour: SwapDevice | None

    def __init__(self) -> None:
        self.a, self.b = SwapDevice("A", 1), SwapDevice("B", 1)
        self.neighbour = self.a
        self.ptl = SpinLock(self, "ptl")


def read_swap_cache_async(si: SwapDevice) -> None:
    """mm/swap_state.c:__read_swap_cache_async, 6.18: add the slot to the swap cache, if it is in use."""
    swap_map = READ_ONCE(si).swap_map
    with si.lock:
        byte = READ_ONCE(swap_map).byte
        if byte:
            WRITE_ONCE(swap_map).byte = byte | SWAP_HAS_CACHE


def read_keeping(si: SwapDevice) -> None:
    """mm/swap_state.c:swap_vma_readahead, 6.18, for another device than the fault's: keep it."""
    if get_swap_device(si):
        read_swap_cache_async(si)
        put_swap_device(si)


def read_as_kept(si: SwapDevice) -> None:
    """The same, before: the fault keeps the device."""
    read_swap_cache_async(si)


def do_swap_page(mm: Mm, read: Callable[[SwapDevice], None]) -> None:
    """mm/memory.c:do_swap_page, with mm/swap_state.c:swap_vma_readahead, 6.18."""
    if get_swap_device(mm.b):
        neighbour = READ_ONCE(mm).neighbour
        if neighbour:
            read(neighbour)
        put_swap_device(mm.b)


def unuse_pte(mm: Mm) -> None:
    """mm/swapfile.c:unuse_pte, 6.18: the page is in memory from now on, and not in the swap cache."""
    swap_map = READ_ONCE(mm.a).swap_map
    with mm.ptl:
        WRITE_ONCE(mm).neighbour = None
    with mm.a.lock:
        WRITE_ONCE(swap_map).byte = READ_ONCE(swap_map).byte - 1
    reclaim_cache(mm.a, swap_map)


def swapoff(mm: Mm) -> None:
    """mm/swapfile.c:swapoff, 6.18, of device A."""
    unuse_pte(mm)
    swapoff_empty(mm.a)


def program(label: str, read: Callable[[SwapDevice], None]) -> Program[Mm]:
    """A page of device B is touched while device A goes."""
    return Program(f"{NAME}: {label}", Mm, {"CPU0": lambda mm: do_swap_page(mm, read), "CPU1": swapoff})


EXHIBIT = Exhibit(
    name=NAME,
    title="mm, swap: fix potential UAF issue for VMA readahead",
    references=("CVE-2025-40270",),
    story=(
        "A fault keeps its page's swap device while it reads neighbouring pages ahead; those may be on another device,"
        " which is swapped off meanwhile."
    ),
    broken={"only the fault's device is kept": program("not kept", read_as_kept)},
    fixed={"every device is kept": program("kept", read_keeping)},
    finds=frozenset({"use after free"}),
)
