"""A swapin waits for itself: its own memory comes from writing back the very page it swaps in.

To swap in is to pin the slot first and to add the folio to the swap cache later; whoever finds a slot pinned and no
folio tries again until there is one. In between the folio is charged, which may reclaim memory, which may write back
from zswap, which goes through the same function: for the same slot it finds the pin of its own caller, and waits.

Differs: the charge always reclaims, and reclaim is a call. What waits for a pin waits until anything has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EEXIST
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import ListHead, ListNode, Shared, SpinLock, XArray, kfree, relax
from swaplab.races.exhibit import Exhibit
from swaplab.races.slots import SWAP_HAS_CACHE, SwapSlot, swapcache_prepare

__all__ = ["EXHIBIT"]

NAME = "swapcache-self-wait"
X = 0


class Entry(Shared):
    """struct zswap_entry."""

    name: Final[str]

    def __init__(self) -> None:
        self.name = "E"
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class Folio(Shared):
    """struct folio; what is in it does not matter here."""


class System(Shared):
    """The entry of slot X is the coldest in zswap."""

    def __init__(self) -> None:
        self.slot = SwapSlot(1)
        self.swap_cache: XArray[Folio] = XArray(None, "swap_cache")
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.lru: ListHead[Entry] = ListHead(None, "lru")
        self.lru_lock = SpinLock(None, "lru_lock")
        entry = Entry()
        self.tree.store(X, entry)
        self.lru.add(entry.lru)


Swapin = Callable[..., Folio | None]


def swapin_in_two_steps(system: System, charge: Callable[[], object], skip_if_exists: bool = False) -> Folio | None:
    """mm/swap_state.c:__read_swap_cache_async, 6.12; return the folio if it is a new one."""
    while system.swap_cache.load(X) is None:
        error = swapcache_prepare(system.slot)
        if not error:
            folio = Folio()
            charge()
            system.swap_cache.store(X, folio)
            return folio
        if error != -EEXIST or skip_if_exists:
            return None
        relax()
    return None


def swapin_without_skip(system: System, charge: Callable[[], object], skip_if_exists: bool = False) -> Folio | None:
    """The same, before there was skip_if_exists."""
    return swapin_in_two_steps(system, charge)


def swapin_in_one_step(system: System, charge: Callable[[], object], skip_if_exists: bool = False) -> Folio | None:
    """The same, once the pin and the folio in the swap cache were made one."""
    folio = Folio()
    with system.slot.lock:
        found = system.slot.swap_map
        is_ours = found and not found & SWAP_HAS_CACHE
        if is_ours:
            system.slot.swap_map = found | SWAP_HAS_CACHE
            system.swap_cache.store(X, folio)
    if not is_ours:
        kfree(folio)
        return None
    charge()
    return folio


def zswap_invalidate(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_free, 6.12, of an entry that is in the tree."""
    if system.tree.cmpxchg(X, entry, None) is entry:
        with system.lru_lock:
            entry.lru.delete()
        kfree(entry)


def shrink_memcg_cb(system: System, swapin: Swapin) -> None:
    """mm/zswap.c:shrink_memcg_cb and zswap_writeback_entry, 6.12, as called for memory."""
    with system.lru_lock:
        entry = system.lru.first()
    if entry and swapin(system, lambda: None, skip_if_exists=True):
        zswap_invalidate(system, entry)


def swapin_readahead(system: System, swapin: Swapin) -> None:
    """mm/swap_state.c:swapin_readahead, 6.12: the folio is charged to a memcg at its limit."""
    if swapin(system, lambda: shrink_memcg_cb(system, swapin)):
        entry = system.tree.load(X)
        if entry:
            zswap_invalidate(system, entry)


def program(label: str, swapin: Swapin) -> Program[System]:
    """Slot X is swapped in while kswapd shrinks zswap."""
    return Program(
        f"{NAME}: {label}",
        System,
        {"CPU0": lambda system: swapin_readahead(system, swapin), "kswapd": lambda s: shrink_memcg_cb(s, swapin)},
        {
            "slot X is in the swap cache": lambda system: X in system.swap_cache.items,
            "and no more in zswap": lambda system: not system.tree.items,
        },
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm, swap: remove workaround for unsynchronized swap map cache state",
    references=(
        "a65b0e7607cc",
        "de85024b34839e9c476b6f93c3104e920bd9d270",
        "CAKEwX=NeqxF4BsOYbSpVdFvBek1+OmTNhYAQ2S1EYg+2xAxLQw@mail.gmail.com",
    ),
    story=(
        "The charge of a folio that is swapped in reclaims memory by writing back from zswap: the same slot, which it"
        " finds pinned by its own caller, and waits for."
    ),
    broken={"writeback waits for the pin": program("waits", swapin_without_skip)},
    fixed={
        "writeback gives up on a pinned slot": program("gives up", swapin_in_two_steps),
        "pin and folio come at once": program("at once", swapin_in_one_step),
    },
    finds=frozenset({"stuck in a retry loop"}),
)
