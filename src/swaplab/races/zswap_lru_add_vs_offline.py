"""A late list_lru_add() that an offlining memcg's list was said to swallow, and why it does not.

An entry is put on the list of the memcg that its objcg names. If that memcg goes offline in between, its list is
spliced into the parent's and freed: whoever still adds to it would lose the entry. Three ways to look the memcg up were
said to be too weak: RCU, css_tryget and css_tryget_online. They are not. The memcg's kmemcg_id names the parent before
any list is spliced, and who adds reads it under the lock that splicing takes. What makes this so is taken away here,
one piece at a time.

Differs: the objcgs hold the last references to the child.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, kfree, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child and its parent, and an entry of the child that is being stored."""

    def __init__(self, is_parent_ready: bool) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.entry = ZswapEntry("E", Objcg(self.child))
        self.lru = ListLru(self.parent, self.child) if is_parent_ready else ListLru(self.child)


def zswap_lru_add(system: System, list_lru_add: Add) -> None:
    """mm/zswap.c:zswap_lru_add, 6.12."""
    with rcu:
        list_lru_add(system.lru, system.entry, READ_ONCE(system.entry.objcg).memcg)


def zswap_lru_add_without_rcu(system: System, list_lru_add: Add) -> None:
    """Nothing keeps the memcg."""
    list_lru_add(system.lru, system.entry, READ_ONCE(system.entry.objcg).memcg)


def list_lru_add(lru: ListLru, entry: ZswapEntry, memcg: Memcg) -> None:
    """mm/list_lru.c:list_lru_add, 6.12."""
    with lru.lock:
        list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id).list.add_tail(entry.lru)


def list_lru_add_to_known(lru: ListLru, entry: ZswapEntry, memcg: Memcg) -> None:
    """Which list it is, is decided before it is locked."""
    kmemcg_id = READ_ONCE(memcg).kmemcg_id
    with lru.lock:
        list_lru_from_memcg_idx(lru, kmemcg_id).list.add_tail(entry.lru)


def list_lru_walk_node(lru: ListLru, index: int) -> None:
    """mm/list_lru.c:list_lru_walk_node, 6.12: walks what is found under an index, whichever memcg has that now."""
    with lru.lock:
        one = list_lru_from_memcg_idx(lru, index)
        if one:
            one.list.first()


def memcg_reparent_list_lru_node(lru: ListLru, source: int, target: int) -> None:
    """mm/list_lru.c:memcg_reparent_list_lru_node, 6.12."""
    with lru.lock:
        list_lru_from_memcg_idx(lru, target).list.splice(list_lru_from_memcg_idx(lru, source).list)


def memcg_reparent_list_lrus(system: System) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12: first the name, then the list."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    memcg_reparent_list_lru_node(system.lru, 2, 1)


def memcg_reparent_list_lrus_first(system: System) -> None:
    """First the list, then the name."""
    memcg_reparent_list_lru_node(system.lru, 2, 1)
    WRITE_ONCE(system.child).kmemcg_id = 1


Add = Callable[[ListLru, ZswapEntry, Memcg], None]


@dataclass(frozen=True)
class Protocol:
    """What keeps a late add from being lost."""

    look_up: Callable[[System, Add], None] = zswap_lru_add
    add: Add = list_lru_add
    reparent: Callable[[System], None] = memcg_reparent_list_lrus
    free_list: Callable[[Shared], None] = kfree_rcu
    is_parent_ready: bool = True


def mem_cgroup_css_offline(system: System, protocol: Protocol) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline, 6.12, and the release of the child, which follows it here."""
    WRITE_ONCE(system.entry.objcg).memcg = system.parent
    protocol.reparent(system)
    if one := system.lru.xa.erase(2):
        protocol.free_list(one)
    kfree_rcu(system.child)


def program(label: str, protocol: Protocol, is_walked: bool = False) -> Program[System]:
    """Something is done to the child's list while the child goes offline: an entry is added, or the list walked."""
    adding = {"entry E is on a list that reclaim can reach": is_reachable}
    return Program(
        f"zswap-lru-add-vs-offline: {label}",
        lambda: System(protocol.is_parent_ready),
        {
            "CPU0": lambda s: list_lru_walk_node(s.lru, 2) if is_walked else protocol.look_up(s, protocol.add),
            "CPU1": lambda s: mem_cgroup_css_offline(s, protocol),
        },
        {} if is_walked else adding,
    )


def is_reachable(system: System) -> bool:
    """Tell whether reclaim finds the entry on the parent's list."""
    return system.entry in system.lru.xa.items[1].list.entries()


EXHIBIT = Exhibit(
    name="zswap-lru-add-vs-offline",
    title="Re: [PATCH v4 2/5] zswap: make shrinking memcg-aware",
    references=(
        "20231101012614.186996-1-nphamcs@gmail.com",
        "B0D87683-DD13-4787-8188-98CEBF561B99@linux.dev",
        "a65b0e7607cc",
    ),
    story=(
        "An entry that is added while its memcg goes offline was said to end up on a list that nobody looks at. It does"
        " not: the memcg names its parent's list before its own is spliced, and who adds reads that under the lock."
    ),
    broken={
        "the list is chosen before it is locked": program("chosen early", Protocol(add=list_lru_add_to_known)),
        "the id changes after the splice": program("renamed late", Protocol(reparent=memcg_reparent_list_lrus_first)),
        "no RCU around lookup and add": program("no RCU", Protocol(look_up=zswap_lru_add_without_rcu)),
        "the parent has no list yet": program("no list", Protocol(is_parent_ready=False)),
        "the list is freed without a grace period": program("freed at once", Protocol(free_list=kfree), is_walked=True),
    },
    fixed={
        "as it is, and adding": program("adding", Protocol()),
        "as it is, and walking": program("walking", Protocol(), is_walked=True),
    },
    finds=frozenset({"invariant broken", "null dereference", "use after free"}),
)
