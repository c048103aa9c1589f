"""Splicing an offline memcg's lists when it is released, as was proposed, instead of when it goes offline.

As long as anything else holds the memcg, and a page in the page cache can do that for ever, its entries stay on a list
that reclaim does not look at, since it skips offline memcgs. And an entry that is freed meanwhile is taken off that
list, but counted off the parent's, which its objcg names by then: no splice follows that would put this right. If the
objcgs too kept naming the child until its release, it would wait for itself, for they hold a reference to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child that is online, held by that, by its objcgs and by `pages`, and an entry of it, on no list yet.

    Attributes:
        is_released: whether the child was.
    """

    is_released: bool

    def __init__(self, pages: int) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.entry = ZswapEntry("E", Objcg(self.child))
        self.lru = ListLru(self.parent, self.child)
        self.refcnt = Atomic(self.child, "css.refcnt", 2 + pages)
        self.is_released = False


def mem_cgroup_list(system: System) -> ListLruOne:
    """Return the list of the memcg that the entry's objcg names, as list_lru_add and list_lru_del of 6.12 do."""
    memcg = READ_ONCE(system.entry.objcg).memcg
    return list_lru_from_memcg_idx(system.lru, READ_ONCE(memcg).kmemcg_id)


def zswap_lru_add(system: System) -> None:
    """mm/zswap.c:zswap_lru_add, 6.12."""
    with rcu, system.lru.lock:
        one = mem_cgroup_list(system)
        one.list.add_tail(system.entry.lru)
        one.nr_items += 1


def zswap_lru_del(system: System) -> None:
    """mm/zswap.c:zswap_lru_del, 6.12."""
    with rcu, system.lru.lock:
        one = mem_cgroup_list(system)
        system.entry.lru.delete()
        one.nr_items -= 1


def memcg_reparent_objcgs(system: System, protocol: Protocol) -> None:
    """mm/memcontrol.c:memcg_reparent_objcgs, 6.12."""
    WRITE_ONCE(system.entry.objcg).memcg = system.parent
    css_put(system, protocol)


def memcg_reparent_list_lrus(system: System, protocol: Protocol) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
        target.list.splice(source.list)
        target.nr_items += source.nr_items
        source.nr_items = 0


Stage = tuple[Callable[[System, "Protocol"], None], ...]


@dataclass(frozen=True)
class Protocol:
    """The work when a memcg goes offline, and the work when there is no reference to it any more."""

    offline: Stage = (memcg_reparent_objcgs, memcg_reparent_list_lrus)
    released: Stage = ()


def mem_cgroup_css_offline(system: System, protocol: Protocol) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline, 6.12; being online was one of the references."""
    for reparent in protocol.offline:
        reparent(system, protocol)
    css_put(system, protocol)


def css_put(system: System, protocol: Protocol) -> None:
    """include/linux/cgroup_refcnt.h:css_put, 6.12, with mm/memcontrol.c:mem_cgroup_css_released."""
    if system.refcnt.dec_and_test():
        WRITE_ONCE(system).is_released = True
        for reparent in protocol.released:
            reparent(system, protocol)


def is_scanned(system: System) -> bool:
    """Tell whether the entry is on the list of the memcg that is online."""
    return system.entry in system.lru.xa.items[1].list.entries()


def are_counted(system: System) -> bool:
    """Tell whether lists are as long as they say."""
    return all(one.nr_items == len(one.list.nodes()) for one in system.lru.xa.items.values())


def storing(label: str, protocol: Protocol, pages: int) -> Program[System]:
    """An entry is stored, and stays, while its memcg goes offline."""
    return Program(
        f"reparent-list-lru-at-release: {label}",
        lambda: System(pages),
        {"CPU0": zswap_lru_add, "CPU1": lambda system: mem_cgroup_css_offline(system, protocol)},
        {"entry E is on a list that reclaim scans": is_scanned}
        if pages
        else {"child is released, as nothing holds it": lambda system: system.is_released},
    )


def freeing(label: str, protocol: Protocol) -> Program[System]:
    """An entry is freed while its memcg goes offline."""

    def setup() -> System:
        system = System(pages=1)
        zswap_lru_add(system)
        return system

    return Program(
        f"reparent-list-lru-at-release: {label}",
        setup,
        {"CPU0": zswap_lru_del, "CPU1": lambda system: mem_cgroup_css_offline(system, protocol)},
        {"lists are as long as they say": are_counted},
    )


PROPOSED = Protocol((memcg_reparent_objcgs,), (memcg_reparent_list_lrus,))
UNDERSTOOD = Protocol((), (memcg_reparent_objcgs, memcg_reparent_list_lrus))

EXHIBIT = Exhibit(
    name="reparent-list-lru-at-release",
    title="Re: [PATCH v4 2/5] zswap: make shrinking memcg-aware (list_lru reparenting at css release)",
    references=(
        "20231101012614.186996-1-nphamcs@gmail.com",
        "CAJD7tkZV9NaPUzjZYQAx=D-vDEXZH46=Dn5zEuMHnsybT+HLAw@mail.gmail.com",
        "CAKEwX=N3MsBJ2YW7N=am4MSAqZC5O32Ooz96ec_J_RyhCts=qg@mail.gmail.com",
    ),
    story=(
        "Proposed against a race that is none, objected to, and dropped: an offline memcg that is still in use would"
        " keep its entries out of reach. That objcgs then wait for themselves was an objection to more than was meant;"
        " the counter that drifts was not brought up."
    ),
    broken={
        "lists at release, and a page holds the memcg": storing("out of reach", PROPOSED, pages=1),
        "lists at release, and an entry is freed": freeing("miscounted", PROPOSED),
        "lists and objcgs at release": storing("never released", UNDERSTOOD, pages=0),
    },
    fixed={
        "both at offline, and a page holds the memcg": storing("in reach", Protocol(), pages=1),
        "both at offline, and an entry is freed": freeing("counted", Protocol()),
        "both at offline": storing("released", Protocol(), pages=0),
    },
    finds=frozenset({"invariant broken"}),
)
