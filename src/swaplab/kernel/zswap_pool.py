"""zswap's pools, one per compressor that entries still need, its limits and its parameters.

mm/zswap.c, 6.12. Differs: what is global there is an object, `Zswap`, so that there can be several.
"""

from __future__ import annotations

from typing import Final

from swaplab.compress import compress, decompress
from swaplab.errors import InputError
from swaplab.kernel.list_lru import ListLru
from swaplab.kernel.memcontrol import MemCgroup
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    KernelBug,
    KernelWarning,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    current,
    kfree,
    queue_work,
    rcu,
    rcu_assign_pointer,
    rcu_dereference,
    synchronize_rcu,
)
from swaplab.kernel.vmstat import Counters
from swaplab.kernel.zsmalloc import (
    ZsPool,
    zs_destroy_pool,
    zs_get_total_pages,
    zs_malloc,
    zs_map_object,
    zs_obj_write,
)
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE

__all__ = [
    "Zswap",
    "ZswapPool",
    "mem_cgroup_zswap_writeback_enabled",
    "zswap_accept_thr_pages",
    "zswap_check_limits",
    "zswap_compress",
    "zswap_compressor_param_set",
    "zswap_decompress",
    "zswap_max_pages",
    "zswap_pool_current_get",
    "zswap_total_pages",
]


class ZswapPool(Shared):
    """struct zswap_pool: entries of one compressor.

    Differs: no crypto_acomp_ctx per CPU, since the compressors here keep nothing between pages.

    Attributes:
        zpool: where the bytes are.
        ref: one as the current pool, and one of every entry.
        release_work: frees it once it is empty.
        tfm_name: the compressor.
    """

    name: Final[str]
    zswap: Final[Zswap]
    zpool: Final[ZsPool]
    ref: Final[PercpuRef]
    release_work: Final[Work]
    tfm_name: Final[str]

    def __init__(self, zswap: Zswap, name: str, compressor: str) -> None:
        self.name = name
        self.zswap = zswap
        self.zpool = ZsPool(name, zswap.zone)
        self.ref = PercpuRef(self, "ref", self._empty)
        self.release_work = Work(self, "release_work", zswap_pool_release, self)
        self.tfm_name = compressor

    def _empty(self) -> None:
        """__zswap_pool_empty: the last entry of a pool that is not the current one is gone."""
        with self.zswap.pools_lock:
            pools = READ_ONCE(self.zswap).pools
            if pools[0] is self:
                raise KernelWarning(f"{self.label} is empty, but current")
            rcu_assign_pointer(self.zswap).pools = tuple(pool for pool in pools if pool is not self)
            queue_work(self.zswap.system_wq, self.release_work)


def zswap_pool_release(pool: ZswapPool) -> None:
    """Free a pool that is off the list: mm/zswap.c:__zswap_pool_release."""
    synchronize_rcu()
    zs_destroy_pool(pool.zpool)
    kfree(pool)


class Zswap(Shared):
    """What is global about zswap.

    Args:
        zone: the machine's memory.
        root: the root memcg.
        list_lru: zswap_list_lru.
        compressor: of the first pool.

    Attributes:
        enabled, compressor, max_pool_percent, accept_threshold_percent, shrinker_enabled: module parameters.
        stored_pages: entries.
        stored_incompressible_pages: those as long as a page: in 7.2 what was kept as it is. 6.12 does not count them.
        stats: what debugfs shows besides, and zswap's events of /proc/vmstat.
        pools: the current one first; read under RCU, changed under pools_lock.
        pool_reached_full: the limit was hit, and the accept threshold not yet reached again.
        next_shrink: cursor of shrink_worker, with a reference; under shrink_lock.
    """

    zone: Final[Zone]
    root: Final[MemCgroup]
    list_lru: Final[ListLru]
    stats: Final[Counters]
    stored_pages: Final[Atomic]
    stored_incompressible_pages: Final[Atomic]
    pools_lock: Final[SpinLock]
    param_lock: Final[Mutex]
    shrink_lock: Final[SpinLock]
    shrink_wq: Final[WorkQueue]
    system_wq: Final[WorkQueue]
    enabled: bool
    compressor: str
    max_pool_percent: int
    accept_threshold_percent: int
    shrinker_enabled: bool
    pools: tuple[ZswapPool, ...]
    pools_count: int
    pool_reached_full: bool
    next_shrink: MemCgroup | None

    def __init__(self, zone: Zone, root: MemCgroup, list_lru: ListLru, compressor: str = "lzo") -> None:
        self.zone = zone
        self.root = root
        self.list_lru = list_lru
        self.stats = Counters("zswap")
        self.stored_pages = Atomic(self, "stored_pages")
        self.stored_incompressible_pages = Atomic(self, "stored_incompressible_pages")
        self.pools_lock = SpinLock(self, "pools_lock")
        self.param_lock = Mutex(self, "param_lock")
        self.shrink_lock = SpinLock(self, "shrink_lock")
        self.shrink_wq = WorkQueue("zswap-shrink")
        self.system_wq = WorkQueue("events")
        self.enabled = True
        self.compressor = check_compressor(compressor)
        self.max_pool_percent, self.accept_threshold_percent = 20, 90
        self.shrinker_enabled = self.pool_reached_full = False
        self.next_shrink = None
        self.pools_count = 1
        self.pools = (ZswapPool(self, "zswap1", compressor),)


