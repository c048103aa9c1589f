"""Charges for compressed bytes, swap slots and time (mm/memcontrol.c, 6.12)."""

from __future__ import annotations

from swaplab.linux.page import PAGE_SHIFT, PAGE_SIZE
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.state import CLOCK_MAX, NO_LIMIT, State
from swaplab.replay.stats import flush_stats
from swaplab.replay.stock import charge_by_force, refill_stock

__all__ = [
    "begin_background",
    "begin_turn",
    "charge_slot",
    "charge_zswap",
    "count_slot",
    "end_background",
    "is_online",
    "kswapd_try_clear_hopeless",
    "may_zswap",
    "obj_cgroup_charge",
    "payer",
    "slot_owner",
    "spend",
    "swap_full",
    "swap_pages_left",
    "task_of",
    "uncharge_zswap",
    "whole_pages",
    "writeback_enabled",
    "zswap_charged",
]


@jit
def payer(m: State) -> int:
    """Cgroup whose task runs now; kswapd's and the workers' time counts for the root."""
    return 0 if m.task.background else wide(m.task.current)


@jit
def spend(m: State, nanoseconds: int) -> int:
    """Let `nanoseconds` pass for the running task. At `CLOCK_MAX` the clock stands still, and the run is given up."""
    m.task.clock = min(wide(m.task.clock) + nanoseconds, CLOCK_MAX)
    return nanoseconds


@jit
def begin_background(m: State, clock: int) -> int:
    """Switch to another task, where it is `clock`; what the running task's clock said."""
    now = wide(m.task.clock)
    m.task.clock = clock
    m.task.background = 1
    return now


@jit
def end_background(m: State, now: int) -> int:
    """Switch back to a task where it is `now`, or later if they share a CPU; what the other one's clock said."""
    clock = wide(m.task.clock)
    m.task.clock = now if m.task.cpus > 1 else max(now, clock)
    m.task.background = 0
    return clock


@jit
def begin_turn(m: State, clock: int, end: int) -> None:
    """Let zswap's worker have the CPU from `clock` to `end`, if it has none of its own."""
    m.zswap.worker_clock = clock
    m.zswap.worker_turn = end


@inline
def task_of(m: State, page: int) -> int:
    """Workload that `page` belongs to."""
    low, high = 0, wide(m.sizes.nr_tasks)
    while high - low > 1:
        middle = (low + high) // 2
        if m.task_first[middle] <= page:
            low = middle
        else:
            high = middle
    return low


@jit
def kswapd_try_clear_hopeless(m: State) -> None:
    """Forget kswapd's failures, as a page was reclaimed; in 7.2 only once enough are free (mm/vmscan.c)."""
    if not m.linux.hopeless_until_balanced or m.memory.free > m.memory.watermark_high:
        m.memory.kswapd_failures = 0


@jit
def is_online(m: State, memcg: int) -> bool:
    """Whether the cgroup has not been removed (include/linux/memcontrol.h:mem_cgroup_online)."""
    return bool(m.memcgs[memcg].online)


# Compressed bytes -----------------------------------------------------------------------------------------------------


