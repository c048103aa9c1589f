"""zswap (mm/zswap.c, 6.12 and 7.2): store, load, writeback, the shrinker and the global limit's worker.

An entry is a page whose state is COMPRESSED. Its objcg is looked up through ``memcgs[page.memcg].objcg``, which removal
of the cgroup retargets, as ``objcg->memcg`` in the kernel.
"""

from __future__ import annotations

from swaplab.linux.page import PAGE_SHIFT, PAGE_SIZE
from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES
from swaplab.linux.sched import BASE_SLICE_NS
from swaplab.replay.entries import entries_head, entry_add, entry_del
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lists import list_add_tail, list_del, lru_add_batched
from swaplab.replay.memcontrol import (
    begin_background,
    begin_turn,
    charge_zswap,
    end_background,
    is_online,
    may_zswap,
    payer,
    spend,
    uncharge_zswap,
    writeback_enabled,
    zswap_charged,
)
from swaplab.replay.policy import accepts_store, gives_second_chance, left_alone, limits_shrinker, preference
from swaplab.replay.state import ENTRY_REFERENCED, PG_SWAPCACHE, RESIDENT, STATE_MASK, State
from swaplab.replay.stats import flush_stats
from swaplab.replay.stock import charge_by_force, has_room
from swaplab.replay.swap import complete_writes, device_write
from swaplab.replay.workingset import workingset_refault
from swaplab.replay.zsmalloc import zs_free, zs_malloc

__all__ = [
    "do_shrink_slab",
    "shrink_worker",
    "zram_free",
    "zram_load",
    "zram_store",
    "zswap_entry_free",
    "zswap_load",
    "zswap_proactive_writeback",
    "zswap_store",
]

SHRINK_BATCH = 128
ENOENT, EAGAIN, ENOMEM, EEXIST = 2, 11, 12, 17
NOT_CHOSEN = -2
LRU_REMOVED_RETRY, LRU_ROTATE, LRU_RETRY, LRU_STOP = 1, 2, 4, 5  # include/linux/list_lru.h:enum lru_status
LEFT_ALONE = -1


# Storing and loading --------------------------------------------------------------------------------------------------


@jit
def check_limits(m: State) -> bool:
    """Whether the pool is full, or not yet below the accept threshold again (mm/zswap.c:zswap_check_limits)."""
    zswap = m.zswap
    if unlikely(zswap.pool_pages >= zswap.max_pages):
        zswap.pool_limit_hit += 1
        zswap.pool_reached_full = 1
    elif unlikely(zswap.pool_reached_full) and zswap.pool_pages <= zswap.accept_pages:
        zswap.pool_reached_full = 0
    return bool(zswap.pool_reached_full)


@jit
def length_uncompressed(m: State, page: int) -> int:
    """Bytes that zswap keeps of a page that does not compress: all if they may go to the device later, else 0."""
    if not m.linux.incompressible_kept or not writeback_enabled(m, wide(m.folios[page].memcg)):
        m.zswap.reject_compress_fail += 1
        return 0
    m.folios[page].length = PAGE_SIZE
    return PAGE_SIZE


@inline
def compress(m: State, page: int, length: int) -> int:
    """Compress and place a page; how many bytes that takes, 0 if it is refused (mm/zswap.c:zswap_compress).

    A compressor is given one page for its result and fails when that is too small (crypto/lzo.c and its like).
    """
    m.memcgs[payer(m)].compress_ns += spend(m, wide(m.cost.compress_ns))
    if unlikely(length >= PAGE_SIZE) and (m.linux.incompressible_kept or length > PAGE_SIZE):
        length = length_uncompressed(m, page)
        if not length:
            return 0
    zspage = zs_malloc(m, length)
    if unlikely(zspage < 0):
        m.zswap.reject_alloc_fail += 1
        return 0
    m.folios[page].zspage = zspage
    return length


