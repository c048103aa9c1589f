"""A warning that syzbot met and that was not explained: a memcg that is not dying has no list.

Since 6.13 the list of a memcg may only be missing, or dead, if the memcg is dying, and list_lru_add() warns if not. One
cause was found and mended: a shadow node of the page cache whose list was never set up. For the rest there are
hypotheses, of which this is Kairui Song's. If css_online() fails after the memcg's kmem part is online, the error path
takes that offline again, lists and all, while the memcg is not marked as dying, as nobody has killed it. Whoever adds
an object of it then meets the warning. Reclaim, which sees memcgs that are not online yet, does not: it skips what is
not there.

Differs: that somebody can have an object of such a memcg is assumed. Whether that is possible is the open question, to
which this is no answer.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, KernelWarning, Shared, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]

LONG_MIN = -(1 << 63)


class System(Shared):
    """A memcg that is being made, and an object for it."""

    def __init__(self, has_list: bool) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child) if has_list else ListLru(self.parent)
        self.item = ZswapEntry("I", Objcg(self.child))


def lock_list_lru_of_memcg(lru: ListLru, memcg: Memcg) -> ListLruOne:
    """mm/list_lru.c:lock_list_lru_of_memcg, 6.13, for callers that do not skip missing lists."""
    with rcu:
        while True:
            one = list_lru_from_memcg_idx(lru, memcg.kmemcg_id)
            if one:
                one.lock.acquire()
                if one.nr_items != LONG_MIN:
                    return one
                one.lock.release()
            if not READ_ONCE(memcg).is_dying:
                raise KernelWarning(f"{memcg.label} has no list, and is not dying")
            memcg = memcg.parent


def list_lru_add(system: System) -> None:
    """mm/list_lru.c:list_lru_add, 6.13."""
    one = lock_list_lru_of_memcg(system.lru, system.child)
    one.list.add_tail(system.item.lru)
    one.lock.release()


def list_lru_walk_one(system: System) -> None:
    """mm/list_lru.c:list_lru_walk_one, 6.13: skips what is missing."""
    with rcu:
        one = list_lru_from_memcg_idx(system.lru, system.child.kmemcg_id)
        if one:
            with one.lock:
                one.list.first()


def alloc_shadow_node(system: System) -> None:
    """lib/xarray.c:xas_alloc, 6.12, with a list_lru to be told of: memcg_list_lru_alloc() makes the list."""
    if not list_lru_from_memcg_idx(system.lru, 2):
        system.lru.xa.store(2, ListLruOne(system.child))
    list_lru_add(system)


def memcg_offline_kmem(system: System) -> None:
    """mm/memcontrol.c:memcg_offline_kmem, 6.13, with the order of xarray-cleared-before-drain's fix."""
    source = list_lru_from_memcg_idx(system.lru, 2)
    target = list_lru_from_memcg_idx(system.lru, 1)
    with source.lock, target.lock:
        target.list.splice(source.list)
        source.nr_items = LONG_MIN
    system.lru.xa.erase(2)
    kfree_rcu(source)


def fail_online(system: System) -> None:
    """mm/memcontrol.c:mem_cgroup_css_online, 6.12, which gets no memory for alloc_shrinker_info()."""
    memcg_offline_kmem(system)


def kill_css(system: System) -> None:
    """kernel/cgroup/cgroup.c:kill_css, 6.12, and what follows when all have seen it."""
    WRITE_ONCE(system.child).is_dying = True
    memcg_offline_kmem(system)


def program(label: str, *tasks: Callable[[System], None], has_list: bool = True) -> Program[System]:
    """Something is done with a memcg while it comes or goes."""
    return Program(
        f"live-memcg-without-list: {label}",
        lambda: System(has_list),
        {f"CPU{number}": task for number, task in enumerate(tasks)},
    )


EXHIBIT = Exhibit(
    name="live-memcg-without-list",
    title="WARNING in lock_list_lru_of_memcg",
    references=(
        "675d01e9.050a0220.37aaf.00be.GAE@google.com",
        "690b99ab.050a0220.baf87.0057.GAE@google.com",
        "20241222122936.67501-1-ryncsn@gmail.com",
    ),
    story=(
        "Unexplained: a memcg has no list and is not dying. A memcg that fails to come online loses its lists without"
        " being killed; whether anybody can add to them then is not known."
    ),
    broken={
        "a shadow node without a list": program("shadow node", list_lru_add, has_list=False),
        "an object is added while css_online fails": program("hypothesis", list_lru_add, fail_online),
    },
    fixed={
        "a shadow node with its list": program("shadow node's list", alloc_shadow_node, has_list=False),
        "reclaim looks while css_online fails": program("walk", list_lru_walk_one, fail_online),
        "an object is added while the memcg dies": program("dying", list_lru_add, kill_css),
    },
    finds=frozenset({"warning"}),
)
