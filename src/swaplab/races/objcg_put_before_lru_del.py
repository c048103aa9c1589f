"""An entry that is freed gives up its objcg, and then asks the objcg which list the entry is on.

The reference to the objcg is what keeps it, and so the name of the memcg whose list has the entry. If it is the last
one, because the memcg has gone offline, a grace period later the objcg is no more. To be taken off the list comes
first, then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    ListHead,
    ListNode,
    PercpuRef,
    Shared,
    SpinLock,
    kfree,
    kfree_rcu,
    rcu,
)
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "objcg-put-before-lru-del"


class Memcg(Shared):
    """struct mem_cgroup with its struct list_lru_one."""

    name: Final[str]
    nr_items: int

    def __init__(self, name: str, nr_items: int) -> None:
        self.name = name
        self.nr_items = nr_items
        self.list: ListHead[Entry] = ListHead(self, "list")


class Objcg(Shared):
    """struct obj_cgroup."""

    name: Final[str]
    memcg: Memcg

    def __init__(self, memcg: Memcg) -> None:
        self.name = f"{memcg.name}.objcg"
        self.memcg = memcg
        self.refcnt = PercpuRef(self, "refcnt", lambda: kfree_rcu(self))


class Entry(Shared):
    """struct zswap_entry, which has a reference to its objcg."""

    name: Final[str]
    objcg: Objcg

    def __init__(self, objcg: Objcg) -> None:
        self.name = "E"
        self.objcg = objcg
        self.lru: ListNode[Entry] = ListNode(self, "lru")


class System(Shared):
    """Entry E is charged to a child, and on its list."""

    def __init__(self) -> None:
        self.parent, self.child = Memcg("parent", 0), Memcg("child", 1)
        self.lock = SpinLock(None, "nlru.lock")
        self.objcg = Objcg(self.child)
        self.objcg.refcnt.get()
        self.entry = Entry(self.objcg)
        self.child.list.add(self.entry.lru)


def zswap_lru_del(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_lru_del, with mm/list_lru.c:list_lru_del, 6.12."""
    with rcu:
        memcg = READ_ONCE(entry.objcg).memcg
        with system.lock:
            entry.lru.delete()
            memcg.nr_items -= 1


def put_last(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_free, 6.8."""
    zswap_lru_del(system, entry)
    entry.objcg.refcnt.put()
    kfree(entry)


def put_first(system: System, entry: Entry) -> None:
    """The same, 6.7: mm/zswap.c:zswap_free_entry."""
    entry.objcg.refcnt.put()
    zswap_lru_del(system, entry)
    kfree(entry)


def mem_cgroup_css_offline(system: System) -> None:
    """mm/memcontrol.c:memcg_reparent_objcgs and mm/list_lru.c:memcg_reparent_list_lrus, 6.8."""
    WRITE_ONCE(system.objcg).memcg = system.parent
    system.objcg.refcnt.kill()
    with system.lock:
        system.parent.list.splice(system.child.list)
        system.parent.nr_items += system.child.nr_items
        system.child.nr_items = 0


def program(label: str, zswap_entry_free: Callable[[System, Entry], None]) -> Program[System]:
    """Entry E is freed while its memcg goes offline."""
    return Program(
        f"{NAME}: {label}",
        System,
        {"CPU0": lambda system: zswap_entry_free(system, system.entry), "CPU1": mem_cgroup_css_offline},
        {"nothing is counted on the lists": lambda system: system.parent.nr_items + system.child.nr_items == 0},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix objcg use-after-free in entry destruction",
    references=("2e601e1e8e4b330020a346c55ba111d49e0b188e",),
    story=(
        "A zswap entry that is freed puts its objcg before it is taken off the LRU, which asks the objcg for the memcg:"
        " after the memcg has gone offline, that may have been the last reference."
    ),
    broken={"the objcg is put first": program("put first", put_first)},
    fixed={"the objcg is put last": program("put last", put_last)},
    finds=frozenset({"use after free"}),
)
