"""Memory cgroups, and the object cgroups that stand for them where a memcg may go and its charges stay.

mm/memcontrol.c, 6.12 and 7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from errno import ENOMEM
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

from swaplab.kernel.css import CSS_ONLINE, CgroupRoot, css_descendants, css_next_descendant_pre, online_css
from swaplab.kernel.list_lru import ListLru, LruMemcg
from swaplab.kernel.list_lru_612 import ListLru612, OwnedListLru, switch_ids
from swaplab.kernel.list_lru_613 import ListLru72, ListLru613
from swaplab.kernel.lruvec import Lruvec
from swaplab.kernel.page_counter import (
    PAGE_COUNTER_MAX,
    PageCounter,
    page_counter_charge,
    page_counter_read,
    page_counter_try_charge,
    page_counter_uncharge,
)
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Pointer,
    Shared,
    SpinLock,
    XArray,
    data_race,
    kfree,
    kfree_rcu,
    rcu,
    rcu_assign_pointer,
    rcu_dereference,
    relax,
)
from swaplab.kernel.vmstat import Counters
from swaplab.linux.page import PAGE_SHIFT, PAGE_SIZE

__all__ = [
    "FolioMemcg",
    "MemCgroup",
    "MemcgRoot",
    "ObjCgroup",
    "ReclaimCookie",
    "count_memcg_events",
    "count_objcg_events",
    "get_mem_cgroup_from_objcg",
    "get_obj_cgroup_from_memcg",
    "mem_cgroup_create",
    "mem_cgroup_from_id",
    "mem_cgroup_get_nr_swap_pages",
    "mem_cgroup_iter",
    "mem_cgroup_iter_break",
    "mem_cgroup_online",
    "mem_cgroup_swap_full",
    "mem_cgroup_try_charge_swap",
    "mem_cgroup_uncharge_swap",
    "memory_stat",
    "obj_cgroup_charge_zswap",
    "obj_cgroup_may_zswap",
    "obj_cgroup_uncharge_zswap",
    "swap_max_write",
    "zswap_max_write",
    "zswap_writeback_write",
]

T = TypeVar("T")


def _list_lru_of(protocol: Protocol, nodes: int) -> ListLru:
    """Make a list_lru of a protocol."""
    if protocol.list_lru == "feared":
        return OwnedListLru(nodes)
    if protocol.list_lru == "6.12":
        return ListLru612(
            nodes,
            early="id-under-lock" in protocol.without,
            parents="ancestors-allocated" not in protocol.without,
            wait="grace-period-before-free" not in protocol.without,
        )
    if protocol.list_lru == "7.2":
        return ListLru72(nodes)
    return ListLru613(nodes, drain_first=protocol.list_lru == "6.13-fixed")


class MemcgRoot(CgroupRoot):
    """What all memcgs share.

    Attributes:
        protocol: which version of the system it is.
        list_lrus: all that are aware of memcgs, memcg_list_lrus.
        ids: the last ID given out.
        mem_cgroup_idr: memcgs by ID, for as long as the ID is needed.
        zswap_offline: zswap_memcg_offline_cleanup, where there is a zswap.
        new_objcg: makes the objcg of a memcg.
        charge_memcg: charges a page to a memcg, by the function that it is given, and returns what its folio holds; or
            None if that was not possible.
        root: root_mem_cgroup.
    """

    protocol: Final[Protocol]
    objcg_lock: Final[SpinLock]
    list_lrus_mutex: Final[Mutex]
    mem_cgroup_idr: Final[XArray[MemCgroup]]
    root: Final[MemCgroup]
    zswap_offline: Final[Callable[[MemCgroup], None]]
    new_objcg: Final[Callable[[MemCgroup], ObjCgroup]]
    charge_memcg: Final[Callable[[MemCgroup, TryCharge], FolioMemcg | None]]
    list_lrus: tuple[ListLru, ...]
    ids: int

    def __init__(self, protocol: Protocol, zswap_offline: Callable[[MemCgroup], None] = lambda memcg: None) -> None:
        super().__init__(protocol.late_offline)
        self.protocol = protocol
        self.new_objcg = UncheckedObjCgroup if "lruvec-checked-again" in protocol.without else ObjCgroup
        self.charge_memcg = charge_memcg_612 if protocol.folios == "memcg" else charge_memcg_72
        self.objcg_lock = SpinLock(self, "objcg_lock")
        self.list_lrus_mutex = Mutex(self, "list_lrus_mutex")
        self.list_lrus = ()
        self.ids = 0
        self.mem_cgroup_idr = XArray(self, "mem_cgroup_idr")
        self.zswap_offline = zswap_offline
        self.root = MemCgroup(self, "root", None, -1)
        online_css(self.root)

    def new_list_lru(self, nodes: int = 1) -> ListLru:
        """list_lru_init_memcg, mm/list_lru.c."""
        lru = _list_lru_of(self.protocol, nodes)
        with self.list_lrus_mutex:
            self.list_lrus = (*self.list_lrus, lru)
        return lru


class ObjCgroup(Shared):
    """struct obj_cgroup: what objects are charged to. It outlives its memcg, and goes over to the parent.

    In 7.2 a folio holds one, too.

    Attributes:
        is_root: of the root, at which nothing is charged; there is one since 7.2.
        memcg: valid under RCU only, and only as long as that section lasts.
        with_memcg: calls a function with that memcg, kept as the protocol's lookup says; zswap_lru_add, mm/zswap.c,
            6.12, has RCU.
        refcnt: its memcg's, and one of every object.
        nr_charged_bytes: of objects. Differs: no stock per CPU; the whole pages that they come to are charged.
        list: its place among the objcgs that a memcg has inherited.
    """

    name: Final[str]
    is_root: Final[bool]
    with_memcg: Final[Callable[[Callable[[MemCgroup], Any]], Any]]
    objcg_lock: Final[SpinLock]
    refcnt: Final[PercpuRef]
    list: Final[ListNode[ObjCgroup]]
    nr_charged_bytes: Final[Atomic]
    memcg: MemCgroup

    def __init__(self, memcg: MemCgroup) -> None:
        self.name = f"{memcg.name}.objcg"
        self.is_root = not memcg.parent
        self.memcg = memcg
        self.with_memcg = partial(_LOOKUPS[memcg.memcgs.protocol.lookup], self)
        self.objcg_lock = memcg.memcgs.objcg_lock
        self.refcnt = PercpuRef(self, "refcnt", self._release)
        self.list = ListNode(self, "list")
        self.nr_charged_bytes = Atomic(self, "nr_charged_bytes")

    def _release(self) -> None:
        """obj_cgroup_release. May be called with any lock held."""
        with self.objcg_lock:
            self.list.delete()
        kfree_rcu(self)

    def get_objcg(self) -> ObjCgroup:
        """get_obj_cgroup_from_folio, 7.2: a folio's own, with a reference."""
        self.refcnt.get()
        return self

    def lock_lruvec(self) -> Lruvec:
        """folio_lruvec_lock, 7.2: the list that a folio of this objcg is on, or belongs on.

        The folio is locked, on no list or frozen, so that the objcg stays; whose it is, only the lock keeps. That, as
        a spinlock, is an RCU read section as well.
        """
        with rcu:
            while True:
                memcg = rcu_dereference(self).memcg
                memcg.lruvec.lru_lock.acquire()
                if self._is_still(memcg):
                    return memcg.lruvec
                memcg.lruvec.lru_lock.release()

    def _is_still(self, memcg: MemCgroup) -> bool:
        """Whether it has not gone over to the parent before its list was locked."""
        return READ_ONCE(self).memcg is memcg

    def uncharge_folio(self) -> None:
        """uncharge_batch, 7.2: take back the charge of one page, and its reference."""
        if not self.is_root:
            with rcu:
                page_counter_uncharge(rcu_dereference(self).memcg.memory, 1)
        self.refcnt.put()