@inline
def zswap_store_checked(m: State, page: int, length: int, objcg: int) -> bool:
    """The steps of a store that a failure of any of them ends (mm/zswap.c:zswap_store)."""
    if objcg and not may_zswap(m, objcg) and (m.zswap.global_lru or shrink_memcg(m, objcg, 1)):
        return False
    if check_limits(m):
        return False
    length = compress(m, page, length)
    if not length:
        return False
    if unlikely(m.policy.is_there) and not accepts_store(m, page, length, objcg):
        zs_free(m, wide(m.folios[page].zspage))
        m.folios[page].zspage = -1
        return False
    charge_zswap(m, objcg, length, 1)
    m.memcgs[objcg].zswpout += 1
    entry_add(m, page, objcg)
    m.zswap.stored_pages += 1
    return True


@inline
def zswap_store(m: State, page: int, length: int) -> bool:
    """Take a folio's `length` compressed bytes instead of the device (mm/zswap.c:zswap_store).

    Differs: the objcg is that of the slot's owner, which differs from the folio's only after the owner was removed.
    Not modelled: failing allocation of an entry (reject_kmemcache_fail) or an xarray node, whose memory is not either.
    """
    if unlikely(not m.zswap.enabled):
        return False
    stored = zswap_store_checked(m, page, length, wide(m.memcgs[wide(m.folios[page].other_memcg)].objcg))
    if not stored and m.zswap.pool_reached_full:
        queue_shrink_work(m)
    return stored


@inline
def zswap_entry_free(m: State, page: int) -> None:
    """Free the entry of `page` (mm/zswap.c:zswap_entry_free)."""
    entry = m.folios[page]
    objcg = wide(m.memcgs[wide(entry.memcg)].objcg)
    entry_del(m, page, objcg)
    zs_free(m, wide(entry.zspage))
    uncharge_zswap(m, objcg, wide(entry.length))
    entry.zspage = -1
    m.zswap.stored_pages -= 1


@inline
def zswap_load(m: State, page: int) -> None:
    """Decompress the entry of `page` and free it (mm/zswap.c:zswap_load)."""
    m.memcgs[payer(m)].decompress_ns += spend(m, wide(m.cost.decompress_ns))
    m.memcgs[wide(m.memcgs[wide(m.folios[page].memcg)].objcg)].zswpin += 1
    zswap_entry_free(m, page)


@jit
def zram_store(m: State, page: int, length: int) -> bool:
    """Write a folio to zram (drivers/block/zram/zram_drv.c:zram_write_page); False when memory is out.

    Not charged, without limit but the machine's memory; a page that would go to the huge class is kept whole.
    """
    m.memcgs[payer(m)].compress_ns += spend(m, wide(m.cost.compress_ns))
    zspage = zs_malloc(m, min(length, PAGE_SIZE))
    if zspage < 0:
        m.zswap.reject_alloc_fail += 1
        return False
    entry = m.folios[page]
    entry.zspage = zspage
    m.memcgs[wide(entry.memcg)].pswpout += 1
    m.zswap.stored_pages += 1
    return True


@jit
def zram_load(m: State, page: int) -> None:
    """Read a page back from zram and free its slot's memory (drivers/block/zram/zram_drv.c:zram_read_page)."""
    m.memcgs[payer(m)].decompress_ns += spend(m, wide(m.cost.decompress_ns))
    entry = m.folios[page]
    m.memcgs[wide(entry.memcg)].pswpin += 1
    zram_free(m, page)


@jit
def zram_free(m: State, page: int) -> None:
    """Free what zram holds for the page's slot (drivers/block/zram/zram_drv.c:zram_free_page)."""
    zs_free(m, wide(m.folios[page].zspage))
    m.folios[page].zspage = -1
    m.zswap.stored_pages -= 1


# Writeback ------------------------------------------------------------------------------------------------------------


