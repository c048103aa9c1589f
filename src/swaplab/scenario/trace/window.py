"""Drop repeats: accesses to one of the last few pages tell a memory of thousands of pages nothing new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.errors import InputError
from swaplab.scenario.trace.source import RawBatch

__all__ = ["MAX_WINDOW", "drop_repeats"]

MAX_WINDOW: Final = 1 << 10  # the search is linear


def drop_repeats(batches: Iterable[RawBatch], window: int) -> Iterator[RawBatch]:
    """Drop accesses to any of the `window` pages that their stream used last.

    The first write to a page since it entered the window is kept: no page stays clean that was written.

    Raises:
        InputError: `window` is not in ``1 .. MAX_WINDOW``.
    """
    if not 1 <= window <= MAX_WINDOW:
        raise InputError("window", f"1 to {MAX_WINDOW} pages", window)
    return _filtered(batches, window)


def _filtered(batches: Iterable[RawBatch], window: int) -> Iterator[RawBatch]:
    pages = np.zeros((0, window), np.uint64)
    written = np.zeros((0, window), np.bool_)
    used = np.zeros(0, np.int64)
    for batch in batches:
        if not len(batch.page):
            continue
        more = max(0, int(batch.stream.max()) + 1 - len(used))
        pages = np.concatenate([pages, np.zeros((more, window), np.uint64)])
        written = np.concatenate([written, np.zeros((more, window), np.bool_)])
        used = np.concatenate([used, np.zeros(more, np.int64)])
        keep = np.empty(len(batch.page), np.bool_)
        _mark(batch.stream, batch.page, batch.write, pages, written, used, keep)
        time = None if batch.time is None else batch.time[keep]
        yield RawBatch(batch.stream[keep], batch.page[keep], batch.write[keep], time)


@compiled
def _mark(
    stream: NDArray[np.uint16],
    page: NDArray[np.uint64],
    write: NDArray[np.bool_],
    pages: NDArray[np.uint64],
    written: NDArray[np.bool_],
    used: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> None:
    """Fill `keep`; rows of `pages` and `written` hold each stream's window, latest first, ``used`` of it."""
    window = pages.shape[1]
    for row in range(len(page)):
        number = stream[row]
        at = 0
        while at < used[number] and pages[number, at] != page[row]:
            at += 1
        known = at < used[number]
        if not known and used[number] < window:
            used[number] += 1
        at = min(at, window - 1)
        was_written = known and written[number, at]
        keep[row] = not known or (write[row] and not was_written)
        for older in range(at, 0, -1):
            pages[number, older] = pages[number, older - 1]
            written[number, older] = written[number, older - 1]
        pages[number, 0] = page[row]
        written[number, 0] = was_written or write[row]