class UncheckedObjCgroup(ObjCgroup):
    """One that is not asked again."""

    def _is_still(self, memcg: MemCgroup) -> bool:
        return True


class MemCgroup(LruMemcg):
    """struct mem_cgroup.

    Attributes:
        lineage: itself and all above it, the root last.
        limited: the same without the root, which has no limits.
        with_objcg: those of them that have an objcg as long as they are online: in 6.12 the root has none.
        id: of its own, for as long as it lives; -1 for the root.
        id_ref: how many need its ID: itself until it is offline, and every swap slot charged to it.
        objcg: what new objects are charged to; none once it is offline, and for the root.
        objcg_list: objcgs of descendants that are gone, under objcg_lock.
        memory, swap: pages charged here and below.
        zswap_max: bytes / 4096.
        zswap_writeback: whether zswap may write to the device here; an ancestor may forbid it, too.
        zswap_bytes, zswapped, zswap_incomp: compressed bytes, entries, and those as long as a page, here and below:
            MEMCG_ZSWAP_B, MEMCG_ZSWAPPED, and since 7.2 MEMCG_ZSWAP_INCOMP.
        events: here and below, by name.
        lruvec: its pages.
        iter_position, iter_generation: how far tasks that reclaim from it have come, and how often through.
        nr_deferred: what zswap's shrinker is yet to scan.
    """

    memcgs: Final[MemcgRoot]
    lineage: Final[tuple[MemCgroup, ...]]
    limited: Final[tuple[MemCgroup, ...]]
    with_objcg: Final[tuple[MemCgroup, ...]]
    id: Final[int]
    id_ref: Final[Atomic]
    objcg_list: Final[ListHead[ObjCgroup]]
    memory: Final[PageCounter]
    swap: Final[PageCounter]
    zswap_max: Final[Atomic]
    zswap_bytes: Final[Atomic]
    zswapped: Final[Atomic]
    zswap_incomp: Final[Atomic]
    nr_deferred: Final[Atomic]
    events: Final[Counters]
    lruvec: Final[Lruvec]
    iter_position: Final[Pointer[MemCgroup]]
    iter_generation: Final[Atomic]
    orig_objcg: Final[ObjCgroup | None]
    objcg: ObjCgroup | None
    zswap_writeback: bool

    def __init__(self, memcgs: MemcgRoot, name: str, parent: MemCgroup | None, memcg_id: int) -> None:
        super().__init__(memcgs, name, parent)
        self.memcgs = memcgs
        self.lineage = (self, *parent.lineage) if parent else (self,)
        self.limited = self.lineage[:-1]
        self.with_objcg = self.limited if memcgs.protocol.folios == "memcg" else self.lineage
        self.id = memcg_id
        self.id_ref = Atomic(self, "id.ref", 1)
        self.kmemcg_id = -1
        self.shrinker_bit = False
        self.objcg_list = ListHead(self, "objcg_list")
        self.memory = PageCounter(self, "memory", parent.memory if parent else None)
        self.swap = PageCounter(self, "swap", parent.swap if parent else None)
        self.zswap_max = Atomic(self, "zswap_max", PAGE_COUNTER_MAX)
        self.zswap_writeback = True
        self.zswap_bytes, self.zswapped = Atomic(self, "zswap_bytes"), Atomic(self, "zswapped")
        self.zswap_incomp = Atomic(self, "zswap_incomp")
        self.nr_deferred = Atomic(self, "nr_deferred")
        self.events = Counters(f"{name}.events")
        self.lruvec = Lruvec(name, self.level)
        self.iter_position = Pointer(self, "iter.position")
        self.iter_generation = Atomic(self, "iter.generation")
        self.orig_objcg = self.objcg = memcgs.new_objcg(self) if self in self.with_objcg else None
        if self.orig_objcg:
            self.orig_objcg.refcnt.get()
        if parent:
            self._online_kmem()

    def _online_kmem(self) -> None:
        """memcg_online_kmem."""
        if self.memcgs.protocol.objcg_pins:
            self.refcnt.get()
        self.kmemcg_id = self.id

    def with_memcg(self, use: Callable[[MemCgroup], T]) -> T:
        """folio_memcg, 6.12: call a function with whom a folio is charged to, which the folio keeps."""
        return use(self)

    def get_objcg(self) -> ObjCgroup | None:
        """get_obj_cgroup_from_folio, 6.12: who objects are charged to that a folio's contents become."""
        return get_obj_cgroup_from_memcg(self)

    def lock_lruvec(self) -> Lruvec:
        """folio_lruvec_lock, 6.12: the list that a folio of this memcg is on, or belongs on."""
        self.lruvec.lru_lock.acquire()
        return self.lruvec

    def uncharge_folio(self) -> None:
        """uncharge_batch, 6.12: take back the charge of one page, and its reference."""
        if self.parent:
            page_counter_uncharge(self.memory, 1)
            self.put()

    def css_offline(self) -> None:
        """mem_cgroup_css_offline."""
        parent = self.parent
        assert isinstance(parent, MemCgroup)
        self.memcgs.zswap_offline(self)
        for half in offline_kmem(self.memcgs.protocol):
            half(self, parent)
        # mm/shrinker.c:reparent_shrinker_deferred
        parent.nr_deferred.add(self.nr_deferred.xchg(0))
        self.id_put()

    def id_get(self) -> None:
        """mem_cgroup_id_get_many: for a swap slot, whose record names the memcg by its ID."""
        self.id_ref.add(1)

    def id_put(self) -> None:
        """mem_cgroup_id_put_many: as long as the ID is needed, the memcg is not released."""
        if self.id_ref.dec_and_test():
            self.memcgs.mem_cgroup_idr.erase(self.id)
            self.put()

    def css_released(self) -> None:
        """mem_cgroup_css_released. Differs: with the fix that was proposed, and dropped, lists are reparented here."""
        parent = self.parent
        assert isinstance(parent, MemCgroup)
        invalidate_reclaim_iterators(self)
        for half in release_kmem(self.memcgs.protocol):
            half(self, parent)

    def css_free(self) -> None:
        """mem_cgroup_css_free."""
        assert self.orig_objcg
        if self.memcgs.protocol.list_lru == "feared":
            free_owned_lists(self)
        self.orig_objcg.refcnt.put()
        kfree(self.lruvec)  # free_mem_cgroup_per_node_info
        kfree(self)


