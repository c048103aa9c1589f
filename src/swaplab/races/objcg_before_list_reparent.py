"""Which goes first when a memcg goes offline: its objcgs, or its lists? The lock decides, and it was changed.

An entry knows its memcg through its objcg. With one lock for the lists of all memcgs, as up to 6.12, objcgs may name
the parent while entries are still on the child's list: who deletes one holds the lock of that list anyway. With a lock
for each list, as since 6.13, the parent's does not protect the child's list, and that has to be empty before any objcg
leads past it. So the order was turned around together with the locks.

Differs: the bug was in no release; it is what the locks of one and the order of the other would make together. The
array's entry is cleared last: see xarray-cleared-before-drain for what that is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]

LONG_MIN = -(1 << 63)


class System(Shared):
    """A child with two entries."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.objcg = Objcg(self.child)
        self.entry = ZswapEntry("E", self.objcg)
        child = list_lru_from_memcg_idx(self.lru, 2)
        for entry in (self.entry, ZswapEntry("F", self.objcg)):
            child.list.add_tail(entry.lru)


def lock_list_lru_node(lru: ListLru, memcg: Memcg) -> tuple[ListLruOne, SpinLock]:
    """Lock the lists of all memcgs, as in mm/list_lru.c, 6.12. Returns the memcg's, and the lock."""
    lru.lock.acquire()
    return list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id), lru.lock


def lock_list_lru_of_memcg(lru: ListLru, memcg: Memcg) -> tuple[ListLruOne, SpinLock]:
    """mm/list_lru.c:lock_list_lru_of_memcg, 6.13: lock the nearest list that is there and alive."""
    while True:
        one = list_lru_from_memcg_idx(lru, memcg.kmemcg_id)
        if one:
            one.lock.acquire()
            if one.nr_items != LONG_MIN:
                return one, one.lock
            one.lock.release()
        memcg = memcg.parent


def reparent_under_one_lock(system: System) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
        target.list.splice(source.list)


def reparent_under_both_locks(system: System) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.13."""
    source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
    with source.lock, target.lock:
        target.list.splice(source.list)
        source.nr_items = LONG_MIN


def memcg_reparent_objcgs(system: System) -> None:
    """mm/memcontrol.c:memcg_reparent_objcgs, 6.12."""
    WRITE_ONCE(system.objcg).memcg = system.parent


@dataclass(frozen=True)
class Locking:
    """How a memcg's list is locked, and how it is reparented."""

    lock: Callable[[ListLru, Memcg], tuple[ListLruOne, SpinLock]]
    reparent: Callable[[System], None]


ONE_LOCK = Locking(lock_list_lru_node, reparent_under_one_lock)
LOCK_PER_LIST = Locking(lock_list_lru_of_memcg, reparent_under_both_locks)


def zswap_lru_del(system: System, locking: Locking) -> None:
    """mm/zswap.c:zswap_lru_del, 6.12."""
    with rcu:
        _, lock = locking.lock(system.lru, READ_ONCE(system.objcg).memcg)
        system.entry.lru.delete()
        lock.release()


def list_lru_walk_one(system: System, locking: Locking) -> None:
    """mm/list_lru.c:list_lru_walk_one, 6.12, at the child, whose first entry is rotated."""
    with rcu:
        one, lock = locking.lock(system.lru, system.child)
        entry = one.list.first()
        if entry:
            one.list.move_tail(entry.lru)
        lock.release()


def memcg_offline_kmem(system: System, locking: Locking, objcgs_first: bool) -> None:
    """mm/memcontrol.c:memcg_offline_kmem, 6.12 if objcgs come first, 6.13 if not."""
    steps = (memcg_reparent_objcgs, locking.reparent)
    for step in steps if objcgs_first else reversed(steps):
        step(system)
    one = system.lru.xa.erase(2)
    if one:
        kfree_rcu(one)


def program(label: str, locking: Locking, *, objcgs_first: bool) -> Program[System]:
    """An entry is freed while the list it is on is walked, and its memcg goes offline."""
    return Program(
        f"objcg-before-list-reparent: {label}",
        System,
        {
            "CPU0": lambda system: zswap_lru_del(system, locking),
            "CPU1": lambda system: memcg_offline_kmem(system, locking, objcgs_first),
            "CPU2": lambda system: list_lru_walk_one(system, locking),
        },
        {"the other entry is all that is left": lambda system: len(system.lru.xa.items[1].list.nodes()) == 1},
    )


EXHIBIT = Exhibit(
    name="objcg-before-list-reparent",
    title="mm/list_lru: split the lock to per-cgroup scope",
    references=("fb56fdf8b9a2f7397f8a83dce50189f3f0cf71af",),
    story=(
        "Objcgs that name the parent lead to the parent's lock, while their entries are on the child's list: harmless"
        " as long as there is one lock for both, and the reason why lists go first since there is not."
    ),
    broken={"a lock per list, objcgs first": program("6.13 locks, 6.12 order", LOCK_PER_LIST, objcgs_first=True)},
    fixed={
        "one lock, objcgs first": program("6.12", ONE_LOCK, objcgs_first=True),
        "a lock per list, lists first": program("6.13", LOCK_PER_LIST, objcgs_first=False),
        "one lock, lists first": program("6.12 locks, 6.13 order", ONE_LOCK, objcgs_first=False),
    },
    finds=frozenset({"list corruption"}),
)
