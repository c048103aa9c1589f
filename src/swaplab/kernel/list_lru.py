"""list_lru: lists of reclaimable objects, one per node and memcg.

mm/list_lru.c, 6.12 and 6.13. `ListLru` is what both have; what differs is in `list_lru_612` and `list_lru_613`, and is
chosen once, by the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, Final

from swaplab.kernel.css import Css
from swaplab.kernel.sync import WRITE_ONCE, Atomic, ListHead, ListNode, Shared, SpinLock, XArray, current, kfree

__all__ = [
    "DEAD",
    "Isolate",
    "ListLru",
    "ListLruMemcg",
    "ListLruNode",
    "ListLruOne",
    "LruMemcg",
    "LruStatus",
]

DEAD: Final = -(1 << 63)
"""LONG_MIN as nr_items: the list was reparented (6.13)."""
ENOMEM: Final = -12


class LruStatus(Enum):
    """enum lru_status, include/linux/list_lru.h: what a walk's callback says of an item."""

    REMOVED = "removed"
    REMOVED_RETRY = "removed, lock dropped"
    ROTATE = "to the tail"
    SKIP = "left alone"
    RETRY = "lock dropped"
    STOP = "lock dropped, no more"


Isolate = Callable[[Any, "ListLruOne", SpinLock], LruStatus]


class LruMemcg(Css):
    """What list_lru needs of a memcg.

    Attributes:
        kmemcg_id: index of its lists; -1 for the root.
        shrinker_bit: whether shrinkers look at it.
    """

    kmemcg_id: int
    shrinker_bit: bool


class ListLruOne(Shared):
    """struct list_lru_one.

    Attributes:
        list: of items, the oldest first.
        lock: since 6.13; before, the node's lock guards all lists of the node.
        nr_items: how many; may be negative while lists are reparented (6.12), `DEAD` afterwards (6.13).
    """

    name: Final[str]
    list: Final[ListHead[Any]]
    lock: Final[SpinLock]
    nr_items: int

    def __init__(self, name: str, level: int) -> None:
        self.name = name
        self.list = ListHead(self, "list")
        # A child's lock is taken before its parent's: spin_lock_nested.
        self.lock = SpinLock(self, "lock", -level)
        self.nr_items = 0


class ListLruMemcg(Shared):
    """struct list_lru_memcg: the lists of one memcg, by node."""

    name: Final[str]
    node: Final[tuple[ListLruOne, ...]]

    def __init__(self, name: str, level: int, nodes: int) -> None:
        self.name = f"{name}.lists"
        lists = [f"{name}.lru"] if nodes == 1 else [f"{name}.lru/node{nid}" for nid in range(nodes)]
        self.node = tuple(ListLruOne(each, level) for each in lists)


class ListLruNode(Shared):
    """struct list_lru_node: the root's list, and the lock of all lists of the node (6.12)."""

    name: Final[str]
    lock: Final[SpinLock]
    lru: Final[ListLruOne]
    nr_items: Final[Atomic]

    def __init__(self, nid: int) -> None:
        self.name = f"node{nid}"
        self.lock = SpinLock(self, "lock")
        self.lru = ListLruOne(f"root.lru/node{nid}", 0)
        self.nr_items = Atomic(self, "nr_items")


class ListLru(Shared):
    """struct list_lru, aware of memcgs: what all versions have. The callers keep memcgs alive.

    Args:
        nodes: NUMA nodes.

    Attributes:
        relocks: whether a walk's callback that has dropped the lock takes it again.
        node: by number.
        xa: lists of memcgs, by kmemcg_id; the root's are in `node`.
    """

    relocks: ClassVar[bool]
    nodes: Final[int]
    node: Final[tuple[ListLruNode, ...]]
    xa: Final[XArray[ListLruMemcg]]

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.node = tuple(ListLruNode(nid) for nid in range(nodes))
        self.xa = XArray(self, "xa")

    def from_memcg_idx(self, nid: int, idx: int) -> ListLruOne | None:
        """list_lru_from_memcg_idx."""
        if idx < 0:
            return self.node[nid].lru
        mlru = self.xa.load(idx)
        return mlru.node[nid] if mlru else None

    def add(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_add: put an item at the tail, and return whether it was on no list."""
        raise NotImplementedError

    def delete(self, item: ListNode[Any], nid: int, memcg: LruMemcg) -> bool:
        """list_lru_del: take an item off its list, and return whether it was on one."""
        raise NotImplementedError

    def walk_one(self, nid: int, memcg: LruMemcg, isolate: Isolate, nr_to_walk: int) -> int:
        """list_lru_walk_one: offer up to `nr_to_walk` items to `isolate`; return how many it removed."""
        raise NotImplementedError

    def alloc(self, memcg: LruMemcg) -> int:
        """memcg_list_lru_alloc: make the lists of a memcg and of its ancestors; 0 or -ENOMEM. May sleep."""
        raise NotImplementedError

    def reparent(self, memcg: LruMemcg, parent: LruMemcg, src_idx: int) -> None:
        """memcg_reparent_list_lru: leave the items of index `src_idx` to the parent, and free the lists."""
        raise NotImplementedError


def new_memcg_lists(lru: ListLru, memcg: LruMemcg) -> ListLruMemcg | None:
    """memcg_init_list_lru_one: none if there is no memory."""
    return None if current.runtime.fails("kmalloc") else ListLruMemcg(memcg.name, memcg.level, lru.nodes)


def free_memcg_lists(mlru: ListLruMemcg) -> None:
    """Free the lists of a memcg, which are one allocation."""
    for one in mlru.node:
        kfree(one)
    kfree(mlru)


def set_shrinker_bit(memcg: LruMemcg) -> None:
    """set_shrinker_bit, mm/shrinker.c. Differs: there is one shrinker."""
    WRITE_ONCE(memcg).shrinker_bit = True