FolioMemcg = MemCgroup | ObjCgroup
"""What a folio holds of who it is charged to; the methods that both have are what is different then."""
TryCharge = Callable[[MemCgroup], bool]
Half = Callable[[MemCgroup, MemCgroup], None]


def offline_kmem(protocol: Protocol) -> tuple[Half, ...]:
    """memcg_offline_kmem: what it does, in order. 6.13 turned it round: lists first. In 7.2 folios go with objcgs."""
    lists = partial(memcg_reparent_list_lrus, protocol)
    if protocol.reparent != "offline":
        return () if protocol.reparent == "objcg-release" else (memcg_reparent_objcgs,)
    if protocol.list_lru in ("feared", "6.12"):
        return (memcg_reparent_objcgs, lists)
    if protocol.folios == "memcg":
        return (lists, memcg_reparent_objcgs)
    if "folios-with-objcgs" in protocol.without:
        return (lists, memcg_reparent_folios_alone, memcg_reparent_objcgs)
    return (lists, memcg_reparent_folios)


def release_kmem(protocol: Protocol) -> tuple[Half, ...]:
    """What is left for css release."""
    lists = partial(memcg_reparent_list_lrus, protocol)
    if protocol.reparent == "offline":
        return ()
    return (memcg_reparent_objcgs, lists) if protocol.reparent == "objcg-release" else (lists,)


