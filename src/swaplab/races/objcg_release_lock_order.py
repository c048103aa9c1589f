"""A reference whose last holder lets go of it under any lock, and a release that takes one.

Freeing an object puts its objcg, and the last put calls obj_cgroup_release(), under whatever lock the object is freed
under: here a queued signal's, under a process's siglock. The release took css_set_lock to leave its memcg's list of
objcgs. The cgroup freezer holds css_set_lock when it takes siglock. Since then objcgs' lists have a lock of their own,
inside which no other is taken.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import ListHead, ListNode, PercpuRef, Shared, SpinLock, kfree_rcu
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]


class Objcg(Shared):
    """struct obj_cgroup without new allocations: one object is left that refers to it."""

    def __init__(self, list_lock: SpinLock, objcg_list: ListHead[Objcg]) -> None:
        self.list_lock = list_lock
        self.list: ListNode[Objcg] = ListNode(self, "list")
        objcg_list.add(self.list)
        self.refcnt = PercpuRef(self, "refcnt", self.obj_cgroup_release)
        self.refcnt.get()
        self.refcnt.kill()

    def obj_cgroup_release(self) -> None:
        """mm/memcontrol.c:obj_cgroup_release, 6.12."""
        with self.list_lock:
            self.list.delete()
        kfree_rcu(self)


class System(Shared):
    """The locks, and an objcg on its memcg's list."""

    def __init__(self, list_lock: Callable[[System], SpinLock]) -> None:
        self.siglock = SpinLock(None, "siglock")
        self.css_set_lock = SpinLock(None, "css_set_lock")
        self.objcg_lock = SpinLock(None, "objcg_lock")
        self.objcg_list: ListHead[Objcg] = ListHead(None, "memcg.objcg_list")
        self.objcg = Objcg(list_lock(self), self.objcg_list)


def sigqueue_free(system: System) -> None:
    """kernel/signal.c:__sigqueue_free, 6.12, with siglock held: a queued signal is freed, and its objcg put."""
    with system.siglock:
        system.objcg.refcnt.put()


def cgroup_leave_frozen(system: System) -> None:
    """kernel/cgroup/freezer.c:cgroup_leave_frozen, 6.12: takes siglock to set a flag of the task."""
    with system.css_set_lock, system.siglock:
        pass


def program(label: str, list_lock: Callable[[System], SpinLock]) -> Program[System]:
    """The last object of an objcg is freed while a task leaves the freezer."""
    return Program(
        f"objcg-release-lock-order: {label}",
        lambda: System(list_lock),
        {"CPU0": sigqueue_free, "CPU1": cgroup_leave_frozen},
        {"the objcg is on no list": lambda system: not system.objcg_list.nodes()},
    )


EXHIBIT = Exhibit(
    name="objcg-release-lock-order",
    title="mm: memcg: synchronize objcg lists with a dedicated spinlock",
    references=("0764db9b49c932b89ee4d9e3236dff4bb07b4a66",),
    story="The release of an objcg, which may happen under any lock, took one that others are taken inside of.",
    broken={"css_set_lock": program("css_set_lock", lambda system: system.css_set_lock)},
    fixed={"a lock of its own": program("objcg_lock", lambda system: system.objcg_lock)},
    finds=frozenset({"deadlock", "lock-order cycle"}),
)
