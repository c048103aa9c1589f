"""Memory cgroups, and the object cgroups that stand for them where a memcg may go and its charges stay.

mm/memcontrol.c, 6.12.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from swaplab.kernel.css import CgroupRoot, online_css
from swaplab.kernel.list_lru import ListLru, ListLruOps, LruMemcg
from swaplab.kernel.list_lru_612 import ListLru612, switch_ids
from swaplab.kernel.list_lru_613 import ListLru613
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    kfree,
    kfree_rcu,
    rcu,
    rcu_assign_pointer,
    rcu_dereference,
    relax,
)

__all__ = ["MemCgroup", "MemcgRoot", "ObjCgroup", "mem_cgroup_create", "with_memcg"]

T = TypeVar("T")


def list_lru_ops(protocol: Protocol) -> ListLruOps:
    """Return the list_lru of a protocol."""
    if protocol.list_lru == "feared":
        return ListLru612(index=lambda memcg: memcg.id)  # type: ignore[attr-defined]
    if protocol.list_lru == "6.12":
        return ListLru612(
            early="id-under-lock" in protocol.without,
            parents="ancestors-allocated" not in protocol.without,
            wait="grace-period-before-free" not in protocol.without,
        )
    return ListLru613(drain_first=protocol.list_lru == "6.13-fixed")


class MemcgRoot(CgroupRoot):
    """What all memcgs share.

    Attributes:
        protocol: which version of the system it is.
        list_lrus: all that are aware of memcgs, memcg_list_lrus.
        root: root_mem_cgroup.
    """

    list_lrus: tuple[ListLru, ...]

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.objcg_lock = SpinLock(self, "objcg_lock")
        self.list_lrus_mutex = Mutex(self, "list_lrus_mutex")
        self.list_lrus = ()
        self.ids = 0
        self.root = MemCgroup(self, "root", None, -1)
        online_css(self.root)

    def new_list_lru(self, nodes: int = 1) -> ListLru:
        """list_lru_init_memcg, mm/list_lru.c, 6.12."""
        lru = ListLru(list_lru_ops(self.protocol), nodes)
        with self.list_lrus_mutex:
            self.list_lrus = (*self.list_lrus, lru)
        return lru


class ObjCgroup(Shared):
    """struct obj_cgroup: what objects are charged to. It outlives its memcg, and goes over to the parent.

    Attributes:
        memcg: valid under RCU only, and only as long as that section lasts.
        refcnt: its memcg's, and one of every object.
        list: its place among the objcgs that a memcg has inherited.
    """

    name: Final[str]
    memcg: MemCgroup

    def __init__(self, memcg: MemCgroup) -> None:
        self.name = memcg.name
        self.memcg = memcg
        self.protocol = memcg.memcgs.protocol
        self.objcg_lock = memcg.memcgs.objcg_lock
        self.refcnt = PercpuRef(self, "refcnt", self._release)
        self.list = ListNode(self, "list")

    def _release(self) -> None:
        """obj_cgroup_release, 6.12. May be called with any lock held."""
        with self.objcg_lock:
            self.list.delete()
        kfree_rcu(self)


class MemCgroup(LruMemcg):
    """struct mem_cgroup.

    Attributes:
        id: of its own, for as long as it lives; -1 for the root.
        id_ref: how many need its ID: itself until it is offline, and every swap slot charged to it.
        objcg: what new objects are charged to; none once it is offline, and for the root.
        objcg_list: objcgs of descendants that are gone, under objcg_lock.
    """

    objcg: ObjCgroup | None

    def __init__(self, memcgs: MemcgRoot, name: str, parent: MemCgroup | None, memcg_id: int) -> None:
        super().__init__(memcgs, name, parent)
        self.memcgs = memcgs
        self.id = memcg_id
        self.id_ref = Atomic(self, "id.ref", 1)
        self.kmemcg_id = -1
        self.shrinker_bit = False
        self.objcg_list: ListHead[ObjCgroup] = ListHead(self, "objcg_list")
        self.objcg = None
        self.orig_objcg: ObjCgroup | None = None
        if parent:
            self._online_kmem()

    def _online_kmem(self) -> None:
        """memcg_online_kmem, 6.12."""
        self.orig_objcg = self.objcg = objcg = ObjCgroup(self)
        objcg.refcnt.get()
        if self.memcgs.protocol.objcg_pins:
            self.refcnt.get()
        self.kmemcg_id = self.id

    def css_offline(self) -> None:
        """mem_cgroup_css_offline, 6.12."""
        parent = self.parent
        assert isinstance(parent, MemCgroup)
        for half in offline_kmem(self.memcgs.protocol):
            half(self, parent)
        self.id_put()

    def id_get(self) -> None:
        """mem_cgroup_id_get_many, 6.12: for a swap slot, whose record names the memcg by its ID."""
        self.id_ref.add(1)

    def id_put(self) -> None:
        """mem_cgroup_id_put_many, 6.12: as long as anybody needs the ID, the memcg is not released."""
        if self.id_ref.dec_and_test():
            self.put()

    def css_released(self) -> None:
        """mem_cgroup_css_released. Differs: with the fix that was proposed, and dropped, lists are reparented here."""
        parent = self.parent
        assert isinstance(parent, MemCgroup)
        for half in release_kmem(self.memcgs.protocol):
            half(self, parent)

    def css_free(self) -> None:
        """mem_cgroup_css_free, 6.12."""
        assert self.orig_objcg
        self.orig_objcg.refcnt.put()
        kfree(self)


Half = Callable[[MemCgroup, MemCgroup], None]


def offline_kmem(protocol: Protocol) -> tuple[Half, ...]:
    """memcg_offline_kmem: what it does, in order. 6.13 turned it round: lists first."""
    lists = partial(memcg_reparent_list_lrus, protocol)
    if protocol.reparent != "offline":
        return () if protocol.reparent == "objcg-release" else (memcg_reparent_objcgs,)
    return (lists, memcg_reparent_objcgs) if protocol.list_lru.startswith("6.13") else (memcg_reparent_objcgs, lists)


def release_kmem(protocol: Protocol) -> tuple[Half, ...]:
    """What is left for css release."""
    lists = partial(memcg_reparent_list_lrus, protocol)
    if protocol.reparent == "offline":
        return ()
    return (memcg_reparent_objcgs, lists) if protocol.reparent == "objcg-release" else (lists,)


def mem_cgroup_create(parent: MemCgroup, name: str) -> MemCgroup:
    """mem_cgroup_css_alloc and mem_cgroup_css_online, 6.12."""
    memcgs = parent.memcgs
    with memcgs.cgroup_mutex:
        memcgs.ids += 1
        memcg = MemCgroup(memcgs, name, parent, memcgs.ids)
        # mem_cgroup_css_online: the ID pins the css as long as anybody needs it.
        memcg.refcnt.get()
        online_css(memcg)
    return memcg


def memcg_reparent_objcgs(memcg: MemCgroup, parent: MemCgroup) -> None:
    """memcg_reparent_objcgs, 6.12: the memcg's objcg and those it has inherited go over to the parent."""
    objcg = READ_ONCE(memcg).objcg
    assert objcg
    rcu_assign_pointer(memcg).objcg = None
    with memcg.memcgs.objcg_lock:
        memcg.objcg_list.add(objcg.list)
        for each in memcg.objcg_list.entries():
            WRITE_ONCE(each).memcg = parent
        parent.objcg_list.splice(memcg.objcg_list)
    objcg.refcnt.kill()
    if memcg.memcgs.protocol.objcg_pins:
        memcg.put()