def mem_cgroup_create(parent: MemCgroup, name: str) -> MemCgroup:
    """mem_cgroup_css_alloc and mem_cgroup_css_online."""
    memcgs = parent.memcgs
    with memcgs.cgroup_mutex:
        memcgs.ids += 1
        memcg = MemCgroup(memcgs, name, parent, memcgs.ids)
        # mem_cgroup_css_online: the ID pins the css as long as it is needed.
        memcg.refcnt.get()
        online_css(memcg)
        memcgs.mem_cgroup_idr.store(memcg.id, memcg)
    return memcg


def memcg_reparent_objcgs(memcg: MemCgroup, parent: MemCgroup) -> None:
    """memcg_reparent_objcgs: the memcg's objcg and those it has inherited go over to the parent."""
    objcg = READ_ONCE(memcg).objcg
    assert objcg
    rcu_assign_pointer(memcg).objcg = None
    with memcg.memcgs.objcg_lock:
        memcg.objcg_list.add(objcg.list)
        for each in memcg.objcg_list:
            WRITE_ONCE(each).memcg = parent
        parent.objcg_list.splice(memcg.objcg_list)
    objcg.refcnt.kill()
    if memcg.memcgs.protocol.objcg_pins:
        memcg.put()


def memcg_reparent_folios(memcg: MemCgroup, parent: MemCgroup) -> None:
    """memcg_reparent_objcgs, 7.2: the folios on the memcg's list go over to the parent's, and with them the objcgs.

    Differs: one kind of list, as of the classic LRU; nothing of generations.
    """
    objcg = READ_ONCE(memcg).objcg
    assert objcg
    with memcg.memcgs.objcg_lock, memcg.lruvec.lru_lock, parent.lruvec.lru_lock:
        lru_reparent_memcg(memcg.lruvec, parent.lruvec)
        rcu_assign_pointer(memcg).objcg = None
        memcg.objcg_list.add(objcg.list)
        for each in memcg.objcg_list:
            WRITE_ONCE(each).memcg = parent
        parent.objcg_list.splice(memcg.objcg_list)
    objcg.refcnt.kill()


