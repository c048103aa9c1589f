"""The page cache: files that tasks read through descriptors (mm/filemap.c, mm/readahead.c, mm/swap.c, 6.12).

A page of a file has a record like any other. It is `RESIDENT` while it is in the page cache, else `NONE`, with a shadow
if it was there. It is never mapped, so that each access to it comes here.

Differs: files are on a disk of their own, as fast as that for swap; who waits for a page waits for all of its request;
what the tree of a file's folios takes is charged as it grows, and never reclaimed (mm/workingset.c:scan_shadow_nodes).
"""

from __future__ import annotations

from swaplab.replay.charge import alloc_charged, alloc_charged_once
from swaplab.replay.jit import jit, wide
from swaplab.replay.lists import folio_activate, folio_add_file, is_in_batch
from swaplab.replay.memcontrol import obj_cgroup_charge, payer, spend, task_of
from swaplab.replay.state import (
    CLOCK_MAX,
    PG_ACTIVE,
    PG_READAHEAD,
    PG_REFERENCED,
    RA_PAGES,
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

INIT_RA_SIZE = 4
"""Pages of the first readahead of who reads a page at a time (mm/readahead.c:get_init_ra_size)."""


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
def filemap_add_folio(m: State, task: int, page: int) -> None:
    """Put a new folio that is charged into the page cache (mm/filemap.c:filemap_add_folio)."""
    memcg = wide(m.task.current)
    xas_create(m, task, page)
    folio = m.folios[page]
    folio.memcg = memcg
    folio.bits = wide(folio.bits) & (SHADOW | SHADOW_WORKINGSET) | RESIDENT
    m.memcgs[memcg].file += 1
    workingset_refault_file(m, page, memcg)
    folio_add_file(m, page)


@jit
def read_pages(m: State, task: int, page: int, count: int) -> None:
    """Send for `count` pages of a file from one on, in one request (mm/readahead.c:read_pages, fs/mpage.c)."""
    device = m.device
    m.memcgs[payer(m)].device_ns += spend(m, wide(device.submit_ns))
    start = max(wide(m.task.clock), wide(device.file_free_at))
    if device.rotational and page != device.file_head_position:
        start += wide(device.seek_ns)
    device.file_head_position = page + count
    device.file_free_at = min(start + count * wide(device.read_page_ns), CLOCK_MAX)
    descriptor = m.descriptors[task]
    descriptor.io_from = page
    descriptor.io_done = min(wide(device.file_free_at) + wide(device.read_latency_ns), CLOCK_MAX)


@jit
def wait_for_page(m: State, task: int, page: int) -> None:
    """Wait until a page has been read (mm/filemap.c:filemap_update_page)."""
    descriptor = m.descriptors[task]
    if page >= descriptor.io_from and descriptor.io_done > m.task.clock:
        m.memcgs[payer(m)].device_ns += spend(m, wide(descriptor.io_done) - wide(m.task.clock))


# Readahead ------------------------------------------------------------------------------------------------------------


@jit
def is_cached(m: State, page: int) -> bool:
    """Whether a page of a file is in the page cache."""
    return wide(m.folios[page].bits) & STATE_MASK == RESIDENT


@jit
def page_cache_ra(m: State, task: int, page: int, size: int, async_size: int) -> None:
    """Read up to `size` pages from one on, but for those in the cache, and mark the first of the last `async_size`.

    Models mm/readahead.c:do_page_cache_ra, page_cache_ra_unbounded. Differs: as one request.
    """
    size = min(size, wide(m.task_first[task + 1]) - page)
    count = 0
    for i in range(size):
        if is_cached(m, page + i):
            continue
        if not alloc_charged_once(m, wide(m.task.current), page + i):
            break
        filemap_add_folio(m, task, page + i)
        count += 1
        if i == size - async_size:
            m.folios[page + i].bits |= PG_READAHEAD
    if count:
        read_pages(m, task, page, count)


@jit
def page_cache_history(m: State, first: int, page: int) -> int:
    """Pages in the cache right before one of a file that begins with `first` (in mm/readahead.c:page_cache_sync_ra).

    As far as somebody looks; twice as many from the file's beginning on.
    """
    count = 0
    while count < RA_PAGES:
        if page - count == first:
            return 2 * count if count > 1 else count
        if not is_cached(m, page - count - 1):
            return count
        count += 1
    return count - 1


@jit
def get_next_ra_size(size: int) -> int:
    """The size of the readahead after one of `size` (mm/readahead.c)."""
    if size < RA_PAGES // 16:
        return 4 * size
    return 2 * size if size <= RA_PAGES // 2 else RA_PAGES


@jit
def start_ra(m: State, task: int, page: int, size: int, async_size: int) -> None:
    """Read ahead from a page on, and remember that."""
    descriptor = m.descriptors[task]
    descriptor.start = page
    descriptor.ra_size = size
    descriptor.async_size = async_size
    page_cache_ra(m, task, page, size, async_size)


@jit
def page_cache_sync_ra(m: State, task: int, page: int) -> None:
    """Read a page that is not in the cache, and those that seem to be next (mm/readahead.c:page_cache_sync_ra)."""
    descriptor, first = m.descriptors[task], wide(m.task_first[task])
    if descriptor.random:
        page_cache_ra(m, task, page, 1, 0)
        return
    is_next = descriptor.prev >= 0 and page - wide(descriptor.prev) in (1, 2)
    if page == first or is_next:
        start_ra(m, task, page, INIT_RA_SIZE, INIT_RA_SIZE - 1)
        return
    count = page_cache_history(m, first, page)
    if count <= 1:
        page_cache_ra(m, task, page, 1, 0)
    else:
        start_ra(m, task, page, min(count + 1, RA_PAGES), 1)


@jit
def page_cache_async_ra(m: State, task: int, page: int) -> None:
    """Read ahead once more, as the marked page has come (mm/readahead.c:page_cache_async_ra)."""
    m.folios[page].bits = wide(m.folios[page].bits) & ~PG_READAHEAD
    descriptor = m.descriptors[task]
    size = wide(descriptor.ra_size)
    if page == descriptor.start + size - descriptor.async_size:
        size = max(size, get_next_ra_size(size))
        start_ra(m, task, wide(descriptor.start) + wide(descriptor.ra_size), size, size)
        return
    missing = page + 1
    end = wide(m.task_first[task + 1])
    while missing <= page + RA_PAGES and missing < end and is_cached(m, missing):
        missing += 1
    if missing - page <= RA_PAGES:
        size = get_next_ra_size(missing - page + 1)
        start_ra(m, task, missing, size, size)


# Reads ----------------------------------------------------------------------------------------------------------------


@jit
def folio_mark_accessed(m: State, page: int) -> None:
    """Note a use: the second one activates (mm/swap.c:folio_mark_accessed)."""
    flags = wide(m.folios[page].bits)
    if not flags & PG_REFERENCED:
        m.folios[page].bits = flags | PG_REFERENCED
    elif not flags & PG_ACTIVE:
        m.folios[page].bits = flags & ~PG_REFERENCED
        if is_in_batch(m, page):
            m.folios[page].bits |= PG_ACTIVE
        else:
            folio_activate(m, page)
        workingset_age_nonresident(m, wide(m.folios[page].memcg))


@jit
def filemap_get_pages(m: State, task: int, page: int) -> bool:
    """Have a page of a file in the cache, as it is on the disk (mm/filemap.c); False when the task was killed.

    It costs what a fault does, minor if the page is there.
    """
    if not is_cached(m, page):
        m.memcgs[wide(m.task.current)].fault_ns += spend(m, wide(m.cost.fault_major_ns))
        page_cache_sync_ra(m, task, page)
        if not is_cached(m, page):  # filemap_create_folio()
            if not alloc_charged(m, wide(m.task.current), page):
                return False
            filemap_add_folio(m, task, page)
            read_pages(m, task, page, 1)
    else:
        spend(m, wide(m.cost.fault_minor_ns))
    if wide(m.folios[page].bits) & PG_READAHEAD:
        page_cache_async_ra(m, task, page)
    wait_for_page(m, task, page)
    return is_cached(m, page)


@jit
def filemap_read(m: State, page: int) -> None:
    """Read a page of a file through its descriptor (mm/filemap.c:filemap_read); nothing, when the task was killed."""
    task = task_of(m, page)
    if not filemap_get_pages(m, task, page):
        return
    if m.descriptors[task].prev != page:
        folio_mark_accessed(m, page)
    m.descriptors[task].prev = page
