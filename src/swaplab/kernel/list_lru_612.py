"""list_lru as of 6.12: one lock per node, and kmemcg_id, read under it, says which list.

mm/list_lru.c, 6.12. Each function that a safeguard protects has a sibling without it. As in Linux, a list that is
missing is a null pointer, which is followed: hence the ignored types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from swaplab.kernel.css import css_descendants
from swaplab.kernel.list_lru import (
    ENOMEM,
    Isolate,
    ListLru,
    ListLruMemcg,
    ListLruOne,
    LruMemcg,
    LruStatus,
    free_memcg_lists,
    new_memcg_lists,
    set_shrinker_bit,
)
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, ListNode, call_rcu, rcu

__all__ = ["ListLru612", "OwnedListLru", "switch_ids"]


def memcg_kmem_id(memcg: LruMemcg) -> int:
    """memcg_kmem_id, include/linux/memcontrol.h.

    Differs: a marked load. Linux has a plain one, which formally races with memcg_reparent_list_lrus.
    """
    return READ_ONCE(memcg).kmemcg_id


class ListLru612(ListLru):
    """A list_lru of 6.12.

    Args:
        nodes: NUMA nodes.
        index: which list is a memcg's: memcg_kmem_id, or something that does not follow offlining.
        early: read it before the lock is taken, not under it.
        parents: allocate the lists of ancestors too.
        wait: free lists a grace period after they are gone, not at once.
    """

    relocks: ClassVar[bool] = True
    index: Final[Callable[[LruMemcg], int]]
    early: Final[bool]
    parents: Final[bool]
    wait: Final[bool]

    def __init__(
        self,
        nodes: int,
        index: Callable[[LruMemcg], int] = memcg_kmem_id,
        early: bool = False,
        parents: bool = True,
        wait: bool = True,
    ) -> None:
        super().__init__(nodes)
        self.index, self.early, self.parents, self.wait = index, early, parents, wait

    def add(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_add."""
        nlru = self.node[nid]
        early = self.index(memcg) if self.early else None
        with nlru.lock:
            if not item.empty():
                return False
            one: ListLruOne = self.from_memcg_idx(nid, self.index(memcg) if early is None else early)  # type: ignore[assignment]
            one.list.add_tail(item)
            if not one.nr_items:
                set_shrinker_bit(memcg)
            one.nr_items += 1
            nlru.nr_items.add(1)
            return True

    def delete(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_del. While lists are reparented the item may be on another list than the one that is counted."""
        nlru = self.node[nid]
        early = self.index(memcg) if self.early else None
        with nlru.lock:
            if item.empty():
                return False
            one: ListLruOne = self.from_memcg_idx(nid, self.index(memcg) if early is None else early)  # type: ignore[assignment]
            item.delete()
            one.nr_items -= 1
            nlru.nr_items.add(-1)
            return True

    def walk_one(self, nid: int, memcg: LruMemcg, isolate: Isolate, nr_to_walk: int) -> int:
        """list_lru_walk_one."""
        with self.node[nid].lock:
            return self._walk(nid, self.index(memcg), isolate, nr_to_walk)

    def _walk(self, nid: int, idx: int, isolate: Isolate, nr_to_walk: int) -> int:
        """__list_lru_walk_one: after the lock was dropped, start again from the head."""
        nlru = self.node[nid]
        isolated = 0
        restart = True
        while restart:
            restart = False
            one = self.from_memcg_idx(nid, idx)
            following = one.list.first() if one else None
            while following and one and nr_to_walk and not restart:
                entry, nr_to_walk = following, nr_to_walk - 1
                following = one.list.after(entry.lru)
                status = isolate(entry, one, nlru.lock)
                if status in (LruStatus.REMOVED, LruStatus.REMOVED_RETRY):
                    isolated += 1
                    nlru.nr_items.add(-1)
                elif status is LruStatus.ROTATE:
                    one.list.move_tail(entry.lru)
                elif status is LruStatus.STOP:
                    return isolated
                restart = status in (LruStatus.REMOVED_RETRY, LruStatus.RETRY)
        return isolated

    def alloc(self, memcg: LruMemcg) -> int:
        """memcg_list_lru_alloc. Differs: storing in the array needs no memory of its own."""
        table: list[tuple[LruMemcg, ListLruMemcg]] = []
        walker: LruMemcg | None = memcg
        while walker and not self._allocated(walker):
            mlru = new_memcg_lists(self, walker)
            if mlru is None:
                for _, made in table:
                    free_memcg_lists(made)
                return ENOMEM
            table.append((walker, mlru))
            walker = walker.parent if self.parents else None  # type: ignore[assignment]
        if not table:
            return 0
        with self.xa.lock:
            for each, mlru in reversed(table):
                index = self.index(each)
                if index < 0 or self.xa.load(index):
                    free_memcg_lists(mlru)
                else:
                    self.xa.store_locked(index, mlru)
        return 0

    def _allocated(self, memcg: LruMemcg) -> bool:
        """memcg_list_lru_allocated."""
        index = self.index(memcg)
        return index < 0 or self.xa.load(index) is not None

    def reparent(self, memcg: LruMemcg, parent: LruMemcg, src_idx: int) -> None:
        """memcg_reparent_list_lru: all nodes, then memcg_list_lru_free."""
        for nid in range(self.nodes):
            self._reparent_node(nid, src_idx, parent)
        mlru = self.xa.erase(src_idx)
        if mlru:
            if self.wait:
                call_rcu(free_memcg_lists, mlru)
            else:
                free_memcg_lists(mlru)

    def _reparent_node(self, nid: int, src_idx: int, parent: LruMemcg) -> None:
        """memcg_reparent_list_lru_node."""
        with self.node[nid].lock:
            src = self.from_memcg_idx(nid, src_idx)
            if not src:
                return
            dst: ListLruOne = self.from_memcg_idx(nid, self.index(parent))  # type: ignore[assignment]
            dst.list.splice(src.list)
            if src.nr_items:
                dst.nr_items += src.nr_items
                set_shrinker_bit(parent)
                src.nr_items = 0


class OwnedListLru(ListLru612):
    """The fear of 2023: a memcg's lists are its own until it is freed, even after they were spliced.

    Differs: Linux never had this.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__(nodes, index=lambda memcg: memcg.id)  # type: ignore[attr-defined]

    def reparent(self, memcg: LruMemcg, parent: LruMemcg, src_idx: int) -> None:
        """memcg_reparent_list_lru: splice, and no more."""
        for nid in range(self.nodes):
            self._reparent_node(nid, src_idx, parent)

    def memcg_freed(self, src_idx: int) -> None:
        """memcg_list_lru_free: when their memcg is freed."""
        if mlru := self.xa.erase(src_idx):
            free_memcg_lists(mlru)


def switch_ids(memcg: LruMemcg, parent: LruMemcg) -> None:
    """The first half of memcg_reparent_list_lrus: lookups from now on find the parent's lists."""
    with rcu:
        for child in css_descendants(memcg):
            WRITE_ONCE(child).kmemcg_id = READ_ONCE(parent).kmemcg_id