def memcg_reparent_folios_alone(memcg: MemCgroup, parent: MemCgroup) -> None:
    """`memcg_reparent_folios`, but that the objcgs follow."""
    with memcg.lruvec.lru_lock, parent.lruvec.lru_lock:
        lru_reparent_memcg(memcg.lruvec, parent.lruvec)


def lru_reparent_memcg(child: Lruvec, parent: Lruvec) -> None:
    """lru_reparent_memcg, mm/swap.c, 7.2: they are the next that reclaim takes. Both are locked."""
    parent.lru.splice(child.lru)
    parent.size += child.size
    child.size = 0


def memcg_reparent_list_lrus(protocol: Protocol, memcg: MemCgroup, parent: MemCgroup) -> None:
    """memcg_reparent_list_lrus, mm/list_lru.c: first lookups find the parent's lists, then items go there."""
    switches = protocol.list_lru == "6.12"
    late = "id-before-splice" in protocol.without
    src_idx = memcg.id
    if switches and not late:
        switch_ids(memcg, parent)
    with memcg.memcgs.list_lrus_mutex:
        for lru in memcg.memcgs.list_lrus:
            lru.reparent(memcg, parent, src_idx)
    if switches and late:
        switch_ids(memcg, parent)


def free_owned_lists(memcg: MemCgroup) -> None:
    """What was feared: the lists go with the memcg."""
    with memcg.memcgs.list_lrus_mutex:
        for lru in memcg.memcgs.list_lrus:
            if isinstance(lru, OwnedListLru):
                lru.memcg_freed(memcg.id)


def _bare(objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    return use(READ_ONCE(objcg).memcg)


def _under_rcu(objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    with rcu:
        return use(rcu_dereference(objcg).memcg)


def _with_reference(tryget: Callable[[MemCgroup], bool], objcg: ObjCgroup, use: Callable[[MemCgroup], T]) -> T:
    """get_mem_cgroup_from_objcg: try again until a memcg can be held; the objcg goes over to the parent."""
    while True:
        with rcu:
            memcg = rcu_dereference(objcg).memcg
            held = tryget(memcg)
        if held:
            found = use(memcg)
            memcg.put()
            return found
        relax()


_LOOKUPS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "bare": _bare,
        "rcu": _under_rcu,
        "tryget": partial(_with_reference, MemCgroup.tryget),
        "tryget_online": partial(_with_reference, MemCgroup.tryget_online),
    }
)


