"""Swap slots and swap cache as of 7.2: one table, a word a slot, of which each cluster's lock guards 512.

mm/swapfile.c, mm/swap_state.c and mm/swap_table.h, 7.2. A slot has a folio in the swap cache, or page tables that name
it, or both, or is free; there is none that somebody has pinned but that has neither. A folio is put there before it is
charged, so that others find it, and wait for its lock.

Differs: tables are there from swapon to swapoff; the lowest free slot after the last is taken, without lists of
clusters; counts are not limited; no readahead, and no shadows of folios that are gone.
"""

from __future__ import annotations

from errno import EEXIST, ENOENT, ENOMEM
from typing import Final, NamedTuple

from swaplab.kernel.charge import alloc_folio
from swaplab.kernel.folio import Folio, folio_add_lru, folio_put
from swaplab.kernel.memcontrol import MemCgroup, mem_cgroup_try_charge_swap, mem_cgroup_uncharge_swap
from swaplab.kernel.swap_cache import swapin_charge_folio, try_to_reclaim_swap
from swaplab.kernel.swap_device import SwapFile
from swaplab.kernel.swapfile import SlotUse, Swap, SwapInfo
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Array,
    Atomic,
    KernelWarning,
    Shared,
    SpinLock,
    XArray,
    kfree,
)
from swaplab.kernel.zswap_entry import zswap_invalidate
from swaplab.linux.swap import SWAPFILE_CLUSTER

__all__ = ["SwapInfo72"]


class Word(NamedTuple):
    """A word of the table, mm/swap_table.h, of a slot that is not free.

    Attributes:
        swap_count: page tables that name the slot.
        folio: in the swap cache.
        is_zero: whether the page is all zeros.
    """

    swap_count: int
    folio: Folio | None
    is_zero: bool


FREE = Word(0, None, False)
"""What a slot has that was just taken, or is free."""


class SwapCluster(Shared):
    """struct swap_cluster_info.

    Attributes:
        lock: guards all of it.
        table: words by slot; none for those that are free.
        memcg_table: by slot, ID of the memcg that is charged, 0 for none.
    """

    name: Final[str]
    lock: Final[SpinLock]
    table: Final[XArray[Word]]
    memcg_table: Final[Array[int]]

    def __init__(self, number: int) -> None:
        self.name = f"cluster{number}"
        self.lock = SpinLock(self, "lock")
        self.table = XArray(self, "table")
        self.memcg_table = Array(self, "memcg_table", [0] * SWAPFILE_CLUSTER)


