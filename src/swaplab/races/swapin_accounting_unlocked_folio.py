"""A swapin is counted for the lruvec of a folio that is not locked any more.

The count that protects a memcg's zswap entries is in its lruvec, which is found through the folio. A folio's memcg is
stable while the folio is locked. The swapin used to be counted after the read, which unlocks it: by then migration may
have moved the charge to another folio, so that it counts for the root; or the memcg may be gone between the two.

Differs: a folio's charge is the only thing that still keeps its memcg, which is offline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Mutex, Shared, XArray, kfree_rcu
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "swapin-accounting-unlocked-folio"
X = 0


class Lruvec(Shared):
    """struct lruvec, which lives as long as its memcg."""

    name: Final[str]

    def __init__(self, name: str) -> None:
        self.name = f"{name}.lruvec"
        self.nr_disk_swapins = Atomic(self, "nr_disk_swapins")


class Folio(Shared):
    """struct folio; the one that is made for a swapin is locked from the start."""

    name: Final[str]
    memcg_data: Lruvec | None

    def __init__(self, lruvec: Lruvec) -> None:
        self.name = "F"
        self.memcg_data = lruvec
        self.lock = Mutex(self, "PG_locked")


class System(Shared):
    """The root and a child whose page is on the disk."""

    def __init__(self) -> None:
        self.root, self.child = Lruvec("root"), Lruvec("child")
        self.swap_cache: XArray[Folio] = XArray(None, "swap_cache")


Uncharge = Callable[[Lruvec], object]


def zswap_folio_swapin(system: System, folio: Folio) -> None:
    """mm/zswap.c:zswap_folio_swapin, 6.12."""
    lruvec = READ_ONCE(folio).memcg_data or system.root
    lruvec.nr_disk_swapins.add(1)


def count_and_read(system: System, folio: Folio) -> None:
    """mm/swap_state.c:swap_cluster_readahead, 6.12: the read unlocks the folio."""
    zswap_folio_swapin(system, folio)
    folio.lock.release()


def read_and_count(system: System, folio: Folio) -> None:
    """The same, 6.7."""
    folio.lock.release()
    zswap_folio_swapin(system, folio)


def swap_cluster_readahead(system: System, read: Callable[[System, Folio], None]) -> None:
    """mm/swap_state.c:swap_cluster_readahead and __read_swap_cache_async, 6.12."""
    folio = Folio(system.child)
    folio.lock.acquire()
    system.swap_cache.store(X, folio)
    read(system, folio)


def mem_cgroup_migrate(system: System, uncharge: Uncharge) -> None:
    """mm/memcontrol.c:mem_cgroup_migrate, 6.12: the charge goes to another folio, and may go from there."""
    folio = system.swap_cache.load(X)
    if folio is None:
        return
    with folio.lock:
        lruvec = READ_ONCE(folio).memcg_data
        WRITE_ONCE(folio).memcg_data = None
    if lruvec:
        uncharge(lruvec)


def keep(lruvec: Lruvec) -> None:
    """The other folio stays charged."""


def program(label: str, read: Callable[[System, Folio], None], uncharge: Uncharge) -> Program[System]:
    """A folio migrates after it was swapped in; its charge stays, or goes and the memcg with it."""
    return Program(
        f"{NAME}: {label}",
        System,
        {
            "CPU0": lambda system: swap_cluster_readahead(system, read),
            "CPU1": lambda system: mem_cgroup_migrate(system, uncharge),
        },
        {"nothing is counted for the root": lambda system: system.root.nr_disk_swapins.value == 0},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/swap_state: update zswap LRU's protection range with the folio locked",
    references=("16e96ba5e92ce06b54f0862d44bb27bfa00d6c23",),
    story=(
        "A swapin is counted for the lruvec of its folio after the folio was unlocked: the folio may have lost its"
        " memcg by then, and the memcg its life."
    ),
    broken={
        "counted after the read, while the folio migrates": program("unlocked, migrated", read_and_count, keep),
        "counted after the read, while the memcg goes": program("unlocked, freed", read_and_count, kfree_rcu),
    },
    fixed={
        "counted before the read, while the folio migrates": program("locked, migrated", count_and_read, keep),
        "counted before the read, while the memcg goes": program("locked, freed", count_and_read, kfree_rcu),
    },
    finds=frozenset({"invariant broken", "use after free"}),
)