# Looking memcgs up ----------------------------------------------------------------------------------------------------


def get_mem_cgroup_from_objcg(objcg: ObjCgroup) -> MemCgroup:
    """Get the memcg that an objcg stands for now, with a reference: mm/memcontrol.c:get_mem_cgroup_from_objcg."""
    while True:
        with rcu:
            memcg = rcu_dereference(objcg).memcg
            if memcg.tryget():
                return memcg
        relax()


def get_obj_cgroup_from_memcg(memcg: MemCgroup) -> ObjCgroup | None:
    """Get the objcg that objects of a memcg's pages are charged to, with a reference; None for the root in 6.12.

    mm/memcontrol.c:__get_obj_cgroup_from_memcg: of the nearest ancestor that still has one.
    """
    with rcu:
        for each in memcg.with_objcg:
            objcg = rcu_dereference(each).objcg
            if objcg and objcg.refcnt.tryget():
                return objcg
    return None


def mem_cgroup_online(memcg: MemCgroup) -> bool:
    """include/linux/memcontrol.h:mem_cgroup_online."""
    return bool(READ_ONCE(memcg).flags & CSS_ONLINE)


class ReclaimCookie:
    """struct mem_cgroup_reclaim_cookie: one reclaimer's part in a walk that all who reclaim from a memcg share.

    Attributes:
        generation: of the walk that it has joined.
    """

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0


def mem_cgroup_iter(root: MemCgroup, prev: MemCgroup | None, reclaim: ReclaimCookie | None = None) -> MemCgroup | None:
    """Next memcg of a subtree in pre-order, with a reference; `prev` loses its: mm/memcontrol.c:mem_cgroup_iter.

    `root` is the caller's, and gets none. With a cookie it is the next that nobody has been given yet in this walk, and
    none once that has come to its end.
    """
    with rcu:
        following = _next_of_all(root, prev, reclaim) if reclaim else _next_held(root, prev)
    mem_cgroup_iter_break(root, prev)
    return following


def mem_cgroup_iter_break(root: MemCgroup, prev: MemCgroup | None) -> None:
    """Leave a walk: mm/memcontrol.c:mem_cgroup_iter_break."""
    if prev and prev is not root:
        prev.put()


def _next_held(root: MemCgroup, pos: MemCgroup | None) -> MemCgroup | None:
    following = root if pos is None else _after(pos, root)
    while following and following is not root and not following.tryget():
        following = _after(following, root)
    return following


def _next_of_all(root: MemCgroup, prev: MemCgroup | None, reclaim: ReclaimCookie) -> MemCgroup | None:
    """Advance the position that reclaimers share. It holds no reference: see `invalidate_reclaim_iterators`."""
    while True:
        generation = root.iter_generation.read()
        if not prev:
            reclaim.generation = generation
        elif reclaim.generation != generation:
            return None
        pos = root.iter_position.read()
        following = _next_held(root, pos)
        if root.iter_position.cmpxchg(pos, following) is not pos:
            mem_cgroup_iter_break(root, following)
        elif following:
            return following
        else:
            root.iter_generation.add(1)
            if prev:
                return None


def invalidate_reclaim_iterators(dead: MemCgroup) -> None:
    """Take a memcg that is gone from walks that stopped there: mm/memcontrol.c:invalidate_reclaim_iterators."""
    for each in dead.lineage:
        each.iter_position.cmpxchg(dead, None)


def _after(memcg: MemCgroup, root: MemCgroup) -> MemCgroup | None:
    following = css_next_descendant_pre(memcg, root)
    assert following is None or isinstance(following, MemCgroup)
    return following


