"""zswap's entries: one compressed page each, in the tree of its swap area and on the list of its memcg.

mm/zswap.c, 6.12 and 7.2.
"""

from __future__ import annotations

from typing import Final

from swaplab.kernel.memcontrol import ObjCgroup, obj_cgroup_uncharge_zswap
from swaplab.kernel.sync import KernelWarning, ListNode, Shared, XArray, kfree
from swaplab.kernel.zsmalloc import zs_free
from swaplab.kernel.zswap_pool import Zswap, ZswapPool
from swaplab.linux.page import PAGE_SIZE

__all__ = ["NODE", "ZswapEntry", "ZswapTree", "zswap_entry_free", "zswap_invalidate", "zswap_lru_add", "zswap_swapoff"]

NODE = 0
"""Differs: one node."""


class ZswapEntry(Shared):
    """struct zswap_entry.

    Attributes:
        swpentry: the slot.
        length: of the compressed page in bytes.
        referenced: not yet met by reclaim; under the list's lock.
        pool: where it is, with a reference.
        handle: where in the pool.
        objcg: charged for it, with a reference; None for the root.
        lru: its place on the list.
    """

    pool: ZswapPool
    lru: Final[ListNode[ZswapEntry]]
    swpentry: int
    length: int
    referenced: bool
    handle: int
    objcg: ObjCgroup | None

    def __init__(self, pool: ZswapPool, swpentry: int, handle: int, length: int, objcg: ObjCgroup | None) -> None:
        self.pool = pool
        self.lru = ListNode(self, "lru")
        self.swpentry = swpentry
        self.handle = handle
        self.length = length
        self.referenced = True
        self.objcg = objcg

    @classmethod
    def unfinished(cls, handle: int, length: int) -> ZswapEntry:
        """Make one that says where its bytes are, and nothing else; any other use follows a null pointer."""
        return cls(None, 0, handle, length, None)  # type: ignore[arg-type]


class ZswapTree(Shared):
    """Entries of a swap area by slot: zswap_trees[type]. Differs: one tree, where Linux has one for each 64 MiB.

    Attributes:
        xa: the entries; gone after swapoff, as everything of this object is.
    """

    xa: Final[XArray[ZswapEntry]]

    def __init__(self) -> None:
        self.xa = XArray(self, "xa")


def zswap_swapoff(tree: ZswapTree) -> None:
    """Free a tree: mm/zswap.c:zswap_swapoff.

    Raises:
        KernelWarning: it is not empty.
    """
    left = tree.xa.indices()
    if left:
        raise KernelWarning(f"{len(left)} zswap entries are left at swapoff")
    kfree(tree)


def zswap_lru_add(zswap: Zswap, entry: ZswapEntry) -> None:
    """Put an entry on the list of its memcg: mm/zswap.c:zswap_lru_add.

    Under RCU, unless the protocol has another idea of what keeps the memcg: kmemcg_id, read under the list's lock,
    takes care of a memcg that goes offline meanwhile.
    """
    if entry.objcg:
        entry.objcg.with_memcg(lambda memcg: zswap.list_lru.add(entry.lru, NODE, memcg))
    else:
        zswap.list_lru.add(entry.lru, NODE, zswap.root)


def zswap_lru_del(zswap: Zswap, entry: ZswapEntry) -> None:
    """Take an entry off its list: mm/zswap.c:zswap_lru_del. See `zswap_lru_add`."""
    if entry.objcg:
        entry.objcg.with_memcg(lambda memcg: zswap.list_lru.delete(entry.lru, NODE, memcg))
    else:
        zswap.list_lru.delete(entry.lru, NODE, zswap.root)


def zswap_entry_free(zswap: Zswap, entry: ZswapEntry) -> None:
    """Free an entry that is in no tree any more: mm/zswap.c:zswap_entry_free.

    The objcg goes last: it names the list.
    """
    zswap_lru_del(zswap, entry)
    pool, objcg = entry.pool, entry.objcg
    zs_free(pool.zpool, entry.handle)
    pool.ref.put()
    if objcg:
        obj_cgroup_uncharge_zswap(objcg, entry.length)
        objcg.refcnt.put()
    if entry.length == PAGE_SIZE:
        zswap.stored_incompressible_pages.add(-1)
    kfree(entry)
    zswap.stored_pages.add(-1)


def zswap_invalidate(zswap: Zswap, tree: ZswapTree, swp: int) -> None:
    """Forget what there is for a slot: mm/zswap.c:zswap_invalidate."""
    entry = tree.xa.erase(swp)
    if entry:
        zswap_entry_free(zswap, entry)
