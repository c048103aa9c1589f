"""list_lru since 6.13: a lock per list, and a mark on dead ones: a task that meets one goes on to the parent's.

mm/list_lru.c, 6.13 (fb56fdf8b9a2), as mended in 2026 (98733f3f0bec), and 7.2.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from swaplab.kernel.css import css_is_dying
from swaplab.kernel.list_lru import (
    DEAD,
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
from swaplab.kernel.list_lru_612 import memcg_kmem_id
from swaplab.kernel.sync import KernelWarning, ListNode, call_rcu, rcu

__all__ = ["ListLru72", "ListLru613"]


def lock_list_lru_of_memcg(
    lru: ListLru, nid: int, memcg: LruMemcg, skip_empty: bool
) -> tuple[ListLruOne | None, LruMemcg]:
    """lock_list_lru_of_memcg: the memcg's list if it lives, else that of the nearest ancestor; locked.

    Returns:
        The list, or none if that ancestor is not wanted; and whose it is.

    Raises:
        KernelWarning: the list of a memcg is gone that is not dying.
    """
    with rcu:
        while True:
            one = lru.from_memcg_idx(nid, memcg_kmem_id(memcg))
            if one and lock_list_lru(one):
                return one, memcg
            if skip_empty:
                return None, memcg
            if not css_is_dying(memcg):
                raise KernelWarning(f"{memcg.label} is not dying, and has no list")
            assert memcg.parent
            memcg = memcg.parent  # type: ignore[assignment]


def lock_list_lru(one: ListLruOne) -> bool:
    """lock_list_lru: not if it is dead."""
    one.lock.acquire()
    if one.nr_items == DEAD:
        one.lock.release()
        return False
    return True


class ListLru613(ListLru):
    """A list_lru of 6.13.

    Args:
        nodes: NUMA nodes.
        drain_first: reparent the lists and mark them dead, and only then take them out of the array.
    """

    relocks: ClassVar[bool] = False
    drain_first: Final[bool]

    def __init__(self, nodes: int, drain_first: bool) -> None:
        super().__init__(nodes)
        self.drain_first = drain_first

    def add(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_add."""
        one, locked = lock_list_lru_of_memcg(self, nid, memcg, skip_empty=False)
        assert one
        was_empty = item.empty()
        if was_empty:
            one.list.add_tail(item)
            if not one.nr_items:
                set_shrinker_bit(self.shrunk_through(memcg, locked))
            one.nr_items += 1
        one.lock.release()
        if was_empty:
            self.node[nid].nr_items.add(1)
        return was_empty

    def shrunk_through(self, passed: LruMemcg, locked: LruMemcg) -> LruMemcg:
        """The memcg whose shrinkers find the added item: the one that was passed, even if the list is an ancestor's."""
        return passed

    def delete(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_del."""
        one, _ = lock_list_lru_of_memcg(self, nid, memcg, skip_empty=False)
        assert one
        was_listed = not item.empty()
        if was_listed:
            item.delete()
            one.nr_items -= 1
        one.lock.release()
        if was_listed:
            self.node[nid].nr_items.add(-1)
        return was_listed

    def walk_one(self, nid: int, memcg: LruMemcg, isolate: Isolate, nr_to_walk: int) -> int:
        """list_lru_walk_one: callbacks that drop the lock return without it, and the walk starts again."""
        isolated = 0
        while True:
            one, _ = lock_list_lru_of_memcg(self, nid, memcg, skip_empty=True)
            if not one:
                return isolated
            following = one.list.first()
            restart = False
            while following and nr_to_walk and not restart:
                entry, nr_to_walk = following, nr_to_walk - 1
                following = one.list.after(entry.lru)
                status = isolate(entry, one, one.lock)
                if status in (LruStatus.REMOVED, LruStatus.REMOVED_RETRY):
                    isolated += 1
                    self.node[nid].nr_items.add(-1)
                elif status is LruStatus.ROTATE:
                    one.list.move_tail(entry.lru)
                elif status is LruStatus.STOP:
                    return isolated
                restart = status in (LruStatus.REMOVED_RETRY, LruStatus.RETRY)
            if not restart:
                one.lock.release()
                return isolated

    def alloc(self, memcg: LruMemcg) -> int:
        """memcg_list_lru_alloc: the farthest ancestor without lists first; none for a dying one."""
        while memcg_kmem_id(memcg) >= 0 and not self.xa.load(memcg_kmem_id(memcg)):
            each = memcg
            while (parent := each.parent) and self._is_missing(parent):  # type: ignore[arg-type]
                each = parent  # type: ignore[assignment]
            mlru = new_memcg_lists(self, each)
            if mlru is None:
                return ENOMEM
            is_dying = self._store(each, mlru)
            if is_dying and each is memcg:
                return 0
        return 0

    def _is_missing(self, memcg: LruMemcg) -> bool:
        index = memcg_kmem_id(memcg)
        return index >= 0 and not self.xa.load(index)

    def _store(self, memcg: LruMemcg, mlru: ListLruMemcg) -> bool:
        with self.xa.lock:
            is_dying = css_is_dying(memcg)
            index = memcg_kmem_id(memcg)
            if is_dying or self.xa.load(index):
                free_memcg_lists(mlru)
            else:
                self.xa.store_locked(index, mlru)
        return is_dying

    def reparent(self, memcg: LruMemcg, parent: LruMemcg, src_idx: int) -> None:
        """memcg_reparent_list_lrus, for one list_lru."""
        mlru = self.xa.load(src_idx) if self.drain_first else self.xa.erase(src_idx)
        if not mlru:
            return
        for nid in range(self.nodes):
            self._reparent_one(nid, mlru.node[nid], parent)
        if self.drain_first:
            self.xa.erase(src_idx)
        call_rcu(free_memcg_lists, mlru)

    def _reparent_one(self, nid: int, src: ListLruOne, parent: LruMemcg) -> None:
        """memcg_reparent_list_lru_one."""
        dst = self.from_memcg_idx(nid, memcg_kmem_id(parent))
        assert dst
        with src.lock, dst.lock:
            dst.list.splice(src.list)
            if src.nr_items:
                dst.nr_items += src.nr_items
                set_shrinker_bit(parent)
            src.nr_items = DEAD


class ListLru72(ListLru613):
    """A list_lru of 7.2: lists are drained first, and shrinkers are sent where an item is.

    Args:
        nodes: NUMA nodes.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__(nodes, drain_first=True)

    def shrunk_through(self, passed: LruMemcg, locked: LruMemcg) -> LruMemcg:
        """The memcg whose shrinkers find the added item: the one that has the list."""
        return locked

    def alloc(self, memcg: LruMemcg) -> int:
        """memcg_list_lru_alloc: the farthest ancestor without lists first, as far as none is dying."""
        while self._is_missing(memcg):
            each = memcg
            while (parent := each.parent) and self._is_missing(parent):  # type: ignore[arg-type]
                each = parent  # type: ignore[assignment]
            mlru = new_memcg_lists(self, each)
            if mlru is None:
                return ENOMEM
            self._store(each, mlru)
            if each is memcg or css_is_dying(each):
                break
        return 0
