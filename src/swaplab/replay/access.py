"""Accesses, a block at a time: which of them will fault, and what they leave behind.

Between two reclaims, no page goes away and nothing reads accessed bits. So the faults in a block are known ahead, and
faults follow each other without the accesses in between, which are `settle`d all at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.replay.hints import prefetch
from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.state import BLOCK, PRESENT, PTE_DIRTY, UNKNOWN, YOUNG, State

__all__ = ["leave_out", "look_again", "look_ahead", "look_closer", "settle"]


@inline
def look_ahead(m: State, accesses: NDArray[np.uint32], block: int) -> int:
    """Take a block of `accesses` into the window, list what is not present, and fetch its records; how many."""
    pte, window, missing = m.pte, m.window, m.missing
    i = block * BLOCK
    end = min(i + BLOCK, len(accesses))
    first = count = at = block % 2 * BLOCK
    while i < end:
        access = wide(accesses[np.uintp(i)])
        window[np.uintp(at)] = access
        missing[count] = at
        count += wide(pte[access >> 1]) < PRESENT  # no branch: it could not be predicted
        at += 1
        i += 1
    for i in range(first, count):
        prefetch(m.folios, wide(window[np.uintp(wide(missing[i]))]) >> 1)
    return count - first


@inline
def look_closer(m: State, block: int, count: int) -> None:
    """Fetch what faults on the `count` missing of a block will need, now that their records are there."""
    first = block % 2 * BLOCK
    linked = wide(m.zswap.entries_linked)
    for i in range(first, first + count):
        folio = m.folios[wide(m.window[np.uintp(wide(m.missing[i]))]) >> 1]
        if linked:
            prefetch(m.folios, wide(folio.next))
            prefetch(m.folios, wide(folio.prev))
        prefetch(m.zspages, wide(folio.zspage))


@inline
def look_again(m: State, block: int, begin: int, end: int) -> int:
    """List what is not present now of a block's accesses, from `begin` to `end` in the window; how many.

    Were it what `look_ahead` calls to list its block, or did that stand in for it, all would take 2 to 4 % longer.
    """
    first = count = block % 2 * BLOCK
    for at in range(begin, end):
        m.missing[count] = at
        count += wide(m.pte[wide(m.window[np.uintp(at)]) >> 1]) < PRESENT
    return count - first


@jit
def settle_writes(m: State, begin: int, end: int) -> None:
    """Give the pages that some accesses wrote to their next contents."""
    written = m.written
    count = 0
    for at in range(begin, end):
        access = wide(m.window[np.uintp(at)])
        written[np.uintp(count)] = access >> 1
        count += access & 1  # no branch here either
    for i in range(count):
        page = wide(written[np.uintp(i)])
        folio = m.folios[page]
        folio.version += 1
        folio.length = UNKNOWN
        m.pte[page] = wide(m.pte[page]) | PTE_DIRTY


@jit
def settle(m: State) -> None:
    """Have page table and contents show all accesses made, as reclaim is about to look or the block is over.

    All their pages are present: a fault made them so, and there was no reclaim since.
    """
    pte, window = m.pte, m.window
    begin, end = wide(m.task.settled), wide(m.task.made)
    any_of = 0
    at = begin
    while at < end:
        access = wide(window[np.uintp(at)])
        page = access >> 1
        pte[page] = wide(pte[page]) | YOUNG
        any_of |= access
        at += 1
    if any_of & 1:
        settle_writes(m, begin, end)
    m.task.settled = end


@jit
def leave_out(m: State) -> None:
    """Pass over the next access: its task was killed, or all that it leaves behind is there already."""
    settle(m)
    m.task.made += 1
    m.task.settled = m.task.made
