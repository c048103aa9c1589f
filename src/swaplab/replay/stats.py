"""Statistics as reclaim reads them: as of their last flush (mm/memcontrol.c:do_flush_stats, 6.12)."""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, inline, jit, wide
from swaplab.replay.state import State
from swaplab.replay.stock import drain_all_stock

__all__ = ["flush_stats", "flush_stats_if_due", "read_stats"]

FLUSH_INTERVAL = 256
"""Accesses. Linux flushes every two seconds, or when they are read; the guest's runner reads this often."""


@jit
def flush_stats(m: State, memcg: int) -> None:
    """Sum up the subtree's statistics as they are now (mm/memcontrol.c:do_flush_stats)."""
    for each in range(memcg, wide(m.memcgs[memcg].end)):
        lruvec = m.memcgs[each]
        lruvec.flushed_inactive = lruvec.inactive
        lruvec.flushed_active = lruvec.active
        lruvec.flushed_activations = lruvec.workingset_activate_anon
        if m.has.file_memory:
            files = m.file_lrus[each]
            files.flushed_inactive = lruvec.inactive_file
            files.flushed_active = lruvec.active_file
            files.flushed_activations = lruvec.workingset_activate_file
    for each in range(wide(m.memcgs[memcg].end) - 1, memcg, -1):
        lruvec = m.memcgs[each]
        parent = m.memcgs[wide(lruvec.parent)]
        parent.flushed_inactive += lruvec.flushed_inactive
        parent.flushed_active += lruvec.flushed_active
        parent.flushed_activations += lruvec.flushed_activations
        if m.has.file_memory:
            files, above = m.file_lrus[each], m.file_lrus[wide(lruvec.parent)]
            above.flushed_inactive += files.flushed_inactive
            above.flushed_active += files.flushed_active
            above.flushed_activations += files.flushed_activations


@inline
def flush_stats_if_due(m: State) -> None:
    """Flush if so many accesses were made since; nothing but a fault changes what would have been flushed before."""
    task = m.task
    if unlikely(task.position >= m.memory.next_flush):
        flush_stats(m, 0)
        m.memory.next_flush = task.position - task.position % FLUSH_INTERVAL + FLUSH_INTERVAL


@entry
def read_stats(m: State) -> None:
    """Read all there is to know, by a process of another cgroup, whose own charge takes the place of the stock.

    In 7.2 there is room for it beside those of six others.
    """
    if not m.linux.stock_of_seven:
        drain_all_stock(m, 0)
    flush_stats(m, 0)