class SwapInfo72(SwapInfo):
    """struct swap_info_struct, 7.2.

    Attributes:
        clusters: 512 slots each.
        inuse: slots taken.
        next: where to look for a free one; a hint that nothing guards.
    """

    clusters: Final[tuple[SwapCluster, ...]]
    inuse: Final[Atomic]
    next: int

    def __init__(self, device: SwapFile, slots: int, synchronous: bool) -> None:
        super().__init__(device, slots, synchronous)
        self.clusters = tuple(SwapCluster(number) for number in range(-(-slots // SWAPFILE_CLUSTER)))
        self.inuse = Atomic(self, "inuse")
        self.next = 1

    def inuse_pages(self) -> int:
        """swap_usage_in_pages."""
        return self.inuse.read()

    def _cluster(self, entry: int) -> SwapCluster:
        """__swap_entry_to_cluster."""
        return self.clusters[entry // SWAPFILE_CLUSTER]

    def _word(self, cluster: SwapCluster, entry: int) -> Word:
        """__swap_table_get of a slot that is taken. The cluster is locked.

        Raises:
            KernelWarning: it is free.
        """
        word = cluster.table.load(entry)
        if not word:
            raise KernelWarning(f"slot {entry} is used, but free")
        return word

    # Uses of a slot

    def dup(self, entry: int) -> None:
        """__swap_cluster_dup_entry."""
        cluster = self._cluster(entry)
        with cluster.lock:
            word = self._word(cluster, entry)
            cluster.table.store_locked(entry, word._replace(swap_count=word.swap_count + 1))

    def put(self, swap: Swap, entry: int) -> bool:
        """swap_put_entries_cluster: a slot without a folio is freed at once."""
        cluster = self._cluster(entry)
        with cluster.lock:
            word = self._word(cluster, entry)
            if not word.swap_count:
                raise KernelWarning(f"slot {entry} is put, but no page table names it")
            cluster.table.store_locked(entry, word._replace(swap_count=word.swap_count - 1))
            if word.swap_count == 1 and not word.folio:
                self._free_entry(swap, cluster, entry)
        return word.swap_count == 1 and word.folio is not None

    def count(self, entry: int) -> int:
        """swp_swapcount."""
        cluster = self._cluster(entry)
        with cluster.lock:
            word = cluster.table.load(entry)
        return word.swap_count if word else 0

    def set_zero(self, entry: int, is_zero: bool) -> None:
        """swap_zeromap_folio_set and swap_zeromap_folio_clear, mm/page_io.c."""
        cluster = self._cluster(entry)
        with cluster.lock:
            cluster.table.store_locked(entry, self._word(cluster, entry)._replace(is_zero=is_zero))

    def is_zero(self, entry: int) -> bool:
        """swap_zeromap_batch. Without the lock: the folio's keeps the slot."""
        word = self._cluster(entry).table.load(entry)
        return word is not None and word.is_zero

    def _free_entry(self, swap: Swap, cluster: SwapCluster, entry: int) -> None:
        """__swap_cluster_free_entries and swap_range_free: the charge, then zswap's entries. It is locked."""
        offset = entry % SWAPFILE_CLUSTER
        cluster.table.erase_locked(entry)
        owner, cluster.memcg_table[offset] = cluster.memcg_table[offset], 0
        mem_cgroup_uncharge_swap(swap.zswap.root.memcgs, owner, 1)
        zswap_invalidate(swap.zswap, self.tree, entry)
        swap.nr_swap_pages.add(1)
        self.inuse.add(-1)

    # The swap cache

    def get_folio(self, entry: int) -> Folio | None:
        """swap_cache_get_folio.

        Differs: under the cluster's lock. Linux reads under RCU and looks again once it has the reference, which
        needs a struct page that outlives its folio.
        """
        cluster = self._cluster(entry)
        with cluster.lock:
            word = cluster.table.load(entry)
            if not word or not word.folio:
                return None
            word.folio.refcount.add(1)
            return word.folio

    def _add_folio(self, cluster: SwapCluster, folio: Folio, entry: int, word: Word) -> None:
        """__swap_cache_do_add_folio. The cluster is locked, and the folio."""
        cluster.table.store_locked(entry, word._replace(folio=folio))
        folio.refcount.add(1)
        WRITE_ONCE(folio).swapcache = True
        folio.swap = entry

    def _del_folio(self, swap: Swap, cluster: SwapCluster, folio: Folio) -> None:
        """__swap_cache_do_del_folio: a slot that no page table names is freed. The cluster is locked, and the folio.

        Raises:
            KernelWarning: another folio is there.
        """
        entry = folio.swap
        word = self._word(cluster, entry)
        if word.folio is not folio:
            raise KernelWarning(f"slot {entry} has another folio than the one that leaves")
        cluster.table.store_locked(entry, word._replace(folio=None))
        folio.swap = 0
        WRITE_ONCE(folio).swapcache = False
        if not word.swap_count:
            self._free_entry(swap, cluster, entry)

    def delete_folio(self, swap: Swap, folio: Folio) -> None:
        """swap_cache_del_folio."""
        cluster = self._cluster(folio.swap)
        with cluster.lock:
            self._del_folio(swap, cluster, folio)
        folio.refcount.add(-1)

    def remove_mapping(self, swap: Swap, folio: Folio) -> bool:
        """__remove_mapping, mm/vmscan.c."""
        cluster = self._cluster(folio.swap)
        with cluster.lock:
            # One reference is the caller's, one the cache's.
            if folio.refcount.cmpxchg(2, 0) != 2:
                return False
            if READ_ONCE(folio).dirty:
                folio.refcount.add(2)
                return False
            self._del_folio(swap, cluster, folio)
        return True

    # Going out

    def alloc_slot(self, swap: Swap, folio: Folio) -> bool:
        """folio_alloc_swap: the folio is in the swap cache first, and charged for its slot then."""
        if not self._alloc(swap, folio) and not (self._reclaim_cached(swap) and self._alloc(swap, folio)):
            return False
        assert folio.memcg_data
        owner = mem_cgroup_try_charge_swap(folio.memcg_data, 1)
        if owner == -ENOMEM:
            self.delete_folio(swap, folio)
            return False
        cluster = self._cluster(folio.swap)
        with cluster.lock:
            cluster.memcg_table[folio.swap % SWAPFILE_CLUSTER] = owner
        WRITE_ONCE(folio).dirty = True
        return True

    def _alloc(self, swap: Swap, folio: Folio) -> bool:
        """cluster_alloc_swap_entry: take the next free slot for a folio."""
        first = READ_ONCE(self).next
        start = first // SWAPFILE_CLUSTER
        for number in (*range(start, len(self.clusters)), *range(start + 1)):
            cluster = self.clusters[number]
            with cluster.lock:
                if not READ_ONCE(self).writeok:
                    return False
                entry = self._free_slot(cluster, number, first)
                if entry:
                    self._add_folio(cluster, folio, entry, FREE)
                    WRITE_ONCE(self).next = (entry + 1) % self.max
                    swap.nr_swap_pages.add(-1)
                    self.inuse.add(1)
                    return True
        return False

    def _free_slot(self, cluster: SwapCluster, number: int, first: int) -> int:
        """cluster_scan_range: a free slot of a cluster, `first` or after it if there is one, or 0. It is locked."""
        slots = range(max(1, number * SWAPFILE_CLUSTER), min(self.max, (number + 1) * SWAPFILE_CLUSTER))
        if first in slots and not cluster.table.load(first):
            return first
        taken = {*cluster.table.indices()}
        free = [entry for entry in slots if entry not in taken]
        return next((entry for entry in free if entry >= first), free[0] if free else 0)

    def _reclaim_cached(self, swap: Swap) -> bool:
        """swap_reclaim_full_clusters: free the first slot that only the swap cache has, if there is any."""
        if not self.users.tryget_live():
            return False
        freed = any(try_to_reclaim_swap(swap, self, entry) for entry in self.cached())
        self.users.put()
        return freed

    # Coming in

    def _add_check(self, cluster: SwapCluster, entry: int) -> int:
        """__swap_cache_add_check: 0, -EEXIST or -ENOENT. The cluster is locked."""
        word = cluster.table.load(entry)
        if word and word.folio:
            return -EEXIST
        return 0 if word and word.swap_count else -ENOENT

    def alloc_folio(self, swap: Swap, entry: int, memcg: MemCgroup) -> Folio | int:
        """__swap_cache_alloc: put a new folio there, locked, then charge it, which may reclaim."""
        cluster = self._cluster(entry)
        with cluster.lock:
            error = self._add_check(cluster, entry)
        if error:
            return error
        folio = alloc_folio(swap)
        if not folio:
            return -ENOMEM
        folio.lock.acquire()
        with cluster.lock:
            error = self._add_check(cluster, entry)
            if not error:
                self._add_folio(cluster, folio, entry, self._word(cluster, entry))
                owner = cluster.memcg_table[entry % SWAPFILE_CLUSTER]
        if not error and not swapin_charge_folio(swap, folio, owner, memcg):
            self.delete_folio(swap, folio)
            error = -ENOMEM
        if error:
            folio.lock.release()
            folio_put(folio)
            return error
        folio_add_lru(folio)
        return folio

    # From outside

    def cached(self) -> tuple[int, ...]:
        """Slots that have a folio, in order, as they are one by one."""
        found: list[int] = []
        for cluster in self.clusters:
            for entry in cluster.table.indices():
                word = cluster.table.load(entry)
                if word and word.folio:
                    found.append(entry)
        return tuple(found)

    def free(self) -> None:
        """free_swap_cluster_info."""
        for cluster in self.clusters:
            kfree(cluster)

    def uses(self) -> list[SlotUse]:
        """What there is of each slot."""
        found = []
        for number, cluster in enumerate(self.clusters):
            words, owners = cluster.table.items, cluster.memcg_table.items
            for slot in range(number * SWAPFILE_CLUSTER, min(self.max, (number + 1) * SWAPFILE_CLUSTER)):
                word = words.get(slot)
                found.append(SlotUse(word is not None, *(word or FREE), owners[slot % SWAPFILE_CLUSTER]))
        return found
