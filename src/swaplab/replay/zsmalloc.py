"""The pool (mm/zsmalloc.c, 6.12): which zspage an object of some length goes to, and how many pages that takes.

Differs: an object has no place inside its zspage, since only compaction, which memcg reclaim never starts, would look.
"""

from __future__ import annotations

from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.lists import list_add, list_del
from swaplab.replay.state import GROUPS, OBJECTS_MAX, State

__all__ = ["zs_free", "zs_malloc"]


@jit
def insert_zspage(m: State, zspage: int, size_class: int, head: int) -> None:
    """Link a zspage in behind `head` (mm/zsmalloc.c:insert_zspage)."""
    list_add(m.zspages, head, zspage)
    m.class_groups[size_class] |= 1 << head - size_class * GROUPS


@jit
def remove_zspage(m: State, zspage: int, size_class: int, head: int) -> None:
    """Unlink a zspage from the list of `head` (mm/zsmalloc.c:remove_zspage)."""
    list_del(m.zspages, zspage)
    if m.zspages[head].next == head:
        m.class_groups[size_class] &= ~(1 << head - size_class * GROUPS)


@jit
def find_zspage(m: State, size_class: int) -> int:
    """First zspage of the fullest group that has room, or -1 (mm/zsmalloc.c:find_get_zspage)."""
    groups = wide(m.class_groups[size_class])
    if not groups:
        return -1
    group = GROUPS
    while not groups >> group & 1:
        group -= 1
    return wide(m.zspages[size_class * GROUPS + group].next)


@jit
def alloc_zspage(m: State, size_class: int) -> int:
    """Take an empty zspage and its pages, or -1 when the machine has none left (mm/zsmalloc.c:alloc_zspage)."""
    zswap = m.zswap
    pages = wide(m.class_pages[size_class])
    if m.memory.free < pages:
        return -1
    m.memory.free -= pages
    zswap.pool_pages += pages
    zspage = wide(zswap.free_zspage)
    if zspage >= 0:
        zswap.free_zspage = m.zspages[zspage].next
    else:
        zspage = wide(zswap.fresh_zspage)
        zswap.fresh_zspage += 1
    m.zspages[zspage].size_class = size_class
    m.zspages[zspage].inuse = 0
    return zspage


@jit
def free_zspage(m: State, zspage: int, size_class: int) -> None:
    """Give an empty zspage and its pages back (mm/zsmalloc.c:free_zspage)."""
    pages = wide(m.class_pages[size_class])
    m.memory.free += pages
    m.zswap.pool_pages -= pages
    m.zspages[zspage].next = m.zswap.free_zspage
    m.zswap.free_zspage = zspage


@jit
def fix_fullness_group(m: State, zspage: int, size_class: int, change: int) -> int:
    """Count one object more or less, and link the zspage where it belongs now (mm/zsmalloc.c:fix_fullness_group).

    Returns how many objects it has. Differs: a zspage that is full is on no list, like one that is empty.
    """
    before = wide(m.zspages[zspage].inuse)
    inuse = before + change
    first = size_class * OBJECTS_MAX
    old, new = wide(m.list_of[first + before]), wide(m.list_of[first + inuse])
    m.zspages[zspage].inuse = inuse
    if new != old:
        if old:
            remove_zspage(m, zspage, size_class, old)
        if new:
            insert_zspage(m, zspage, size_class, new)
    return inuse


@inline
def zs_malloc(m: State, length: int) -> int:
    """Zspage that took an object of `length` bytes (1 to 4096), or -1 (mm/zsmalloc.c:zs_malloc)."""
    size_class = wide(m.class_of_length[length])
    zspage = find_zspage(m, size_class)
    if zspage < 0:
        zspage = alloc_zspage(m, size_class)
        if zspage < 0:
            return -1
    fix_fullness_group(m, zspage, size_class, 1)
    return zspage


@jit
def zs_free(m: State, zspage: int) -> None:
    """Take one object out of `zspage` (mm/zsmalloc.c:zs_free)."""
    size_class = wide(m.zspages[zspage].size_class)
    if not fix_fullness_group(m, zspage, size_class, -1):
        free_zspage(m, zspage, size_class)