def check_compressor(compressor: str) -> str:
    """crypto_has_acomp.

    Raises:
        InputError: there is no such compressor.
    """
    if compressor not in COMPRESSORS:
        raise InputError("zswap: compressor", f"one of {', '.join(COMPRESSORS)}", repr(compressor))
    return compressor


def zswap_pool_current_get(zswap: Zswap) -> ZswapPool | None:
    """Get the current pool with a reference: mm/zswap.c:zswap_pool_current_get."""
    with rcu:
        pool = rcu_dereference(zswap).pools[0]
        return pool if pool.ref.tryget() else None


def zswap_pool_find_get(zswap: Zswap, compressor: str) -> ZswapPool | None:
    """Get the pool of a compressor, under pools_lock: mm/zswap.c:zswap_pool_find_get."""
    pools = (pool for pool in READ_ONCE(zswap).pools if pool.tfm_name == compressor)
    return next((pool for pool in pools if pool.ref.tryget()), None)


def zswap_compressor_param_set(zswap: Zswap, compressor: str) -> None:
    """Make a compressor's pool the current one, be it new or still in use: mm/zswap.c:__zswap_param_set.

    Raises:
        InputError: there is no such compressor.
    """
    check_compressor(compressor)
    # kernel/params.c: param_lock, which serialises all writes to parameters.
    with zswap.param_lock:
        if compressor == zswap.compressor:
            return
        with zswap.pools_lock:
            pool = zswap_pool_find_get(zswap, compressor)
            if pool:
                pools = READ_ONCE(zswap).pools
                rcu_assign_pointer(zswap).pools = tuple(each for each in pools if each is not pool)
        if pool:
            pool.ref.resurrect()
            pool.ref.put()
        else:
            zswap.pools_count += 1
            pool = ZswapPool(zswap, f"zswap{zswap.pools_count:x}", compressor)
        zswap.compressor = compressor
        with zswap.pools_lock:
            pools = READ_ONCE(zswap).pools
            rcu_assign_pointer(zswap).pools = (pool, *pools)
        pools[0].ref.kill()


# Limits ---------------------------------------------------------------------------------------------------------------


def zswap_max_pages(zswap: Zswap) -> int:
    """Pages that all pools may take: mm/zswap.c:zswap_max_pages."""
    return zswap.zone.pages * READ_ONCE(zswap).max_pool_percent // 100


def zswap_accept_thr_pages(zswap: Zswap) -> int:
    """Pages below which a full zswap accepts again: mm/zswap.c:zswap_accept_thr_pages."""
    return zswap_max_pages(zswap) * READ_ONCE(zswap).accept_threshold_percent // 100


def zswap_total_pages(zswap: Zswap) -> int:
    """Pages that all pools take: mm/zswap.c:zswap_total_pages."""
    total = 0
    with rcu:
        for pool in rcu_dereference(zswap).pools:
            total += zs_get_total_pages(pool.zpool)
    return total


def zswap_check_limits(zswap: Zswap) -> bool:
    """Whether zswap is full, or not below the accept threshold again: mm/zswap.c:zswap_check_limits."""
    pages = zswap_total_pages(zswap)
    if pages >= zswap_max_pages(zswap):
        zswap.stats.count("pool_limit_hit")
        WRITE_ONCE(zswap).pool_reached_full = True
    elif READ_ONCE(zswap).pool_reached_full and pages <= zswap_accept_thr_pages(zswap):
        WRITE_ONCE(zswap).pool_reached_full = False
    return READ_ONCE(zswap).pool_reached_full


def mem_cgroup_zswap_writeback_enabled(zswap: Zswap, memcg: MemCgroup) -> bool:
    """Whether pages may go to the device, which memory.zswap.writeback forbids here or above while zswap is enabled.

    mm/memcontrol.c:mem_cgroup_zswap_writeback_enabled.
    """
    if not READ_ONCE(zswap).enabled:
        return True
    return all(READ_ONCE(each).zswap_writeback for each in memcg.lineage)


# Compression ----------------------------------------------------------------------------------------------------------


def zswap_compress(pool: ZswapPool, page: bytes) -> tuple[int, int] | None:
    """Compress a page and put it into a pool: mm/zswap.c:zswap_compress.

    A compressor is given one page for its result and fails when that is too small (crypto/lzo.c and its like).

    Returns:
        Handle and length, or None if either failed.
    """
    stats = pool.zswap.stats
    data = compress(pool.tfm_name, page)
    if len(data) > PAGE_SIZE or current.runtime.fails("compress"):
        stats.count("reject_compress_fail")
        return None
    handle = zs_malloc(pool.zpool, len(data))
    if handle < 0:
        stats.count("reject_alloc_fail")
        return None
    zs_obj_write(pool.zpool, handle, data)
    return handle, len(data)


def zswap_decompress(pool: ZswapPool, handle: int, length: int) -> bytes:
    """Get a page back: mm/zswap.c:zswap_decompress.

    Raises:
        KernelBug: the bytes are not what a compressor made, a BUG_ON.
    """
    data = zs_map_object(pool.zpool, handle, length)
    try:
        return decompress(pool.tfm_name, data)
    except ValueError as error:
        raise KernelBug(f"{pool.label}: {error}") from None
