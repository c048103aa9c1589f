"""Suspected in 7.2: an item is taken off one list under the lock of another, which a recycled ID has led to.

Lists of a memcg are found by its private ID, which is free as soon as nobody needs it, without a grace period, and the
next mkdir gets the lowest that is free. Whoever has read in an RCU section that an entry is of a memcg may come back to
find that memcg offline, its lists at the parent's, its ID free, and a new cgroup's lists where its own were: alive, and
not those that the entry is on. In 6.12 the ID is read under the lock of all lists, and is the parent's by then.

Usually something hides it: a swap slot needs the ID of whom it is charged to, and an entry has a slot. But a slot is
charged once, and who its entry is charged to is decided by each store: where the process has moved in between, an entry
holds no ID of its own memcg.

Modelled is what mm/list_lru.c, mm/memcontrol.c and mm/zswap.c of Debian's 7.2.13 do, as read: the entry is removed, its
memcg goes offline, another is made and gets lists, and the parent's list is added to. This was not seen on a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import (
    WRITE_ONCE,
    Shared,
    XArray,
    kfree_rcu,
    rcu,
    rcu_dereference,
    synchronize_rcu,
)
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["SUSPECT"]

LONG_MIN = -(1 << 63)
PARENT, CHILD, OTHER = 1, 2, 3


class System(Shared):
    """A child with an entry, which holds no ID of it.

    Attributes:
        ids: mem_cgroup_private_ids.
    """

    def __init__(self) -> None:
        self.parent = Memcg("parent", PARENT)
        self.child = Memcg("child", CHILD, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.ids: XArray[Memcg] = XArray(self, "ids")
        for memcg in (self.parent, self.child):
            self.ids.store(memcg.kmemcg_id, memcg)
        self.objcg = Objcg(self.child)
        self.entry, self.late = ZswapEntry("E", self.objcg), ZswapEntry("L", Objcg(self.parent))
        child = list_lru_from_memcg_idx(self.lru, CHILD)
        child.list.add_tail(self.entry.lru)
        child.nr_items = 1


def lock_list_lru_of_memcg(lru: ListLru, memcg: Memcg) -> ListLruOne:
    """mm/list_lru.c:lock_list_lru_of_memcg, 7.2: the nearest list that is there and alive. Under RCU."""
    while True:
        one = list_lru_from_memcg_idx(lru, memcg.kmemcg_id)
        if one:
            one.lock.acquire()
            if one.nr_items != LONG_MIN:
                return one
            one.lock.release()
        memcg = memcg.parent


def zswap_lru_del(system: System) -> None:
    """mm/zswap.c:zswap_lru_del, 7.2: an entry that is loaded."""
    with rcu:
        one = lock_list_lru_of_memcg(system.lru, rcu_dereference(system.objcg).memcg)
        system.entry.lru.delete()
        one.nr_items -= 1
        one.lock.release()


def zswap_lru_add(system: System) -> None:
    """mm/zswap.c:zswap_lru_add, 7.2: an entry of the parent's is stored."""
    with rcu:
        one = lock_list_lru_of_memcg(system.lru, system.parent)
        one.list.add_tail(system.late.lru)
        one.nr_items += 1
        one.lock.release()


def mem_cgroup_css_offline(system: System) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline, 7.2: lists, then objcgs."""
    source, target = list_lru_from_memcg_idx(system.lru, CHILD), list_lru_from_memcg_idx(system.lru, PARENT)
    with source.lock, target.lock:
        target.list.splice(source.list)
        target.nr_items += source.nr_items
        source.nr_items = LONG_MIN
    system.lru.xa.erase(CHILD)
    kfree_rcu(source)
    WRITE_ONCE(system.objcg).memcg = system.parent


def mkdir(system: System) -> None:
    """mm/memcontrol.c:mem_cgroup_alloc and mm/list_lru.c:memcg_list_lru_alloc, 7.2: the lowest ID that is free."""
    number = OTHER if system.ids.load(CHILD) else CHILD
    memcg = Memcg("new", number, system.parent)
    system.ids.store(number, memcg)
    system.lru.xa.store(number, ListLruOne(memcg))


def rmdir_and_mkdir(system: System, wait: Callable[[], None]) -> None:
    """One cgroup goes, and another comes."""
    mem_cgroup_css_offline(system)
    wait()
    system.ids.erase(CHILD)  # mem_cgroup_private_id_put
    mkdir(system)


def are_counted(system: System) -> bool:
    """Tell whether the lists that are left are as long as they say."""
    return all(one.nr_items == len(one.list.nodes()) for one in system.lru.xa.items.values())


def program(label: str, wait: Callable[[], None]) -> Program[System]:
    """An entry is removed while its memcg goes, and another gets the ID."""
    return Program(
        f"suspect-recycled-id: {label}",
        System,
        {"CPU0": zswap_lru_del, "CPU1": lambda system: rmdir_and_mkdir(system, wait), "CPU2": zswap_lru_add},
        {"lists are as long as they say": are_counted},
    )


SUSPECT = Exhibit(
    name="suspect-recycled-id",
    title="an entry is unlinked under the lock of a list that it is not on, found by a recycled ID",
    references=("mm/list_lru.c:lock_list_lru_of_memcg", "mm/memcontrol.c:mem_cgroup_private_id_put", "7.2.13"),
    story=(
        "Lists are found by an ID that is free at once: who still knows the old memcg finds the new one's list, alive,"
        " and changes the parent's under its lock."
    ),
    broken={"as in 7.2, the ID is free at once": program("free at once", lambda: None)},
    fixed={"the ID is free a grace period later": program("free a grace period later", synchronize_rcu)},
    finds=frozenset({"list corruption", "data race", "invariant broken"}),
)