@jit
def zswap_writeback_entry(m: State, page: int) -> int:
    """Decompress an entry into a folio in the swap cache and write that out (mm/zswap.c:zswap_writeback_entry).

    The folio is charged, over the limit if need be, until reclaim frees it after the write. 0, ENOMEM, or EEXIST if the
    page is about to be swapped in, by the reclaiming task.
    """
    if page == m.task.swapping_in:
        return EEXIST if m.linux.cached_before_charged else ENOMEM
    if m.memory.free <= 0:
        return ENOMEM
    m.memory.free -= 1
    entry = m.folios[page]
    owner = wide(entry.memcg)
    folio_memcg = owner if is_online(m, owner) else payer(m)
    objcg = wide(m.memcgs[owner].objcg)
    charge_by_force(m, folio_memcg, 1)
    m.memcgs[payer(m)].decompress_ns += spend(m, wide(m.cost.decompress_ns))
    m.memcgs[objcg].zswpwb += 1
    m.rules[objcg].written_back_at = m.task.clock
    zswap_entry_free(m, page)
    workingset_refault(m, page, folio_memcg)
    entry.memcg = folio_memcg
    entry.other_memcg = owner
    entry.bits = wide(entry.bits) & ~(STATE_MASK | ENTRY_REFERENCED) | RESIDENT | PG_SWAPCACHE
    m.memcgs[folio_memcg].swapcached += 1
    complete_writes(m)
    lru_add_batched(m, page)
    device_write(m, page, wide(m.memory.lru_batch))
    return 0


@jit
def oldest_entry(m: State, memcg: int) -> int:
    """The entry that is next to be written back, the list's head if there is none."""
    return wide(m.folios[entries_head(m, memcg)].next)


@jit
def has_second_chance(m: State, page: int) -> bool:
    """Whether an entry is to be passed over once; the one list of before 6.8 had no such thing."""
    if unlikely(m.policy.second_chance):
        return gives_second_chance(m, page)
    return bool(wide(m.folios[page].bits) & ENTRY_REFERENCED) and not m.zswap.global_lru


@jit
def shrink_memcg_cb(m: State, page: int, head: int) -> int:
    """Second chance or writeback for one entry (mm/zswap.c:shrink_memcg_cb). LRU_STOP is the shrinker's only."""
    if unlikely(m.policy.is_there) and left_alone(m, page):
        return LEFT_ALONE
    list_del(m.folios, page)
    list_add_tail(m.folios, head, page)
    entry = m.folios[page]
    if has_second_chance(m, page):
        entry.bits = wide(entry.bits) & ~ENTRY_REFERENCED
        return LRU_ROTATE
    error = zswap_writeback_entry(m, page)
    if not error:
        m.zswap.written_back_pages += 1
        return LRU_REMOVED_RETRY
    m.zswap.reject_reclaim_fail += 1
    return LRU_STOP if error == EEXIST else LRU_RETRY


@jit
def list_lru_walk(m: State, memcg: int, nr_to_walk: int, may_stop: bool) -> int:
    """Offer the oldest entries of one cgroup to the callback; how many were written, 0 if that stopped (mm/list_lru.c).

    The callback leaves what it keeps at the tail, so the walk always goes on with the head and may meet an entry again.
    """
    head = entries_head(m, memcg)
    isolated = 0
    while nr_to_walk:
        page = wide(m.folios[head].next)
        if page == head:
            break
        nr_to_walk -= 1
        status = shrink_memcg_cb(m, page, head)
        if status == LRU_REMOVED_RETRY:
            isolated += 1
        elif status == LRU_STOP and may_stop:
            return 0
        elif status == LEFT_ALONE or (status == LRU_ROTATE and m.folios[head].next == page):
            break  # or the end of a list of one
    return isolated


@jit
def shrink_memcg(m: State, memcg: int, nr_to_walk: int) -> int:
    """Write back what there is among the oldest entries of `memcg`: 0, ENOENT or EAGAIN (mm/zswap.c:shrink_memcg).

    Linux looks at one. Differs: of what is proposed, only the first is made room for by reclaim.
    """
    if not writeback_enabled(m, memcg) or not is_online(m, memcg) or not m.memcgs[memcg].entries:
        return ENOENT
    if unlikely(m.policy.is_there) and left_alone(m, oldest_entry(m, memcg)):
        return ENOENT
    return 0 if list_lru_walk(m, memcg, min(nr_to_walk, wide(m.memcgs[memcg].entries)), False) else EAGAIN


# The worker -----------------------------------------------------------------------------------------------------------


@jit
def queue_shrink_work(m: State) -> None:
    """Wake the worker (the end of mm/zswap.c:zswap_store), which gets as far as it does without reclaim.

    Where it shares the task's CPU, it may have to wait until the fault is over.
    """
    zswap = m.zswap
    zswap.shrink_queued = 1
    if not zswap.worker_running:
        start = max(wide(zswap.worker_clock), wide(m.task.clock))
        begin_turn(m, start, start + BASE_SLICE_NS)
    if not m.task.background and (m.task.cpus > 1 or not m.linux.preempted_lazily):
        shrink_worker(m, False)


