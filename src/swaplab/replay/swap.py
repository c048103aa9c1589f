"""The device behind swap slots (mm/page_io.c, block/blk-core.c, 6.12)."""

from __future__ import annotations

from swaplab.replay.free_folio import free_folios, remove_mapping
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import drain_activations, lru_add_tail, lru_del, next_batch
from swaplab.replay.memcontrol import begin_turn, payer, spend
from swaplab.replay.state import (
    CLOCK_MAX,
    ISOLATED,
    ON_DISK,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_WRITEBACK,
    PRESENT,
    WRITES_IN_FLIGHT,
    State,
)

__all__ = [
    "blk_finish_plug",
    "blk_start_plug",
    "complete_writes",
    "device_read",
    "device_write",
    "lru_add_drain",
    "wait_for_write",
]

PLUGGED = 1


@jit
def device_start(m: State, page: int, transfer_ns: int) -> int:
    """Queue the transfer of one page behind what is queued; the time it leaves the wire."""
    device = m.device
    start = max(wide(m.task.clock), wide(device.free_at))
    if device.rotational:
        slot = wide(m.page_slot[page])
        if slot != device.head_position:
            start += wide(device.seek_ns)
        device.head_position = slot + 1
    device.free_at = min(start + transfer_ns, CLOCK_MAX)
    return wide(device.free_at)


@jit
def blk_start_plug(m: State) -> None:
    """Hold the running task's writes back, to submit all at once (block/blk-core.c:blk_start_plug)."""
    m.device.plugged = PLUGGED + m.task.background


@jit
def blk_finish_plug(m: State) -> None:
    """Submit what was held back: the processor time of one request (block/blk-core.c:blk_finish_plug).

    Differs: the device had it before. A plug has no end but this, where the kernel's ends after 32 requests.
    """
    device = m.device
    if device.held_back:
        m.memcgs[payer(m)].device_ns += spend(m, wide(device.submit_ns))
    device.plugged = device.held_back = 0


@jit
def submit(m: State) -> None:
    """The processor time of a request, unless it is held back."""
    device = m.device
    if device.plugged == PLUGGED + m.task.background:
        device.held_back = 1
    else:
        m.memcgs[payer(m)].device_ns += spend(m, wide(device.submit_ns))


@jit
def device_read(m: State, page: int, wait: bool) -> None:
    """Read the page's slot, and wait for it or not (mm/page_io.c:swap_read_folio)."""
    memcg = m.memcgs[payer(m)]
    if wait:
        submit(m)  # and with it, what was read ahead
    done = min(device_start(m, page, wide(m.device.read_page_ns)) + wide(m.device.read_latency_ns), CLOCK_MAX)
    memcg.pswpin += 1
    if wait:
        if m.zswap.worker_running and m.task.cpus == 1 and not m.task.background:
            begin_turn(m, min(wide(m.zswap.worker_clock), wide(m.task.clock)), done)
        memcg.device_ns += spend(m, done - wide(m.task.clock))


@jit
def device_write(m: State, page: int, batch: int) -> None:
    """Queue a write of the page's slot, under writeback until it is done (mm/page_io.c:__swap_writepage)."""
    device = m.device
    if device.writes_count == WRITES_IN_FLIGHT:
        wait_for_write(m)
    submit(m)
    done = min(device_start(m, page, wide(device.write_page_ns)) + wide(device.write_latency_ns), CLOCK_MAX)
    tail = (wide(device.writes_head) + wide(device.writes_count)) % WRITES_IN_FLIGHT
    m.writes_page[tail] = page
    m.writes_done[tail] = done
    m.writes_batch[tail] = batch
    device.writes_count += 1
    m.folios[page].bits = wide(m.folios[page].bits) & ~PG_DIRTY | PG_WRITEBACK | PG_RECLAIM
    m.memcgs[wide(m.folios[page].memcg)].pswpout += 1


@jit
def drop_written(m: State, page: int) -> bool:
    """Free what zswap wrote back, now that it is written, if nobody has come for it and no scan holds it: proposed."""
    folio = m.folios[page]
    if m.pte[page] & PRESENT or folio.next == ISOLATED or wide(folio.bits) & (PG_DIRTY | PG_ACTIVE):
        return False
    memcg = wide(folio.memcg)
    lru_del(m, page)
    remove_mapping(m, page, ON_DISK, memcg)
    free_folios(m, memcg, 1)
    return True


@jit
def end_writeback(m: State) -> None:
    """Finish the oldest write: its folio is next to be reclaimed (mm/filemap.c:folio_end_writeback)."""
    device = m.device
    page = wide(m.writes_page[wide(device.writes_head)])
    batch = wide(m.writes_batch[wide(device.writes_head)])
    device.writes_head = (wide(device.writes_head) + 1) % WRITES_IN_FLIGHT
    device.writes_count -= 1
    folio = m.folios[page]
    flags = wide(folio.bits) & ~(PG_WRITEBACK | PG_RECLAIM)
    if unlikely(m.zswap.drop_written) and batch >= 0:
        folio.bits = flags
        if drop_written(m, page):
            return
    # folio_rotate_reclaimable() leaves alone what is on no list: a scan holds it and puts it back, or it is new.
    if folio.next == ISOLATED or batch == m.memory.lru_batch:
        folio.bits = flags
        return
    lru_del(m, page)
    folio.bits = flags & ~PG_ACTIVE
    lru_add_tail(m, page)


@jit
def complete_writes(m: State) -> None:
    """Finish all writes whose time has come."""
    while m.device.writes_count and m.writes_done[wide(m.device.writes_head)] <= m.task.clock:
        end_writeback(m)


@jit
def lru_add_drain(m: State) -> None:
    """Put new folios on their lists (mm/swap.c:lru_add_drain), too late for those that were written by now."""
    complete_writes(m)
    next_batch(m)
    if m.has.file_memory:
        drain_activations(m)


@jit
def wait_for_write(m: State) -> bool:
    """Sleep until the oldest write in flight is done; False when there is none.

    Differs: a background task's sleep takes no time, since the clock is the workload's.
    """
    if not m.device.writes_count:
        return False
    wait = max(0, wide(m.writes_done[wide(m.device.writes_head)]) - wide(m.task.clock))
    m.memcgs[payer(m)].throttle_ns += spend(m, wait)
    end_writeback(m)
    return True