def mem_cgroup_from_id(memcgs: MemcgRoot, memcg_id: int) -> MemCgroup | None:
    """Find the memcg of an ID; 0 is none. Under RCU: mm/memcontrol.c:mem_cgroup_from_id."""
    if memcg_id == memcgs.root.id:
        return memcgs.root
    return memcgs.mem_cgroup_idr.load(memcg_id) if memcg_id else None


# Events and memory ----------------------------------------------------------------------------------------------------


def count_memcg_events(memcg: MemCgroup, name: str, count: int = 1) -> None:
    """Count an event of a memcg, which is one of all above it: mm/memcontrol.c:__count_memcg_events."""
    for each in memcg.lineage:
        each.events.count(name, count)


def count_objcg_events(objcg: ObjCgroup, name: str, count: int) -> None:
    """Count an event of whom an objcg stands for: include/linux/memcontrol.h:count_objcg_events."""
    with rcu:
        count_memcg_events(rcu_dereference(objcg).memcg, name, count)


def charge_memcg_612(memcg: MemCgroup, try_charge: TryCharge) -> MemCgroup | None:
    """charge_memcg, 6.12: the folio keeps the memcg alive. The root has no limit."""
    if memcg.parent:
        if not try_charge(memcg):
            return None
        memcg.refcnt.get()
    return memcg


def charge_memcg_72(memcg: MemCgroup, try_charge: TryCharge) -> ObjCgroup | None:
    """charge_memcg, 7.2: the folio keeps an objcg alive, of the nearest ancestor that is online."""
    objcg = get_obj_cgroup_from_memcg(memcg)
    assert objcg  # the root always has one
    if not objcg.is_root and not try_charge(memcg):
        objcg.refcnt.put()
        return None
    return objcg


# Compressed bytes -----------------------------------------------------------------------------------------------------


