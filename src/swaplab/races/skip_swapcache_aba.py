"""A fault maps what a swap slot had before: the slot has been freed, and is the same page's again.

Where the device is fast, a fault reads into a private folio and not into the swap cache, and then looks whether the
page table still has what it had. It may have the same again: another thread has swapped the page in, written to it, and
the page was swapped out once more to the same slot. The fault maps the old bytes and frees the slot with the new ones.

Differs: a folio in the swap cache is the pin on its slot; there is one page and one slot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, kfree, relax, smp_store_release
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import (
    SWAP_HAS_CACHE,
    SwapSlot,
    get_swap_page,
    read_disk,
    swap_free,
    swapcache_clear,
    swapcache_prepare,
    write_disk,
)

__all__ = ["EXHIBIT"]

NAME = "skip-swapcache-aba"


class Folio(Shared):
    """struct folio."""

    name: Final[str]
    data: str

    def __init__(self, data: str) -> None:
        self.name = f"of {data}"
        self.data = data


class Mm(Shared):
    """A process with one page: in its page table is a folio, or the slot that the page is in."""

    pte: Folio | SwapSlot

    def __init__(self) -> None:
        self.slot = SwapSlot(1, disk="version 1")
        self.pte = self.slot
        self.ptl = SpinLock(self, "ptl")

    def bytes(self) -> str:
        """Return what the process has, wherever it is."""
        return self.pte.data if isinstance(self.pte, Folio) else self.pte.disk


class Pin(NamedTuple):
    """How a fault gets hold of a slot."""

    get: Callable[[SwapSlot], bool]
    put: Callable[[SwapSlot], object]


def is_not_in_swap_cache(slot: SwapSlot) -> bool:
    """mm/swap_state.c:swap_cache_get_folio, 6.7, says so."""
    return not READ_ONCE(slot).swap_map & SWAP_HAS_CACHE


def nothing(slot: SwapSlot) -> None:
    """There is nothing to give back."""


PINNED = Pin(lambda slot: swapcache_prepare(slot) == 0, swapcache_clear)
LOOKED = Pin(is_not_in_swap_cache, nothing)


def do_swap_page(mm: Mm, pin: Pin) -> bool:
    """mm/memory.c:do_swap_page, 6.12, past the swap cache; return whether it got its turn."""
    slot = READ_ONCE(mm).pte
    if not isinstance(slot, SwapSlot):
        return True
    if not pin.get(slot):
        return False
    folio = Folio(read_disk(slot))
    with mm.ptl:
        is_same = READ_ONCE(mm).pte is slot
        if is_same:
            # The page is filled before it is seen: the smp_wmb() of __folio_mark_uptodate, and the walk's dependency.
            smp_store_release(mm).pte = folio
    if is_same:
        swap_free(slot)
    else:
        kfree(folio)
    pin.put(slot)
    return True


def handle_pte_fault(mm: Mm, pin: Pin) -> None:
    """mm/memory.c:handle_pte_fault, 6.12."""
    while not do_swap_page(mm, pin):
        relax()


def shrink_folio_list(mm: Mm, folio: Folio) -> None:
    """mm/vmscan.c:shrink_folio_list, 6.12: swap the page out, if its slot is free."""
    if not get_swap_page(mm.slot):
        return
    with mm.ptl:
        WRITE_ONCE(mm).pte = mm.slot
    write_disk(mm.slot, READ_ONCE(folio).data)
    swapcache_clear(mm.slot)
    kfree(folio)


def write_and_swap_out(mm: Mm, pin: Pin) -> None:
    """A thread writes to the page, which is swapped out afterwards."""
    handle_pte_fault(mm, pin)
    folio = READ_ONCE(mm).pte
    if isinstance(folio, Folio):
        WRITE_ONCE(folio).data = "version 2"
        shrink_folio_list(mm, folio)


def program(label: str, pin: Pin) -> Program[Mm]:
    """Two threads touch a page that is swapped out."""
    return Program(
        f"{NAME}: {label}",
        Mm,
        {"CPU0": lambda mm: handle_pte_fault(mm, pin), "CPU1": lambda mm: write_and_swap_out(mm, pin)},
        {"the process has what it wrote": lambda mm: mm.bytes() == "version 2"},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/swap: fix race when skipping swapcache",
    references=("13ddaf26be324a7f951891ecd9ccd04466d27458",),
    story=(
        "A fault that bypasses the swap cache finds the page table as it was and maps what it has read; in between the"
        " page was swapped in, written to, and swapped out to the same slot."
    ),
    broken={"the slot is not pinned": program("not pinned", LOOKED)},
    fixed={"the slot is pinned": program("pinned", PINNED)},
    finds=frozenset({"invariant broken"}),
)