def memcg_reparent_list_lrus(protocol: Protocol, memcg: MemCgroup, parent: MemCgroup) -> None:
    """memcg_reparent_list_lrus, mm/list_lru.c, 6.12: first who looks finds the parent's lists, then items go there."""
    switches = protocol.list_lru == "6.12"
    late = "id-before-splice" in protocol.without
    src_idx = memcg.id
    if switches and not late:
        switch_ids(memcg, parent)
    with memcg.memcgs.list_lrus_mutex:
        for lru in memcg.memcgs.list_lrus:
            lru.ops.reparent(lru, memcg, parent, src_idx)
    if switches and late:
        switch_ids(memcg, parent)


def _bare(objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    return use(READ_ONCE(objcg).memcg)


def _under_rcu(objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    with rcu:
        return use(rcu_dereference(objcg).memcg)


def _with_reference(tryget: Callable[[MemCgroup], bool], objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    """get_mem_cgroup_from_objcg, 6.12: try again until a memcg can be held; the objcg goes over to the parent."""
    while True:
        with rcu:
            memcg = rcu_dereference(objcg).memcg
            held = tryget(memcg)
        if held:
            found = use(memcg)
            memcg.put()
            return found
        relax()


_LOOKUPS: dict[str, Callable[..., Any]] = {
    "bare": _bare,
    "rcu": _under_rcu,
    "tryget": partial(_with_reference, MemCgroup.tryget),
    "tryget_online": partial(_with_reference, MemCgroup.tryget_online),
}


def with_memcg(objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    """Use the memcg of an objcg, kept as the protocol's lookup says; zswap_lru_add, mm/zswap.c, 6.12, has RCU."""
    found: T = _LOOKUPS[objcg.protocol.lookup](objcg, use)
    return found