def _charge_objcg(objcg: ObjCgroup, size: int, entries: int) -> None:
    """Charge bytes, which may be negative, in whole pages of the objcg's sum, regardless of limits."""
    after = objcg.nr_charged_bytes.add_return(size)
    pages = -(-after // PAGE_SIZE) - -(-(after - size) // PAGE_SIZE)
    if pages:
        memcg = get_mem_cgroup_from_objcg(objcg)
        if pages > 0:
            page_counter_charge(memcg.memory, pages)
        else:
            page_counter_uncharge(memcg.memory, -pages)
        memcg.put()
    with rcu:
        for each in rcu_dereference(objcg).memcg.lineage:
            each.zswap_bytes.add(size)
            each.zswapped.add(entries)
            if abs(size) == PAGE_SIZE:
                each.zswap_incomp.add(entries)


def obj_cgroup_charge_zswap(objcg: ObjCgroup, size: int) -> None:
    """Charge an entry of `size` bytes, over the limit if need be: mm/memcontrol.c:obj_cgroup_charge_zswap."""
    if not objcg.is_root:
        _charge_objcg(objcg, size, 1)


def obj_cgroup_uncharge_zswap(objcg: ObjCgroup, size: int) -> None:
    """Take the charge of an entry back: mm/memcontrol.c:obj_cgroup_uncharge_zswap."""
    if not objcg.is_root:
        _charge_objcg(objcg, -size, -1)


def obj_cgroup_may_zswap(objcg: ObjCgroup) -> bool:
    """Whether memory.zswap.max allows one more entry, here and above: mm/memcontrol.c:obj_cgroup_may_zswap."""
    memcg = get_mem_cgroup_from_objcg(objcg)
    allowed = all(map(_has_zswap_room, memcg.limited))
    memcg.put()
    return allowed


def _has_zswap_room(memcg: MemCgroup) -> bool:
    limit = memcg.zswap_max.read()
    return limit == PAGE_COUNTER_MAX or memcg.zswap_bytes.read() >> PAGE_SHIFT < limit


# Swap slots -----------------------------------------------------------------------------------------------------------


def mem_cgroup_id_get_online(memcg: MemCgroup) -> MemCgroup:
    """Need the ID of the nearest memcg upwards that still has one: mm/memcontrol.c:mem_cgroup_id_get_online."""
    for each in memcg.limited:
        if each.id_ref.inc_not_zero():
            return each
    return memcg.memcgs.root


def mem_cgroup_try_charge_swap(charged: FolioMemcg, pages: int) -> int:
    """Charge a slot to whom its folio is charged to: mm/memcontrol.c:__mem_cgroup_try_charge_swap.

    Returns:
        ID to be recorded for the slot, or -ENOMEM if memory.swap.max forbids it.
    """
    owner: MemCgroup = charged.with_memcg(mem_cgroup_id_get_online)
    if not owner.parent:
        return owner.id
    if page_counter_try_charge(owner.swap, pages):
        count_memcg_events(owner, "swap_max")
        owner.id_put()
        return -ENOMEM
    return owner.id


def mem_cgroup_uncharge_swap(memcgs: MemcgRoot, memcg_id: int, pages: int) -> None:
    """Take the charge of a slot back: mm/memcontrol.c:__mem_cgroup_uncharge_swap."""
    with rcu:
        memcg = mem_cgroup_from_id(memcgs, memcg_id)
        if memcg and memcg.parent:
            page_counter_uncharge(memcg.swap, pages)
            memcg.id_put()


def mem_cgroup_get_nr_swap_pages(nr_swap_pages: Atomic, memcg: MemCgroup) -> int:
    """How many slots a memcg can still get: mm/memcontrol.c:mem_cgroup_get_nr_swap_pages.

    Args:
        nr_swap_pages: slots that are free, less than none while an area is ended.
        memcg: whose limits count, and those above.
    """
    left = (each.swap.max.read() - page_counter_read(each.swap) for each in memcg.limited)
    return min([nr_swap_pages.read(), *left])


def mem_cgroup_swap_full(memcg: MemCgroup) -> bool:
    """Whether half of memory.swap.max is used, here or above: mm/memcontrol.c:mem_cgroup_swap_full."""
    return any(2 * page_counter_read(each.swap) >= each.swap.max.read() for each in memcg.limited)


# Files ----------------------------------------------------------------------------------------------------------------


def swap_max_write(memcg: MemCgroup, size: int) -> None:
    """memory.swap.max, in bytes: mm/memcontrol.c:swap_max_write."""
    memcg.swap.max.xchg(size // PAGE_SIZE)


def zswap_max_write(memcg: MemCgroup, size: int) -> None:
    """memory.zswap.max, in bytes: mm/memcontrol.c:zswap_max_write."""
    memcg.zswap_max.xchg(size // PAGE_SIZE)


def zswap_writeback_write(memcg: MemCgroup, enabled: bool) -> None:
    """memory.zswap.writeback: mm/memcontrol.c:zswap_writeback_write."""
    WRITE_ONCE(memcg).zswap_writeback = enabled


def memory_stat(memcg: MemCgroup) -> dict[str, int]:
    """Numbers of memory.stat and its neighbours, here and below; `anon`, `zswap`, `zswapped` and the rest in bytes."""
    with rcu:
        # Without the lock, as what rstat has flushed last.
        anon = sum(data_race(each.lruvec).size for each in css_descendants(memcg))
    stat = memcg.events.all()
    stat |= {name: stat.get(name, 0) for name in ("zswpin", "zswpout", "zswpwb", "pgmajfault")}
    stat["zswap_incomp"] = memcg.zswap_incomp.read() * PAGE_SIZE
    stat |= {"anon": anon * PAGE_SIZE, "zswap": memcg.zswap_bytes.read(), "zswapped": memcg.zswapped.read() * PAGE_SIZE}
    stat["memory.current"] = page_counter_read(memcg.memory) * PAGE_SIZE
    stat["memory.swap.current"] = page_counter_read(memcg.swap) * PAGE_SIZE
    return stat
