"""The cursor of zswap's global shrinker stops at a memcg, and no task takes it away from there any more.

The shrinker goes round all memcgs and keeps a reference to the one it is at. A memcg that goes offline takes the cursor
away from itself, once, to the next one. If that is a memcg which has done so before, it stays pinned until the shrinker
runs again, which may be never. The shrinker in turn went back to the start where it met an offline memcg, and so never
got past it.

Differs: two memcgs, A and B, in this order; a reclaim that finds nothing is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    queue_work,
    rcu,
)
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "cursor-holds-offline-memcg"
MAX_RECLAIM_RETRIES = 2


class Memcg(Shared):
    """struct mem_cgroup.

    Attributes:
        online: CSS_ONLINE.
        released: whether there is no reference any more.
        shrunk: whether it was asked for memory.
    """

    name: Final[str]
    online: bool
    released: bool
    shrunk: bool

    def __init__(self, name: str) -> None:
        self.name = name
        self.online = True
        self.released = self.shrunk = False
        self.refcnt = PercpuRef(self, "refcnt", self.release)

    def release(self) -> None:
        """kernel/cgroup/cgroup.c:css_release, 6.12."""
        WRITE_ONCE(self).released = True


class Zswap(Shared):
    """Memcgs in the order of mem_cgroup_iter(), and the cursor with its lock."""

    next_shrink: Memcg | None

    def __init__(self, cursor: int | None) -> None:
        self.memcgs = (Memcg("A"), Memcg("B"))
        self.next_shrink = None if cursor is None else self.memcgs[cursor]
        if self.next_shrink:
            self.next_shrink.refcnt.get()
        self.shrink_lock = SpinLock(self, "zswap_shrink_lock")
        self.cgroup_mutex = Mutex(None, "cgroup_mutex")
        self.offline_wq = WorkQueue("cgroup_offline_wq")


Advance = Callable[[Zswap], Memcg | None]
Clean = Callable[[Zswap, Memcg], None]


def mem_cgroup_iter(zswap: Zswap, prev: Memcg | None) -> Memcg | None:
    """mm/memcontrol.c:mem_cgroup_iter, 6.12: the reference moves from one memcg to the next that has any left."""
    start = zswap.memcgs.index(prev) + 1 if prev else 0
    with rcu:
        found = next((memcg for memcg in zswap.memcgs[start:] if memcg.refcnt.tryget()), None)
    if prev:
        prev.refcnt.put()
    return found


def offline_cleanup(zswap: Zswap, memcg: Memcg) -> None:
    """mm/zswap.c:zswap_memcg_offline_cleanup, 6.12: go on until there is one that is going to come here itself."""
    with zswap.shrink_lock:
        if zswap.next_shrink is memcg:
            zswap.next_shrink = mem_cgroup_iter(zswap, zswap.next_shrink)
            while zswap.next_shrink and not READ_ONCE(zswap.next_shrink).online:
                zswap.next_shrink = mem_cgroup_iter(zswap, zswap.next_shrink)


def offline_cleanup_once(zswap: Zswap, memcg: Memcg) -> None:
    """The same, 6.8: go to the next one, of any kind."""
    with zswap.shrink_lock:
        if zswap.next_shrink is memcg:
            zswap.next_shrink = mem_cgroup_iter(zswap, zswap.next_shrink)


def advance(zswap: Zswap) -> Memcg | None:
    """The choice in mm/zswap.c:shrink_worker, 6.12: pass over memcgs that are dying."""
    with zswap.shrink_lock:
        while True:
            memcg = zswap.next_shrink = mem_cgroup_iter(zswap, zswap.next_shrink)
            if memcg is None or memcg.refcnt.tryget_live():
                return memcg


def advance_or_start_again(zswap: Zswap) -> Memcg | None:
    """The same, 6.8: at a memcg that is dying, start again from the first one."""
    with zswap.shrink_lock:
        memcg = zswap.next_shrink = mem_cgroup_iter(zswap, zswap.next_shrink)
        if memcg and not memcg.refcnt.tryget_live():
            memcg.refcnt.put()
            memcg = zswap.next_shrink = None
        return memcg


def shrink_worker(zswap: Zswap, choose: Advance) -> None:
    """mm/zswap.c:shrink_worker, 6.12; the pool stays full."""
    failures = 0
    while failures < MAX_RECLAIM_RETRIES:
        memcg = choose(zswap)
        if memcg is None:
            failures += 1
            continue
        WRITE_ONCE(memcg).shrunk = True
        memcg.refcnt.put()


def css_killed_work_fn(zswap: Zswap, memcg: Memcg, clean: Clean) -> None:
    """kernel/cgroup/cgroup.c:css_killed_work_fn, with mm/memcontrol.c:mem_cgroup_css_offline, 6.12."""
    with zswap.cgroup_mutex:
        clean(zswap, memcg)
        WRITE_ONCE(memcg).online = False
    memcg.refcnt.put()


def kill_css(zswap: Zswap, memcg: Memcg, clean: Clean) -> None:
    """kernel/cgroup/cgroup.c:kill_css, 6.12; the reference is for the work."""
    memcg.refcnt.get()
    work = Work(memcg, "destroy_work", css_killed_work_fn, zswap, memcg, clean)
    memcg.refcnt.kill(lambda: queue_work(zswap.offline_wq, work))


def remove_both(zswap: Zswap, clean: Clean) -> None:
    """Memcgs B and A are removed."""
    for memcg in reversed(zswap.memcgs):
        kill_css(zswap, memcg, clean)


def shrink_once(zswap: Zswap) -> None:
    """mm/zswap.c:shrink_worker, 6.12, when one memcg is enough."""
    memcg = advance(zswap)
    if memcg:
        memcg.refcnt.put()


def zombie() -> Zswap:
    """Memcg A is a zombie: offline, and pinned by a page."""
    zswap = Zswap(cursor=None)
    memcg = zswap.memcgs[0]
    memcg.refcnt.get()
    kill_css(zswap, memcg, offline_cleanup)
    return zswap


def pinning(label: str, clean: Clean) -> Program[Zswap]:
    """The shrinker stopped at memcg A some time ago; both memcgs are removed."""
    return Program(
        f"{NAME}: {label}",
        lambda: Zswap(cursor=0),
        {"CPU0": lambda zswap: remove_both(zswap, clean)},
        {"nobody has a reference to A or B": lambda zswap: all(memcg.released for memcg in zswap.memcgs)},
    )


def starving(label: str, choose: Advance) -> Program[Zswap]:
    """Memcg A is a zombie, and B has all the pages."""
    return Program(
        f"{NAME}: {label}",
        zombie,
        {"CPU0": lambda zswap: shrink_worker(zswap, choose)},
        {"memcg B was shrunk": lambda zswap: zswap.memcgs[1].shrunk},
    )


RUNNING: Program[Zswap] = Program(
    f"{NAME}: running",
    lambda: Zswap(cursor=0),
    {"CPU0": shrink_once, "CPU1": lambda zswap: kill_css(zswap, zswap.memcgs[1], offline_cleanup)},
    {"nobody has a reference to B": lambda zswap: zswap.memcgs[1].released},
)


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix global shrinker memcg iteration",
    references=(
        "c5519e0a9bfb6365445de0521a6fe7000b375ecf",
        "CAPpoddeigM44jhTA8Ua=+J4MC1MikouBZVoPrCW2LZF+9r5YeA@mail.gmail.com",
    ),
    story=(
        "A memcg that goes offline hands the global shrinker's cursor to the next one, which may have gone offline"
        " before: it stays pinned. And the shrinker never got past an offline memcg."
    ),
    broken={
        "the cursor goes to an offline memcg": pinning("handed on once", offline_cleanup_once),
        "the shrinker starts again at a zombie": starving("starts again", advance_or_start_again),
    },
    fixed={
        "the cursor goes to an online memcg": pinning("handed on", offline_cleanup),
        "the shrinker passes over zombies": starving("passes over", advance),
        "a memcg goes while the shrinker runs": RUNNING,
    },
    finds=frozenset({"invariant broken"}),
)
