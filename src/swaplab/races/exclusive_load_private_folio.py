"""A load takes the only copy of a page out of zswap, for a folio that is thrown away.

Where the device is fast, as zram is, a fault reads into a private folio and not into the swap cache. If the page table
has changed by the time the folio would be mapped, the fault is given up and the folio freed. The slot is still named by
a page table, but zswap has given its entry away, and the device never had the page.

Differs: the page table changes because the page is moved (mremap).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, XArray, kfree, relax
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SwapSlot, read_disk, swap_free, swapcache_clear, swapcache_prepare

__all__ = ["EXHIBIT"]

NAME = "exclusive-load-private-folio"
X = 0


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]
    data: str

    def __init__(self, data: str) -> None:
        self.name = f"of {data}"
        self.data = data


class Pte(Shared):
    """An entry of a page table: the slot that the page is in, the page itself, or nothing."""

    name: Final[str]
    value: SwapSlot | str | None

    def __init__(self, name: str, value: SwapSlot | None) -> None:
        self.name = name
        self.value = value


class System(Shared):
    """Page A was swapped out to slot X and is in zswap; page table entry P names the slot."""

    def __init__(self) -> None:
        self.slot = SwapSlot(1)
        self.p, self.q = Pte("P", self.slot), Pte("Q", None)
        self.ptl = SpinLock(None, "ptl")
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.tree.store(X, Entry("A"))


Load = Callable[[System, SwapSlot], str]


def zswap_invalidate(system: System) -> None:
    """mm/zswap.c:zswap_invalidate, 6.12."""
    entry = system.tree.erase(X)
    if entry:
        kfree(entry)


def load_keeping(system: System, slot: SwapSlot) -> str:
    """mm/zswap.c:zswap_load, 6.12, for a folio that is not in the swap cache; else the device is read."""
    entry = system.tree.load(X)
    return entry.data if entry else read_disk(slot)


def load_exclusively(system: System, slot: SwapSlot) -> str:
    """The same, 6.8: the entry goes, for any kind of folio."""
    data = load_keeping(system, slot)
    zswap_invalidate(system)
    return data


def do_swap_page(system: System, pte: Pte, slot: SwapSlot, zswap_load: Load) -> bool:
    """mm/memory.c:do_swap_page, 6.12, past the swap cache (SWP_SYNCHRONOUS_IO); return whether it got its turn."""
    if swapcache_prepare(slot):
        return False
    data = zswap_load(system, slot)
    with system.ptl:
        is_same = READ_ONCE(pte).value is slot
        if is_same:
            WRITE_ONCE(pte).value = data
    if is_same:
        swap_free(slot)
    if swapcache_clear(slot):
        zswap_invalidate(system)
    return True


def handle_pte_fault(system: System, pte: Pte, zswap_load: Load) -> None:
    """mm/memory.c:handle_pte_fault, 6.12: fault until the page is there, or has gone elsewhere."""
    while isinstance(slot := READ_ONCE(pte).value, SwapSlot):
        if not do_swap_page(system, pte, slot, zswap_load):
            relax()


def move_ptes(system: System) -> None:
    """mm/mremap.c:move_ptes, 6.12."""
    with system.ptl:
        WRITE_ONCE(system.q).value = READ_ONCE(system.p).value
        WRITE_ONCE(system.p).value = None


def move_and_touch(system: System, zswap_load: Load) -> None:
    """A thread moves the page, and then reads it where it is now."""
    move_ptes(system)
    handle_pte_fault(system, system.q, zswap_load)


def program(label: str, zswap_load: Load) -> Program[System]:
    """A page is touched while it is moved."""
    return Program(
        f"{NAME}: {label}",
        System,
        {
            "CPU0": lambda system: handle_pte_fault(system, system.p, zswap_load),
            "CPU1": lambda system: move_and_touch(system, zswap_load),
        },
        {"the process has the bytes of page A": lambda system: system.q.value == "A"},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix data loss on SWP_SYNCHRONOUS_IO devices",
    references=("25cd241408a2adc1ed0ebc90ae0793576c111880",),
    story=(
        "A fault that bypasses the swap cache takes the page out of zswap, and is given up because the page table has"
        " changed: the only copy of the page was in the folio that it frees."
    ),
    broken={"every load takes the entry": program("exclusive", load_exclusively)},
    fixed={"a private folio leaves the entry": program("kept", load_keeping)},
    finds=frozenset({"invariant broken"}),
)