@jit
def next_preferred(m: State) -> int:
    """Set the cursor to whom a policy prefers, of equals the next in pre-order; -1 if to nobody."""
    cursor, nr_memcgs = wide(m.zswap.next_shrink), wide(m.sizes.nr_memcgs)
    chosen, most = -1, 0
    for step in range(1, nr_memcgs + 1):
        memcg = (cursor + step) % nr_memcgs
        if is_online(m, memcg) and m.memcgs[memcg].entries and writeback_enabled(m, memcg):
            if left_alone(m, oldest_entry(m, memcg)):
                continue
            wanted = preference(m, memcg)
            if wanted > most:
                chosen, most = memcg, wanted
    m.zswap.next_shrink = chosen
    return chosen


@jit
def next_online(m: State) -> int:
    """Advance zswap's cursor to the next online cgroup in pre-order; -1 at the end of the tree."""
    if unlikely(m.policy.worker_preference):
        return next_preferred(m)
    memcg = wide(m.zswap.next_shrink) + 1
    while memcg < m.sizes.nr_memcgs and not is_online(m, memcg):
        memcg += 1
    m.zswap.next_shrink = memcg if memcg < m.sizes.nr_memcgs else -1
    return wide(m.zswap.next_shrink)


@jit
def lacks_room(m: State, memcg: int) -> int:
    """The limit that the folio for writing back `memcg`'s oldest entry would exceed, or -1."""
    page = oldest_entry(m, memcg)
    if not m.memcgs[memcg].entries or not writeback_enabled(m, memcg):
        return -1
    owner = wide(m.folios[page].memcg)
    if unlikely(m.policy.is_there) and left_alone(m, page):
        return -1
    if has_second_chance(m, page) or not is_online(m, owner):
        return -1
    return has_room(m, owner)


@jit
def start_shrink_work(m: State) -> bool:
    """Begin what was queued, unless it has begun; False when there is nothing to do."""
    zswap = m.zswap
    if not zswap.worker_running:
        zswap.worker_running = zswap.shrink_queued
        zswap.shrink_queued = zswap.worker_failures = zswap.worker_attempts = 0
        zswap.worker_memcg = NOT_CHOSEN
    return bool(zswap.worker_running)


@jit
def shrink_next(m: State, memcg: int) -> None:
    """Have one entry of `memcg` written back, and see whether that is all (the loop of mm/zswap.c:shrink_worker).

    -1 is the end of the tree.
    """
    zswap = m.zswap
    if memcg < 0:
        zswap.worker_failures += zswap.worker_attempts == 0
        zswap.worker_attempts = 0
    else:
        result = shrink_memcg(m, memcg, wide(zswap.shrink_batch))
        zswap.worker_attempts += result != ENOENT
        zswap.worker_failures += result != 0 and (result != ENOENT or zswap.global_lru)
    if zswap.worker_failures >= MAX_RECLAIM_RETRIES or zswap.pool_pages <= zswap.accept_pages:
        zswap.worker_running = 0


@jit
def shrink_worker(m: State, has_room: bool) -> int:
    """Write entries back, one per cgroup in turn, down to the accept threshold (mm/zswap.c:shrink_worker).

    It goes on until its clock has caught up with the running task's, or until it has to reclaim at a limit first unless
    it `has_room`: which one, else -1.
    """
    zswap = m.zswap
    while zswap.worker_clock <= m.task.clock and start_shrink_work(m):
        if zswap.worker_memcg == NOT_CHOSEN:
            zswap.worker_memcg = 0 if zswap.global_lru else next_online(m)
        memcg = wide(zswap.worker_memcg)
        limited = -1 if memcg < 0 or has_room else lacks_room(m, memcg)
        if limited >= 0:
            return limited
        has_room = False
        zswap.worker_memcg = NOT_CHOSEN
        now = begin_background(m, wide(zswap.worker_clock))
        shrink_next(m, memcg)
        zswap.worker_clock = end_background(m, now)
        if m.task.cpus == 1 and zswap.worker_clock >= zswap.worker_turn:
            start = wide(zswap.worker_clock) + BASE_SLICE_NS
            begin_turn(m, start, start + BASE_SLICE_NS)
    return -1


