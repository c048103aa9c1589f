"""Fork: the child's page table entries are the parent's, and writes part them (mm/memory.c, kernel/fork.c, 6.12).

Entries of shared memory are not copied (mm/memory.c:vma_needs_copy): the child maps it, and faults. Differs: takes no
time.
"""

from __future__ import annotations

from swaplab.replay.charge import alloc_pte, anon_vma_prepare
from swaplab.replay.hints import unlikely
from swaplab.replay.jit import entry, jit, wide
from swaplab.replay.memcontrol import task_of
from swaplab.replay.memory import kswapd_is_needed, run_background
from swaplab.replay.rmap import count_mapping, own_shared, share
from swaplab.replay.state import MAPPED, NONE, SHARED, SHMEM, STATE_MASK, State
from swaplab.replay.unmap import exit_mmap, is_gone

__all__ = ["copy_page_range"]


@jit
def copy_pte(m: State, page: int, source: int) -> None:
    """Have a page share what another task's has (mm/memory.c:copy_present_ptes, copy_nonpresent_pte)."""
    shared = wide(m.folios[source].bits) & STATE_MASK == SHARED
    folio = wide(m.folios[source].zspage) if shared else share(m, source)
    own_shared(m, page, folio)
    if m.pte[source] & MAPPED:
        count_mapping(m, folio, page, 0)


@jit
def copy_pte_range(m: State, page: int, end: int, source: int) -> None:
    """Copy page table entries, and make the tables, unless the parent is killed (mm/memory.c:copy_pte_range)."""
    task = task_of(m, page)
    for each in range(page, end):
        parent = source + each - page
        state = wide(m.folios[parent].bits) & STATE_MASK
        if state == NONE:
            m.folios[each].bits = m.folios[parent].bits
        if state in (NONE, SHMEM):
            continue
        if not alloc_pte(m, task, each, parent):
            return
        copy_pte(m, each, parent)


@entry
def copy_page_range(m: State, page: int, end: int, source: int) -> None:
    """Give a child's pages from `page` to `end` what the parent's from `source` on have (copy_page_range).

    A parent that was killed has no child. One that has exited had it before, in an order other than this: the child has
    nothing of it then. The parent pays for the child's page tables.
    """
    child, parent = task_of(m, page), task_of(m, source)
    if not is_gone(m, parent):
        m.task.current = m.task_memcg[parent]
        m.mm_is_new[child] = 1
        anon_vma_prepare(m, child)
        copy_pte_range(m, page, end, source)
        if unlikely(kswapd_is_needed(m)):
            run_background(m)
    if m.task_killed[parent]:
        exit_mmap(m, child)
        m.task_killed[child] = 1
