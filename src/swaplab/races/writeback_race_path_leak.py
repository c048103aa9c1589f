"""Writeback that gives up forgets the folio it has made: locked for ever, and never freed.

Writeback checks whether its entry is still in the tree once it has a locked folio in the swap cache (see
writeback-vs-slot-reuse). If not, it takes the folio out of the swap cache again. When that path was written, it left it
at that: the folio's lock and the caller's reference stayed.

Differs: the folio in the swap cache is the pin on its slot; that the slot was reused is that its entry is another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import Atomic, Mutex, Shared, XArray, kfree
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "writeback-race-path-leak"
X = 0


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]

    def __init__(self, name: str) -> None:
        self.name = name


class Folio(Shared):
    """struct folio, with a reference of its maker."""

    name: Final[str]

    def __init__(self) -> None:
        self.name = "F"
        self.refcount = Atomic(self, "refcount", 1)
        self.lock = Mutex(self, "PG_locked")


class System(Shared):
    """Entry A is in zswap for slot X."""

    def __init__(self) -> None:
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.swap_cache: XArray[Folio] = XArray(None, "swap_cache")
        self.entry = Entry("A")
        self.tree.store(X, self.entry)


Cleanup = Callable[[Folio], None]


def folio_put(folio: Folio) -> None:
    """include/linux/mm.h:folio_put, 6.12."""
    if folio.refcount.dec_and_test():
        kfree(folio)


def read_swap_cache_async(system: System) -> Folio | None:
    """mm/swap_state.c:__read_swap_cache_async, 6.12: a new folio, locked and in the swap cache."""
    folio = Folio()
    folio.lock.acquire()
    folio.refcount.add(1)
    if system.swap_cache.cmpxchg(X, None, folio) is None:
        return folio
    folio.lock.release()
    folio_put(folio)
    folio_put(folio)
    return None


def delete_from_swap_cache(system: System, folio: Folio) -> None:
    """mm/swap_state.c:delete_from_swap_cache, 6.12."""
    system.swap_cache.erase(X)
    folio_put(folio)


def zswap_writeback_entry(system: System, entry: Entry, give_up: Cleanup) -> None:
    """mm/zswap.c:zswap_writeback_entry, 6.8; the end of the write is what unlocks the folio where all is well."""
    folio = read_swap_cache_async(system)
    if folio is None:
        return
    if system.tree.cmpxchg(X, entry, None) is not entry:
        delete_from_swap_cache(system, folio)
        give_up(folio)
        return
    kfree(entry)
    folio.lock.release()
    delete_from_swap_cache(system, folio)
    folio_put(folio)


def unlock_and_put(folio: Folio) -> None:
    """The end of the race path in mm/zswap.c:zswap_writeback_entry, 6.8."""
    folio.lock.release()
    folio_put(folio)


def unlock_only(folio: Folio) -> None:
    """Mutation: the reference stays."""
    folio.lock.release()


def nothing(folio: Folio) -> None:
    """The same, 6.4: all is left as it is."""


def reuse_slot(system: System) -> None:
    """The owner faults slot X in, which frees it, and another page is swapped out to it."""
    folio = read_swap_cache_async(system)
    if folio is None:
        return
    found = system.tree.store(X, Entry("B"))
    if found:
        kfree(found)
    folio.lock.release()
    delete_from_swap_cache(system, folio)
    folio_put(folio)


def program(label: str, give_up: Cleanup) -> Program[System]:
    """Slot X is written back while it changes hands."""
    return Program(
        f"{NAME}: {label}",
        System,
        {"CPU0": lambda system: zswap_writeback_entry(system, system.entry, give_up), "CPU1": reuse_slot},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix missing folio cleanup in writeback race path",
    references=("e3b63e966cac0bf78aaa1efede1827a252815a1d",),
    story=(
        "When writeback finds that its entry is gone from the tree, it leaves the folio it has made locked and"
        " referenced: who waits for it waits for ever, and its memory is lost."
    ),
    broken={
        "neither unlocked nor put": program("left as it is", nothing),
        "unlocked, but not put": program("not put", unlock_only),
    },
    fixed={"unlocked and put": program("cleaned up", unlock_and_put)},
    finds=frozenset({"lock misuse", "leak"}),
)
