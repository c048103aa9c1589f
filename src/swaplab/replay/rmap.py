"""Folios that several page table entries map, or could: fork's, and unmapped ones (mm/rmap.c, 6.12).

A page's own record is its folio's as long as no other page has it. When a task forks, the folio moves to a record of
its own, behind those of pages, and pages that have it are `SHARED`: each names it, and they are linked in a ring. All
other data of a shared folio are in `rmaps`; its entry in `pte` sums up those of its pages. Shared memory's folios
(`shmem.py`) are of this kind, too.
"""

from __future__ import annotations

from swaplab.replay.hints import unlikely
from swaplab.replay.jit import jit, wide
from swaplab.replay.memcontrol import task_of
from swaplab.replay.state import (
    COMPRESSED,
    MANY,
    MAPPED,
    NONE,
    ON_DISK,
    PG_DIRTY,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    PTE_DIRTY,
    RESIDENT,
    SHARED,
    STATE_MASK,
    UNKNOWN,
    WRITES_IN_FLIGHT,
    YOUNG,
    ZERO_FILLED,
    State,
)

__all__ = [
    "begin_sharing",
    "count_mapping",
    "count_unmapping",
    "folio_of",
    "free_record",
    "is_swapped",
    "link_owner",
    "may_orphan",
    "new_record",
    "own_shared",
    "referenced_by",
    "share",
    "swap_count",
    "take_home",
    "unlink_owner",
    "unmap_all",
]


@jit
def is_swapped(m: State, folio: int) -> bool:
    """Whether a slot is all that there is."""
    state = wide(m.folios[folio].bits) & STATE_MASK
    return state in (COMPRESSED, ON_DISK, ZERO_FILLED)


@jit
def folio_of(m: State, page: int) -> int:
    """Record of the folio that a page has; -1 of one of shared memory that is not mapped."""
    record = m.folios[page]
    state = wide(record.bits) & STATE_MASK
    if unlikely(state >= SHARED):
        if state == SHARED:
            return wide(record.zspage)
        return wide(m.folios[wide(record.zspage)].zspage) if m.pte[page] else -1
    return page


# Records --------------------------------------------------------------------------------------------------------------


@jit
def move_links(m: State, source: int, target: int) -> None:
    """Have the neighbours on the list that a record is on, if it is on one, know it by another number."""
    record = m.folios[source]
    m.folios[target].next = record.next
    m.folios[target].prev = record.prev
    state = wide(record.bits) & STATE_MASK
    is_entry = state == COMPRESSED and not m.swap.zram and m.zswap.entries_linked
    if state == RESIDENT or is_entry:
        m.folios[wide(record.next)].prev = target
        m.folios[wide(record.prev)].next = target


@jit
def move_slot(m: State, source: int, target: int) -> None:
    """Have a slot with a number, and a write of it, know a folio by another record."""
    if m.device.rotational:
        m.page_slot[target] = m.page_slot[source]
        if wide(m.folios[source].bits) & PG_SWAPCACHE or is_swapped(m, source):
            m.slot_page[wide(m.page_slot[source])] = target
    if wide(m.folios[source].bits) & PG_WRITEBACK:
        for at in range(WRITES_IN_FLIGHT):
            if m.writes_page[at] == source:
                m.writes_page[at] = target


@jit
def move_folio(m: State, source: int, target: int) -> None:
    """Move a folio, wherever it is, from one record to another."""
    move_links(m, source, target)
    move_slot(m, source, target)
    old, new = m.folios[source], m.folios[target]
    new.memcg, new.other_memcg = old.memcg, old.other_memcg
    new.bits, new.zspage, new.shadow = old.bits, old.zspage, old.shadow


@jit
def new_record(m: State) -> int:
    """Take an unused record for a shared folio. There are enough: see `may_orphan`."""
    sizes = m.sizes
    folio = wide(sizes.free_folio)
    if folio:
        sizes.free_folio = m.folios[folio].next
    else:
        folio = wide(sizes.fresh_folio)
        sizes.fresh_folio += 1
    sizes.shared_folios += 1
    return folio


@jit
def own_shared(m: State, page: int, folio: int) -> None:
    """Make a page one of those that have a shared folio, which it does not map yet."""
    m.folios[page].bits, m.folios[page].zspage = SHARED, folio
    link_owner(m, folio, page)


@jit
def begin_sharing(m: State, folio: int, page: int, shmem: int) -> None:
    """Make a page the first that has a shared folio, whose contents are the page's."""
    target, rmap = m.folios[folio], m.rmaps[folio - wide(m.sizes.nr_pages)]
    target.kind, target.version, target.length = m.folios[page].kind, m.folios[page].version, m.folios[page].length
    rmap.origin, rmap.owners, rmap.mapped, rmap.shmem = page, 0, 0, shmem
    m.pte[folio] = MANY
    own_shared(m, page, folio)


@jit
def free_record(m: State, folio: int) -> None:
    """Give the record of a shared folio back, which is no more."""
    sizes = m.sizes
    m.folios[folio].bits = NONE
    m.folios[folio].next = sizes.free_folio
    m.pte[folio] = 0
    sizes.free_folio = folio
    sizes.shared_folios -= 1


