"""A memcg that is freed while the list for one of its objects is looked up.

An object of a slab knows its memcg through its objcg, which keeps no memcg: when that goes offline, the objcg names the
parent. list_lru_add_obj() read the memcg outside of any RCU section and then asked it for its id. That the lookup alone
be such a section was proposed and rejected: the memcg has to stay until the list is found and changed.

Differs: the object is a zswap entry; the objcgs hold the last references to the child.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child with an object that is on no list yet."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.item = ZswapEntry("I", Objcg(self.child))


def mem_cgroup_from_slab_obj(item: ZswapEntry) -> Memcg:
    """mm/memcontrol.c:mem_cgroup_from_slab_obj, 6.12."""
    return READ_ONCE(item.objcg).memcg


def list_lru_add(lru: ListLru, item: ZswapEntry, memcg: Memcg) -> None:
    """mm/list_lru.c:list_lru_add, 6.12."""
    with lru.lock:
        list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id).list.add_tail(item.lru)


def without_rcu(system: System) -> None:
    """mm/list_lru.c:list_lru_add_obj, 6.8 to 6.10."""
    list_lru_add(system.lru, system.item, mem_cgroup_from_slab_obj(system.item))


def rcu_around_lookup(system: System) -> None:
    """What was proposed first."""
    with rcu:
        memcg = mem_cgroup_from_slab_obj(system.item)
    list_lru_add(system.lru, system.item, memcg)


def rcu_around_both(system: System) -> None:
    """mm/list_lru.c:list_lru_add_obj, 6.12."""
    with rcu:
        list_lru_add(system.lru, system.item, mem_cgroup_from_slab_obj(system.item))


def mem_cgroup_css_offline(system: System) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline, 6.12, and the release of the child, which follows it here."""
    WRITE_ONCE(system.item.objcg).memcg = system.parent
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
        target.list.splice(source.list)
    kfree_rcu(system.child)


def program(label: str, list_lru_add_obj: Callable[[System], None]) -> Program[System]:
    """An object is added while its memcg goes offline."""
    return Program(
        f"slab-obj-memcg-no-rcu: {label}",
        System,
        {"CPU0": list_lru_add_obj, "CPU1": mem_cgroup_css_offline},
        {"item I is on the parent's list": lambda s: s.item in s.lru.xa.items[1].list.entries()},
    )


EXHIBIT = Exhibit(
    name="slab-obj-memcg-no-rcu",
    title="mm: list_lru: fix UAF for memory cgroup",
    references=("5161b48712dcd08ec427c450399d4d1483e21dea", "CVE-2024-43888", "0a97c01cd20b"),
    story="list_lru_add_obj() asked a memcg for its id that nothing kept alive.",
    broken={
        "no RCU": program("no RCU", without_rcu),
        "RCU around the lookup": program("RCU around the lookup", rcu_around_lookup),
    },
    fixed={"RCU around lookup and add": program("RCU around both", rcu_around_both)},
    finds=frozenset({"use after free"}),
)
