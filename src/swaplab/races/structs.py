"""The structures that the exhibits about list_lru have in common; what is done with them is in the exhibits."""

from __future__ import annotations

from typing import Final, cast

from swaplab.kernel.sync import ListHead, ListNode, Shared, SpinLock, XArray

__all__ = ["ListLru", "ListLruOne", "Memcg", "Objcg", "ZswapEntry", "list_lru_from_memcg_idx"]


class Memcg(Shared):
    """struct mem_cgroup.

    Attributes:
        parent: null for the root.
        kmemcg_id: under which its lists are found.
        is_dying: CSS_DYING, which kill_css() sets.
        shrinker_bit: whether slab reclaim has a look at its lists, shrinker_info_unit.map.
    """

    name: Final[str]
    kmemcg_id: int
    is_dying: bool
    shrinker_bit: bool

    def __init__(self, name: str, kmemcg_id: int, parent: Memcg | None = None) -> None:
        self.name = name
        self.parent = cast(Memcg, parent)
        self.kmemcg_id = kmemcg_id
        self.is_dying = False
        self.shrinker_bit = False


class Objcg(Shared):
    """struct obj_cgroup: through which an object knows its memcg, whichever that is by now."""

    memcg: Memcg

    def __init__(self, memcg: Memcg) -> None:
        self.memcg = memcg


class ZswapEntry(Shared):
    """struct zswap_entry."""

    name: Final[str]

    def __init__(self, name: str, objcg: Objcg) -> None:
        self.name = name
        self.objcg = objcg
        self.lru: ListNode[ZswapEntry] = ListNode(self, "lru")


class ListLruOne(Shared):
    """struct list_lru_one: the list of one memcg.

    Attributes:
        nr_items: how long the list is, but see the exhibits.
        lock: since 6.13; before, one lock of the list_lru is for all of them. A parent's is taken inside a child's.
    """

    name: Final[str]
    nr_items: int

    def __init__(self, memcg: Memcg) -> None:
        self.name = f"{memcg.name}.lru"
        self.nr_items = 0
        self.list: ListHead[ZswapEntry] = ListHead(self, "list")
        self.lock = SpinLock(self, "lock", order=0 if memcg.parent else 1)


class ListLru(Shared):
    """struct list_lru on a machine with one node.

    Args:
        memcgs: which have a list already.

    Attributes:
        lock: of struct list_lru_node, up to 6.12.
        xa: lists by kmemcg_id.
    """

    def __init__(self, *memcgs: Memcg) -> None:
        self.lock = SpinLock(self, "lock")
        self.xa: XArray[ListLruOne] = XArray(self, "xa")
        for memcg in memcgs:
            self.xa.store(memcg.kmemcg_id, ListLruOne(memcg))


def list_lru_from_memcg_idx(lru: ListLru, kmemcg_id: int) -> ListLruOne:
    """mm/list_lru.c:list_lru_from_memcg_idx, 6.12. Null if there is no such list."""
    return cast(ListLruOne, lru.xa.load(kmemcg_id))