@jit
def may_orphan(m: State) -> bool:
    """Whether there is a record for a folio that no page has. The other half is kept for folios that pages have."""
    return bool(m.sizes.shared_folios < m.sizes.nr_pages)


# Owners ---------------------------------------------------------------------------------------------------------------


@jit
def link_owner(m: State, folio: int, page: int) -> None:
    """Link a page with those that have a shared folio."""
    rmap, record = m.rmaps[folio - wide(m.sizes.nr_pages)], m.folios[page]
    if rmap.owners:
        first = m.folios[wide(rmap.first)]
        record.next, record.prev = rmap.first, first.prev
        m.folios[wide(first.prev)].next = page
        first.prev = page
    else:
        record.next = record.prev = rmap.first = page
    rmap.owners += 1


@jit
def unlink_owner(m: State, folio: int, page: int) -> None:
    """Take a page, which does not map it any more, from those that have a shared folio."""
    rmap, record = m.rmaps[folio - wide(m.sizes.nr_pages)], m.folios[page]
    m.folios[wide(record.prev)].next = record.next
    m.folios[wide(record.next)].prev = record.prev
    if rmap.first == page:
        rmap.first = record.next
    rmap.owners -= 1


@jit
def swap_count(m: State, folio: int) -> int:
    """Page table entries that name a shared folio's slot (mm/swapfile.c:swap_swapcount)."""
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    return wide(rmap.owners) - wide(rmap.mapped)


@jit
def count_mapping(m: State, folio: int, page: int, flags: int) -> None:
    """Map a shared folio, with flags of the entry (mm/rmap.c:folio_add_anon_rmap_ptes)."""
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    m.pte[page] = MAPPED | flags
    m.pte[folio] = wide(m.pte[folio]) | PRESENT | flags
    if not rmap.mapped and not rmap.shmem:
        m.memcgs[wide(m.folios[folio].memcg)].anon += 1
    rmap.mapped += 1


@jit
def count_unmapping(m: State, folio: int, page: int) -> None:
    """Unmap a shared folio, if the page maps it (mm/rmap.c:folio_remove_rmap_ptes).

    A page of shared memory that does not map its folio does not have it either.
    """
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    if not m.pte[page]:
        return
    m.pte[page] = 0
    rmap.mapped -= 1
    if rmap.shmem:
        unlink_owner(m, folio, page)
    if not rmap.mapped:
        entry = wide(m.pte[folio])
        m.pte[folio] = MANY
        if entry & PTE_DIRTY:
            m.folios[folio].bits |= PG_DIRTY
        if not rmap.shmem:
            m.memcgs[wide(m.folios[folio].memcg)].anon -= 1


@jit
def share(m: State, page: int) -> int:
    """Move a page's own folio to a record that several pages can have, which this one has; the record."""
    entry = wide(m.pte[page])
    folio = new_record(m)
    move_folio(m, page, folio)
    begin_sharing(m, folio, page, 0)
    m.folios[page].length = UNKNOWN
    m.pte[page] = 0
    if entry & PRESENT:
        m.pte[page] = MAPPED | entry & YOUNG
        m.pte[folio] = MANY | entry
        m.rmaps[folio - wide(m.sizes.nr_pages)].mapped = 1
    return folio


@jit
def take_home(m: State, folio: int, page: int) -> None:
    """Make a shared folio that only one page has that page's own (PG_anon_exclusive)."""
    unlink_owner(m, folio, page)
    entry = wide(m.pte[folio])
    move_folio(m, folio, page)
    m.folios[page].version = m.folios[folio].version
    m.pte[page] = entry & ~MANY
    free_record(m, folio)


# What reclaim asks of all pages ---------------------------------------------------------------------------------------


@jit
def counts_for(m: State, page: int) -> bool:
    """Whether use by a page's task counts in this reclaim (mm/rmap.c:invalid_folio_referenced_vma)."""
    memcg, target = wide(m.task_memcg[task_of(m, page)]), wide(m.scan.target)
    return bool(target <= memcg < m.memcgs[target].end)


@jit
def referenced_by(m: State, folio: int, page: int) -> bool:
    """Whether a page's task used a shared folio since this was last asked (mm/rmap.c:folio_referenced_one)."""
    if not wide(m.pte[page]) & YOUNG:
        return False
    if not counts_for(m, page):
        m.pte[folio] = wide(m.pte[folio]) | YOUNG
        return False
    m.pte[page] = wide(m.pte[page]) & ~YOUNG
    return True


@jit
def unmap_all(m: State, folio: int) -> None:
    """Have all pages that map a shared folio name its slot instead (mm/rmap.c:try_to_unmap)."""
    rmap = m.rmaps[folio - wide(m.sizes.nr_pages)]
    page = wide(rmap.first)
    for _ in range(wide(rmap.owners)):
        following = wide(m.folios[page].next)
        count_unmapping(m, folio, page)
        page = following
