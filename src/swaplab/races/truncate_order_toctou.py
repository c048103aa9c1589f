"""Truncation frees as many swap slots as an entry had when it was looked at, and not when it was erased.

A large folio in swap is one entry of the page cache, with an order, for several slots. Truncation looked at the order
first, and then erased the entry if its value was the same; the value is the first slot. Split in between, the entry has
fewer slots; swapped in and out again as a larger folio, it has more, and some are past the end of the range.

Differs: a file of two pages, in slots 10 and 11; the rest of what truncation does is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, KernelWarning, Shared, SpinLock
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "truncate-order-toctou"


class Entry(NamedTuple):
    """A swapped-out folio in a page cache.

    Attributes:
        first: its first page in the file.
        value: its first slot.
        order: it has 2**order pages and slots.
    """

    first: int
    value: int
    order: int

    @property
    def last(self) -> int:
        """Its last page in the file."""
        return self.first + (1 << self.order) - 1

    @property
    def slots(self) -> frozenset[int]:
        """All its slots."""
        return frozenset(range(self.value, self.value + (1 << self.order)))


class Mapping(Shared):
    """struct address_space, and the slots in use.

    Attributes:
        entries: of i_pages, whose lock writers hold.
        slots: of the swap device, of this file.
    """

    entries: tuple[Entry, ...]
    slots: frozenset[int]

    def __init__(self, *entries: Entry) -> None:
        self.entries = entries
        self.slots = frozenset[int]().union(*(entry.slots for entry in entries))
        self.xa_lock = SpinLock(self, "i_pages.xa_lock")
        self.si_lock = SpinLock(self, "si.lock")


def xas_load(mapping: Mapping, index: int) -> Entry | None:
    """lib/xarray.c:xas_load, 6.12: the entry that has a page."""
    entries = READ_ONCE(mapping).entries
    return next((entry for entry in entries if entry.first <= index <= entry.last), None)


def xas_store(mapping: Mapping, old: Entry, *new: Entry) -> None:
    """lib/xarray.c:xas_store, 6.12: put others in the place of an entry."""
    rest = [entry for entry in READ_ONCE(mapping).entries if entry != old]
    WRITE_ONCE(mapping).entries = (*rest, *new)


def swap_free(mapping: Mapping, slots: frozenset[int]) -> None:
    """mm/swapfile.c:free_swap_and_cache_nr, 6.12."""
    with mapping.si_lock:
        for slot in sorted(slots):
            if slot not in mapping.slots:
                raise KernelWarning(f"swap_free: slot {slot} is not in use")
        mapping.slots -= slots


FreeSwap = Callable[[Mapping, int, int, Entry], None]


def free_as_erased(mapping: Mapping, index: int, end: int, seen: Entry) -> None:
    """mm/shmem.c:shmem_free_swap, 6.12.117: look at the order where the entry is erased, and at the range."""
    with mapping.xa_lock:
        entry = xas_load(mapping, index)
        if entry is None or entry.value != seen.value or entry.first < index or entry.last > end:
            return
        xas_store(mapping, entry)
    swap_free(mapping, entry.slots)


def free_as_seen(mapping: Mapping, index: int, end: int, seen: Entry) -> None:
    """The same, before: look at the order (xa_get_order), and erase by value (xa_cmpxchg)."""
    looked = xas_load(mapping, index)
    with mapping.xa_lock:
        entry = xas_load(mapping, index)
        if looked is None or entry is None or entry.value != seen.value:
            return
        xas_store(mapping, entry)
    swap_free(mapping, seen._replace(order=looked.order).slots)


def shmem_undo_range(mapping: Mapping, end: int, shmem_free_swap: FreeSwap) -> None:
    """mm/shmem.c:shmem_undo_range, 6.12, from the start of the file."""
    for index in range(end + 1):
        entry = xas_load(mapping, index)
        if entry:
            shmem_free_swap(mapping, index, end, entry)


def shmem_split_large_entry(mapping: Mapping) -> None:
    """mm/shmem.c:shmem_split_large_entry, 6.12: each page gets an entry of its own."""
    with mapping.xa_lock:
        entry = xas_load(mapping, 0)
        if entry:
            pages = (Entry(slot - entry.value, slot, 0) for slot in sorted(entry.slots))
            xas_store(mapping, entry, *pages)


def shmem_writepage(mapping: Mapping) -> None:
    """A page is swapped in, and out again as part of a folio of two pages, to the same slot and the next one."""
    large = Entry(0, 10, 1)
    with mapping.xa_lock:
        entry = xas_load(mapping, 0)
        if entry:
            with mapping.si_lock:
                mapping.slots = mapping.slots - entry.slots | large.slots
            xas_store(mapping, entry, large)


def is_tidy(mapping: Mapping) -> bool:
    """Tell whether the slots in use are those that the file names."""
    return mapping.slots == frozenset[int]().union(*(entry.slots for entry in mapping.entries))


def program(
    label: str, before: Entry, end: int, shmem_free_swap: FreeSwap, other: Callable[[Mapping], None]
) -> Program[Mapping]:
    """A file is truncated while an entry of it changes."""
    return Program(
        f"{NAME}: {label}",
        lambda: Mapping(before),
        {"CPU0": lambda mapping: shmem_undo_range(mapping, end, shmem_free_swap), "CPU1": other},
        {"the slots in use are those that the file names": is_tidy},
    )


def splitting(label: str, shmem_free_swap: FreeSwap) -> Program[Mapping]:
    """All is truncated while a large entry is split."""
    return program(f"split, {label}", Entry(0, 10, 1), 1, shmem_free_swap, shmem_split_large_entry)


def growing(label: str, shmem_free_swap: FreeSwap) -> Program[Mapping]:
    """The first page is punched out while its entry becomes a large one."""
    return program(f"grown, {label}", Entry(0, 10, 0), 0, shmem_free_swap, shmem_writepage)


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/shmem, swap: fix race of truncate and swap entry split",
    references=("CVE-2026-23161",),
    story=(
        "Truncation reads how many swap slots an entry has, and erases the entry later if it names the same slot: the"
        " number may be another by then, so that slots are freed twice, or never."
    ),
    broken={
        "order and erasure apart, entry split": splitting("apart", free_as_seen),
        "order and erasure apart, entry grown": growing("apart", free_as_seen),
    },
    fixed={
        "order and erasure at once, entry split": splitting("at once", free_as_erased),
        "order and erasure at once, entry grown": growing("at once", free_as_erased),
    },
    finds=frozenset({"warning", "invariant broken"}),
)