# memory.reclaim with source=zswap, which is proposed ------------------------------------------------------------------


@jit
def write_back_some(m: State, memcg: int, pages: int) -> int:
    """Write back a batch of a cgroup's entries, at most `pages`; how many, or -1 if it has none to give.

    It looks at no entry twice, so where all have their second chance, this only takes it away.
    """
    to_walk = wide(m.memcgs[memcg].entries)
    if not to_walk or not writeback_enabled(m, memcg) or not is_online(m, memcg):
        return -1
    target = min(pages, wide(m.zswap.shrink_batch))
    written = 0
    while to_walk > 0 and written < target:
        written += list_lru_walk(m, memcg, 1, False)
        to_walk -= 1
    return written


@jit
def next_to_write_back(m: State, target: int, memcg: int) -> int:
    """Cgroup of the subtree after `memcg`, of which -1 is before the first and after the last.

    With a cursor, all walks of the subtree share their position.
    """
    before = wide(m.rules[target].zswap_iterator) if m.zswap.cursor else memcg
    following = target if before < 0 else before + 1
    if following >= m.memcgs[target].end:
        following = -1
    m.rules[target].zswap_iterator = following
    return following


@jit
def zswap_proactive_writeback(m: State, target: int, pages: int) -> int:
    """Write back `pages` of a subtree, a batch from each of its cgroups in turn; how many.

    It gives up when 16 times a cgroup had none to write, or nobody had an entry; without a cursor, when a round has
    written nothing.
    """
    written = failures = attempts = begun = 0
    memcg = -1
    while written < pages and failures < MAX_RECLAIM_RETRIES:
        memcg = next_to_write_back(m, target, memcg)
        if memcg < 0:
            failures += attempts == 0
            if written == begun and not m.zswap.cursor:
                break
            begun, attempts = written, 0
            continue
        some = write_back_some(m, memcg, pages - written)
        attempts += some >= 0
        failures += some == 0
        written += max(some, 0)
    return written


# The shrinker ---------------------------------------------------------------------------------------------------------


@jit
def zswap_shrinker_count(m: State, memcg: int) -> int:
    """Entries worth writing back (mm/zswap.c:zswap_shrinker_count)."""
    if not m.zswap.shrinker or not writeback_enabled(m, memcg):
        return 0
    lruvec = m.memcgs[memcg]
    freeable = wide(lruvec.entries)
    if not freeable:
        return 0
    flush_stats(m, memcg)
    stored, bytes_stored = zswap_charged(m, memcg)
    if not stored:
        return 0
    protected = min(freeable, wide(lruvec.nr_disk_swapins))
    lruvec.nr_disk_swapins -= protected
    count = (freeable - protected) * (bytes_stored >> PAGE_SHIFT) // stored
    if unlikely(m.policy.is_there) and left_alone(m, oldest_entry(m, memcg)):
        return 0
    return limits_shrinker(m, memcg, count) if unlikely(m.policy.shrinker_count) else count


@jit
def do_shrink_slab(m: State, memcg: int, priority: int) -> None:
    """Let zswap's shrinker do its share at this priority (mm/shrinker.c:do_shrink_slab)."""
    if memcg and not is_online(m, memcg):
        return
    freeable = zswap_shrinker_count(m, memcg)
    if not freeable:
        return
    deferred = wide(m.memcgs[memcg].nr_deferred)
    delta = (freeable >> priority) * 4 // 2
    total_scan = min((deferred >> priority) + delta, 2 * freeable)
    scanned = 0
    while total_scan >= SHRINK_BATCH or total_scan >= freeable:
        batch = min(SHRINK_BATCH, total_scan)
        if not list_lru_walk(m, memcg, batch, True):
            break  # SHRINK_STOP: this batch stays deferred
        total_scan -= batch
        scanned += batch
    m.memcgs[memcg].nr_deferred = min(max(deferred + delta - scanned, 0), 2 * freeable)
