"""A list that two tasks change under different locks, as it is no longer found while it still has items.

Since 6.13 every memcg's list has a lock of its own. Who does not find a memcg's list, or finds it dead, goes on to the
parent's. Reparenting used to clear the child's entry in the array first and to drain the list after that: a
list_lru_del() in between took the parent's lock and unlinked its item from the child's list, beside whoever still held
that list's own lock. Now a list is drained and marked dead under its own lock, and disappears afterwards.

Differs: items belong to the memcg for as long as they live; what reparenting does to objcgs is another exhibit.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import Shared, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]

LONG_MIN = -(1 << 63)


class System(Shared):
    """A child with two items."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.items = tuple(ZswapEntry(name, Objcg(self.child)) for name in ("I", "J"))
        child = list_lru_from_memcg_idx(self.lru, 2)
        for item in self.items:
            child.list.add_tail(item.lru)
        child.nr_items = len(self.items)


def lock_list_lru_of_memcg(lru: ListLru, memcg: Memcg) -> ListLruOne:
    """mm/list_lru.c:lock_list_lru_of_memcg, 6.13: lock the nearest list that is there and alive."""
    with rcu:
        while True:
            one = list_lru_from_memcg_idx(lru, memcg.kmemcg_id)
            if one and lock_list_lru(one):
                return one
            memcg = memcg.parent


def lock_list_lru(one: ListLruOne) -> bool:
    """mm/list_lru.c:lock_list_lru, 6.13."""
    one.lock.acquire()
    if one.nr_items == LONG_MIN:
        one.lock.release()
        return False
    return True


def list_lru_del(system: System, item: ZswapEntry) -> None:
    """mm/list_lru.c:list_lru_del, 6.13."""
    one = lock_list_lru_of_memcg(system.lru, system.child)
    item.lru.delete()
    one.nr_items -= 1
    one.lock.release()


def memcg_reparent_list_lru_one(source: ListLruOne, target: ListLruOne) -> None:
    """mm/list_lru.c:memcg_reparent_list_lru_one, 6.13."""
    with source.lock, target.lock:
        target.list.splice(source.list)
        target.nr_items += source.nr_items
        source.nr_items = LONG_MIN


def clear_and_drain(lru: ListLru) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.13."""
    source = lru.xa.erase(2)
    if source:
        memcg_reparent_list_lru_one(source, list_lru_from_memcg_idx(lru, 1))
        kfree_rcu(source)


def drain_and_clear(lru: ListLru) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, after 98733f3f0bec."""
    source = list_lru_from_memcg_idx(lru, 2)
    memcg_reparent_list_lru_one(source, list_lru_from_memcg_idx(lru, 1))
    lru.xa.erase(2)
    kfree_rcu(source)


def program(label: str, reparent: Callable[[ListLru], None]) -> Program[System]:
    """Two items are deleted while their memcg goes offline."""
    return Program(
        f"xarray-cleared-before-drain: {label}",
        System,
        {
            "CPU0": lambda system: list_lru_del(system, system.items[0]),
            "CPU1": lambda system: reparent(system.lru),
            "CPU2": lambda system: list_lru_del(system, system.items[1]),
        },
        {"lists are as long as they say": are_counted},
    )


def are_counted(system: System) -> bool:
    """Tell whether the lists that are left are as long as they say."""
    return all(one.nr_items == len(one.list.nodes()) for one in system.lru.xa.items.values())


EXHIBIT = Exhibit(
    name="xarray-cleared-before-drain",
    title="mm/list_lru: drain before clearing xarray entry on reparent",
    references=(
        "98733f3f0becb1ae0701d021c1748e974e5fa55c",
        "CVE-2026-53153",
        "20260601161501.1444829-1-shakeel.butt@linux.dev",
        "fb56fdf8b9a2",
    ),
    story=(
        "A memcg's list could not be found any more while it still had items: who deleted one took the parent's lock,"
        " and changed the child's list beside the holder of that list's own."
    ),
    broken={"cleared, then drained": program("cleared first", clear_and_drain)},
    fixed={"drained, then cleared": program("drained first", drain_and_clear)},
    finds=frozenset({"list corruption"}),
)
