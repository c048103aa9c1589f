"""The page cache: files that tasks read through descriptors (mm/filemap.c, mm/readahead.c, mm/swap.c, 6.12).

A page of a file has a record like any other. It is `RESIDENT` while it is in the page cache, else `NONE`, with a shadow
if it was there. It is never mapped, so that each access to it comes here.

Differs: files are on a disk of their own, as fast as that for swap; what the tree of a file's folios takes is charged
as it grows, and never reclaimed (mm/workingset.c:scan_shadow_nodes).
"""

from __future__ import annotations

from swaplab.replay.charge import alloc_charged
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import lru_add, lru_add_batched, lru_del
from swaplab.replay.memcontrol import obj_cgroup_charge, payer, spend, task_of
from swaplab.replay.state import (
    CLOCK_MAX,
    PG_ACTIVE,
    PG_REFERENCED,
    RESIDENT,
    SHADOW,
    SHADOW_WORKINGSET,
    STATE_MASK,
    XA_CHUNK_SHIFT,
    XA_NODE_BYTES,
    State,
)
from swaplab.replay.workingset import workingset_age_nonresident, workingset_refault_file

__all__ = ["filemap_read"]


@jit
def xas_create(m: State, task: int, page: int) -> None:
    """Have the cgroup pay for those nodes above a page of a file that are not there yet (lib/xarray.c:xas_create)."""
    memcg = wide(m.task.current)
    at = page - wide(m.task_first[task])
    level, nodes = wide(m.task_first[task + 1]) - wide(m.task_first[task]), wide(m.first_node[task])
    while level > 1:
        at >>= XA_CHUNK_SHIFT
        level = (level - 1 >> XA_CHUNK_SHIFT) + 1
        if m.has_node[nodes + at]:
            return
        m.has_node[nodes + at] = 1
        obj_cgroup_charge(m, wide(m.memcgs[memcg].objcg), XA_NODE_BYTES)
        nodes += level


@jit
def filemap_add_folio(m: State, task: int, page: int) -> bool:
    """Put a new folio into the page cache (mm/filemap.c:filemap_add_folio); False when its task was killed."""
    memcg = wide(m.task.current)
    if not alloc_charged(m, memcg, page):
        return False
    xas_create(m, task, page)
    folio = m.folios[page]
    folio.memcg = memcg
    folio.bits = wide(folio.bits) & (SHADOW | SHADOW_WORKINGSET) | RESIDENT
    m.memcgs[memcg].file += 1
    workingset_refault_file(m, page, memcg)
    lru_add_batched(m, page)
    return True


@jit
def read_folio(m: State, page: int) -> None:
    """Read a page of a file, and wait for it (fs/mpage.c:mpage_readahead)."""
    device, memcg = m.device, m.memcgs[payer(m)]
    memcg.device_ns += spend(m, wide(device.submit_ns))
    start = max(wide(m.task.clock), wide(device.file_free_at))
    if device.rotational and page != device.file_head_position:
        start += wide(device.seek_ns)
    device.file_head_position = page + 1
    device.file_free_at = min(start + wide(device.read_page_ns), CLOCK_MAX)
    done = min(wide(device.file_free_at) + wide(device.read_latency_ns), CLOCK_MAX)
    memcg.device_ns += spend(m, done - wide(m.task.clock))


@jit
def folio_activate(m: State, page: int) -> None:
    """Move a folio to the active list (mm/swap.c:folio_activate, lru_activate). Differs: at once, not in batches."""
    lru_del(m, page)
    m.folios[page].bits |= PG_ACTIVE
    lru_add(m, page)
    m.memcgs[wide(m.folios[page].memcg)].pgactivate += 1


@jit
def folio_mark_accessed(m: State, page: int) -> None:
    """Note a use: the second one activates (mm/swap.c:folio_mark_accessed)."""
    flags = wide(m.folios[page].bits)
    if not flags & PG_REFERENCED:
        m.folios[page].bits = flags | PG_REFERENCED
    elif not flags & PG_ACTIVE:
        folio_activate(m, page)
        m.folios[page].bits = wide(m.folios[page].bits) & ~PG_REFERENCED
        workingset_age_nonresident(m, wide(m.folios[page].memcg))


@jit
def filemap_read(m: State, page: int) -> None:
    """Read a page of a file through its descriptor (mm/filemap.c:filemap_read); nothing, when the task was killed.

    It costs what a fault does, minor if the page is in the cache.
    """
    task = task_of(m, page)
    current = m.memcgs[wide(m.task.current)]
    if wide(m.folios[page].bits) & STATE_MASK != RESIDENT:
        current.fault_ns += spend(m, wide(m.cost.fault_major_ns))
        if not filemap_add_folio(m, task, page):
            return
        read_folio(m, page)
    else:
        spend(m, wide(m.cost.fault_minor_ns))
    if m.descriptors[task].prev != page:
        folio_mark_accessed(m, page)
    m.descriptors[task].prev = page
