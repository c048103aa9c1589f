"""A page is charged to the memcg that had its swap slot before.

A fault that bypasses the swap cache charges its folio to the memcg that is recorded for the slot, then pins the slot,
and then looks whether the page table still has what it had (see skip-swapcache-aba). Between charge and pin the slot
may have been freed, and be the same page table's again: for a page of the memcg that the process has moved to.

Differs: a folio in the swap cache is the pin on its slot; bytes are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, kfree, relax
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SwapSlot, get_swap_page, swap_free, swapcache_clear, swapcache_prepare

__all__ = ["EXHIBIT"]

NAME = "swapin-charge-wrong-memcg"


class Slot(SwapSlot):
    """A slot with its record in swap_cgroup."""

    memcg: str

    def __init__(self) -> None:
        super().__init__(1)
        self.memcg = "memcg 0"


class Folio(Shared):
    """struct folio."""

    name: Final[str]
    memcg: str

    def __init__(self, memcg: str) -> None:
        self.name = f"of {memcg}"
        self.memcg = memcg


class Mm(Shared):
    """A process with one page: in its page table is a folio, or the slot that the page is in."""

    pte: Folio | Slot

    def __init__(self) -> None:
        self.slot = Slot()
        self.pte = self.slot
        self.ptl = SpinLock(self, "ptl")


Swapin = Callable[[Slot], Folio | None]


def charge_and_pin(slot: Slot) -> Folio | None:
    """mm/memory.c:alloc_swap_folio and do_swap_page, 6.12; none if another task has the slot pinned."""
    folio = Folio(READ_ONCE(slot).memcg)
    if swapcache_prepare(slot):
        kfree(folio)
        return None
    return folio


def pin_and_charge(slot: Slot) -> Folio | None:
    """The same, as it was proposed."""
    return None if swapcache_prepare(slot) else Folio(READ_ONCE(slot).memcg)


def do_swap_page(mm: Mm, slot: Slot, swapin: Swapin) -> bool:
    """mm/memory.c:do_swap_page, 6.12, past the swap cache; return whether it got its turn."""
    folio = swapin(slot)
    if folio is None:
        return False
    with mm.ptl:
        is_same = READ_ONCE(mm).pte is slot
        if is_same:
            WRITE_ONCE(mm).pte = folio
    if is_same:
        swap_free(slot)
    else:
        kfree(folio)
    swapcache_clear(slot)
    return True


def handle_pte_fault(mm: Mm, swapin: Swapin) -> None:
    """mm/memory.c:handle_pte_fault, 6.12: fault until the page is there."""
    while isinstance(slot := READ_ONCE(mm).pte, Slot):
        if not do_swap_page(mm, slot, swapin):
            relax()


def shrink_folio_list(mm: Mm, folio: Folio) -> None:
    """mm/vmscan.c:shrink_folio_list, with mm/memcontrol.c:mem_cgroup_swapout, 6.12, if the slot is free."""
    if not get_swap_page(mm.slot):
        return
    WRITE_ONCE(mm.slot).memcg = READ_ONCE(folio).memcg
    with mm.ptl:
        WRITE_ONCE(mm).pte = mm.slot
    swapcache_clear(mm.slot)
    kfree(folio)


def move_and_swap_out(mm: Mm, swapin: Swapin) -> None:
    """A process touches its page, moves to memcg 1, and gets a new page there (MADV_DONTNEED), which is swapped out."""
    handle_pte_fault(mm, swapin)
    folio = Folio("memcg 1")
    with mm.ptl:
        old = READ_ONCE(mm).pte
        WRITE_ONCE(mm).pte = folio
    kfree(old)
    shrink_folio_list(mm, folio)


def program(label: str, swapin: Swapin) -> Program[Mm]:
    """A thread touches a page while another one replaces it."""
    return Program(
        f"{NAME}: {label}",
        Mm,
        {"CPU0": lambda mm: handle_pte_fault(mm, swapin), "CPU1": lambda mm: move_and_swap_out(mm, swapin)},
        {"the page of memcg 1 is charged to it": lambda mm: mm.pte.memcg == "memcg 1"},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm, swap: fix swapin race that causes inaccurate memcg accounting",
    references=("20260407-swap-memcg-fix-v1-0-a473ce2e5bb8@tencent.com",),
    story=(
        "A fault charges its folio before it pins the slot: if the slot is freed and reused in between, the page that"
        " is mapped belongs to one memcg and is charged to another."
    ),
    broken={"charged before the slot is pinned": program("charged first", charge_and_pin)},
    fixed={"charged after the slot is pinned": program("pinned first", pin_and_charge)},
    finds=frozenset({"invariant broken"}),
)
