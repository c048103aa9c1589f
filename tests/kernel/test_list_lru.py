"""Lists of memcgs that come and go, one thing after the other: nothing is lost, and counts are right."""

from __future__ import annotations

from typing import Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.kernel.css import CSS_DYING, cgroup_rmdir
from swaplab.kernel.list_lru import DEAD, ListLruOne, LruStatus
from swaplab.kernel.memcontrol import MemcgRoot, MemCgroup, ObjCgroup, mem_cgroup_create
from swaplab.kernel.protocol import ListLruProtocol, Protocol
from swaplab.kernel.sync import Direct, ListNode, Shared, SpinLock, install, validate_list
from swaplab.kernel.sync.shared import is_freed

VERSIONS: Final = [version for version in get_args(ListLruProtocol) if version != "feared"]


class Item(Shared):
    """Something on a list."""

    def __init__(self, objcg: ObjCgroup) -> None:
        self.objcg = objcg
        self.lru = ListNode(self, "lru")


class System:
    """A tree of three memcgs below the root, and what should be in it."""

    def __init__(self, version: ListLruProtocol, runtime: Direct) -> None:
        self.runtime = runtime
        self.memcgs = MemcgRoot(Protocol(version))
        top = mem_cgroup_create(self.memcgs.root, "top")
        self.tree = [top, mem_cgroup_create(top, "a"), mem_cgroup_create(top, "b")]
        self.gone: list[MemCgroup] = []
        self.lru = self.memcgs.new_list_lru()
        self.items: list[Item] = []
        self.listed: set[Item] = set()

    def owner(self, memcg: MemCgroup) -> MemCgroup:
        """The memcg, or the nearest ancestor that is not gone."""
        while memcg in self.gone:
            assert isinstance(memcg.parent, MemCgroup)
            memcg = memcg.parent
        return memcg

    def add(self, which: int) -> None:
        memcg = self.tree[which % 3]
        if memcg in self.gone:
            return
        objcg = memcg.objcg
        assert objcg
        objcg.refcnt.get()
        self.lru.alloc(memcg)
        item = Item(objcg)
        assert objcg.with_memcg(lambda found: self.lru.add(item.lru, 0, found))
        assert not objcg.with_memcg(lambda found: self.lru.add(item.lru, 0, found))
        self.items.append(item)
        self.listed.add(item)

    def delete(self, which: int) -> None:
        if self.items:
            item = self.items[which % len(self.items)]
            was_listed = item in self.listed
            assert item.objcg.with_memcg(lambda found: self.lru.delete(item.lru, 0, found)) == was_listed
            self.listed.discard(item)

    def walk(self, which: int) -> None:
        memcg = self.owner(self.tree[which % 3])
        statuses = iter([LruStatus.ROTATE, LruStatus.SKIP, LruStatus.REMOVED])

        def isolate(item: Item, one: ListLruOne, lock: SpinLock) -> LruStatus:
            status = next(statuses)
            if status is LruStatus.REMOVED:
                item.lru.delete()
                one.nr_items -= 1
                self.listed.discard(item)
            return status

        removed = len(self.listed)
        assert self.lru.walk_one(0, memcg, isolate, 3) == removed - len(self.listed)

    def rmdir(self, which: int) -> None:
        memcg = self.tree[which % 3]
        if memcg in self.gone or (which % 3 == 0 and len(self.gone) < 2):
            return
        self.gone.append(memcg)
        cgroup_rmdir(memcg)
        self.runtime.drain()
        assert is_freed(memcg)

    def check(self) -> None:
        """Every item is on the list of who owns it now, and every list counts what is on it."""
        for memcg in [self.memcgs.root, *self.tree]:
            if memcg in self.gone:
                continue
            one = self.lru.from_memcg_idx(0, memcg.kmemcg_id)
            owned = {item for item in self.listed if self.owner(self.tree_memcg(item)) is memcg}
            if one is None:
                assert not owned
                continue
            validate_list(one.list)
            assert set(one.list.entries()) == owned
            assert one.nr_items == len(owned) != DEAD

    def tree_memcg(self, item: Item) -> MemCgroup:
        """The memcg that an item was charged to at first."""
        return next(memcg for memcg in self.tree if memcg.orig_objcg is item.objcg)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "delete", "walk", "rmdir"]), st.integers(0, 11)), max_size=25))
def test_nothing_is_lost(version: ListLruProtocol, steps: list[tuple[str, int]]) -> None:
    with install(runtime := Direct()):
        system = System(version, runtime)
        originals = {memcg: memcg.orig_objcg for memcg in system.tree}
        system.tree_memcg = lambda item: next(m for m, o in originals.items() if o is item.objcg)  # type: ignore[method-assign]
        for name, which in steps:
            getattr(system, name)(which)
            system.check()


def test_no_memory_for_lists() -> None:
    """Whichever of the allocations fails, none of those before it stays."""
    for failing in range(2):
        failures = iter([index == failing for index in range(9)])
        with install(Direct(lambda kind, failures=failures: next(failures))):  # type: ignore[misc]
            memcgs = MemcgRoot(Protocol())
            child = mem_cgroup_create(mem_cgroup_create(memcgs.root, "parent"), "child")
            lru = memcgs.new_list_lru()
            assert lru.alloc(child) == -12
            assert not lru.xa.items
            assert lru.alloc(child) == 0
            assert set(lru.xa.items) == {1, 2}


def test_rmdir_in_stages() -> None:
    """A killed css takes no more references from outside; its memcg stays until the last is gone."""
    with install(runtime := Direct()):
        memcgs = MemcgRoot(Protocol())
        child = mem_cgroup_create(memcgs.root, "child")
        child.get()
        cgroup_rmdir(child)
        assert child.flags & CSS_DYING
        assert not child.tryget_online()
        assert child.tryget()
        runtime.drain()
        assert child.objcg is None
        child.put()
        child.put()
        runtime.drain()
        assert is_freed(child)


def test_children_first() -> None:
    with install(runtime := Direct()):
        memcgs = MemcgRoot(Protocol())
        parent = mem_cgroup_create(memcgs.root, "parent")
        child = mem_cgroup_create(parent, "child")
        cgroup_rmdir(child)
        cgroup_rmdir(parent)
        runtime.drain()
        assert is_freed(child)
        assert is_freed(parent)