@jit
def whole_pages(size: int) -> int:
    """Pages that `size` bytes take."""
    return (size + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT


@jit
def obj_cgroup_charge(m: State, objcg: int, size: int) -> None:
    """Charge bytes, which may be negative, in whole pages of the objcg's sum (mm/memcontrol.c).

    The root has no objcg, and is not charged.
    """
    if unlikely(objcg == 0):
        return
    owner = m.memcgs[objcg]
    before = whole_pages(wide(owner.objcg_bytes))
    owner.objcg_bytes += size
    after = whole_pages(wide(owner.objcg_bytes))
    if after > before:
        charge_by_force(m, objcg, after - before)
    elif after < before:
        refill_stock(m, objcg, before - after)


@inline
def charge_zswap(m: State, objcg: int, length: int, entries: int) -> None:
    """Charge `length` compressed bytes and count `entries` entries (mm/memcontrol.c:obj_cgroup_charge_zswap)."""
    obj_cgroup_charge(m, objcg, length)
    m.memcgs[objcg].zswap_bytes += length
    m.memcgs[objcg].zswapped += entries
    if m.linux.incompressible_kept and unlikely(abs(length) == PAGE_SIZE):
        m.memcgs[objcg].incompressible += entries
        m.zswap.stored_incompressible_pages += entries


@inline
def uncharge_zswap(m: State, objcg: int, length: int) -> None:
    """Take one entry of `length` bytes off again (mm/memcontrol.c:obj_cgroup_uncharge_zswap)."""
    charge_zswap(m, objcg, -length, -1)


@jit
def zswap_charged(m: State, memcg: int) -> tuple[int, int]:
    """Entries and compressed bytes, here and below, as memory.stat has them: the root's own have no objcg.

    Differs: entries that a removed cgroup left to the root count as the root's own.
    """
    stored = bytes_stored = 0
    for each in range(max(memcg, 1), wide(m.memcgs[memcg].end)):
        stored += wide(m.memcgs[each].zswapped)
        bytes_stored += wide(m.memcgs[each].zswap_bytes)
    return stored, bytes_stored


@jit
def may_zswap(m: State, memcg: int) -> bool:
    """Whether memory.zswap.max allows one more store, here and above (mm/memcontrol.c:obj_cgroup_may_zswap)."""
    while memcg > 0:
        counter = m.memcgs[memcg]
        if unlikely(counter.zswap_max < NO_LIMIT):
            if not counter.zswap_max:
                return False
            flush_stats(m, memcg)
            if zswap_charged(m, memcg)[1] >> PAGE_SHIFT >= counter.zswap_max:
                return False
        memcg = wide(counter.parent)
    return True


@jit
def writeback_enabled(m: State, memcg: int) -> bool:
    """memory.zswap.writeback here and above (mm/memcontrol.c:mem_cgroup_zswap_writeback_enabled)."""
    if not m.zswap.enabled:
        return True
    while memcg >= 0:
        if not m.memcgs[memcg].writeback:
            return False
        memcg = wide(m.memcgs[memcg].parent)
    return True


# Swap slots -----------------------------------------------------------------------------------------------------------


@jit
def slot_owner(m: State, memcg: int) -> int:
    """Cgroup that is charged for a slot of `memcg`'s folio (mm/memcontrol.c:mem_cgroup_id_get_online).

    A removed cgroup keeps its ID, and goes on being charged, for as long as a slot holds it.
    """
    while memcg > 0 and not m.memcgs[memcg].online and m.memcgs[memcg].swap_local == 0:
        memcg = wide(m.memcgs[memcg].parent)
    return memcg


@jit
def charge_slot(m: State, memcg: int) -> bool:
    """Charge a slot unless memory.swap.max forbids it (mm/memcontrol.c:__mem_cgroup_try_charge_swap)."""
    each = memcg
    while unlikely(m.memory.swap_limits) and each > 0:
        if m.memcgs[each].swap >= m.memcgs[each].swap_max:
            m.memcgs[memcg].swap_max_events += 1
            return False
        each = wide(m.memcgs[each].parent)
    count_slot(m, memcg, 1)
    return True


@jit
def count_slot(m: State, memcg: int, slots: int) -> None:
    """Add `slots` to the cgroup's own count and to every count from it up."""
    m.memcgs[memcg].swap_local += slots
    while memcg >= 0:
        m.memcgs[memcg].swap += slots
        memcg = wide(m.memcgs[memcg].parent)


@jit
def swap_pages_left(m: State, memcg: int) -> int:
    """Slots the cgroup can still get (mm/memcontrol.c:mem_cgroup_get_nr_swap_pages)."""
    left = wide(m.swap.nr_slots) - wide(m.swap.slots_used)
    while unlikely(m.memory.swap_limits) and memcg > 0:
        left = min(left, wide(m.memcgs[memcg].swap_max) - wide(m.memcgs[memcg].swap))
        memcg = wide(m.memcgs[memcg].parent)
    return left


@jit
def swap_full(m: State, memcg: int) -> bool:
    """Whether slots are worth freeing early: half are used (mm/memcontrol.c:mem_cgroup_swap_full)."""
    if unlikely(2 * m.swap.slots_used > m.swap.nr_slots):
        return True
    while unlikely(m.memory.swap_limits) and memcg > 0:
        if 2 * m.memcgs[memcg].swap >= m.memcgs[memcg].swap_max:
            return True
        memcg = wide(m.memcgs[memcg].parent)
    return False
