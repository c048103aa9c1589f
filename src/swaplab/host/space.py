"""The memory of a process while it runs: the mapping of each page, and which pages are its own by now."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANONYMOUS", "AddressSpace", "Mapping", "PageStates", "What"]

CHUNK_BITS: Final = 12  # pages that are looked after together: 16 MiB of addresses
TOUCHED: Final = np.uint8(1)
WRITTEN: Final = np.uint8(2)
_FRESH: Final = 1 << 40  # beyond all addresses


class What(IntEnum):
    """The backing of a page."""

    ANONYMOUS = 0
    PRIVATE_FILE = 1
    SHARED_FILE = 2
    OBJECT = 3
    NOTHING = 4


class Mapping(NamedTuple):
    """The mapping of a range of addresses.

    Attributes:
        what: backs it.
        number: of the file or the object.
        shift: page of the file or the object, less the address.
        moved: number by which its pages go, less the address: a page keeps its number when it is moved.
    """

    what: What = What.NOTHING
    number: int = 0
    shift: int = 0
    moved: int = 0


ANONYMOUS: Final = Mapping(What.ANONYMOUS)
NOTHING: Final = Mapping()


class Piece(NamedTuple):
    """A range of addresses, in pages, that is one mapping."""

    first: int
    end: int
    mapping: Mapping


class Found(NamedTuple):
    """Mappings of pages: ``(n,)`` arrays of the fields of `Mapping`, with the numbers of the pages themselves."""

    what: NDArray[np.uint8]
    number: NDArray[np.int64]
    page_of_other: NDArray[np.int64]
    page: NDArray[np.int64]


class AddressSpace:
    """The mapping of each page, by ranges."""

    def __init__(self) -> None:
        self._starts, self._mappings = [0], [NOTHING]
        self._arrays: tuple[NDArray[np.int64], ...] | None = None
        self._fresh, self._has_moved = _FRESH, False

    def copy(self) -> AddressSpace:
        """The same, to go its own way."""
        other = AddressSpace()
        other._starts, other._mappings = self._starts.copy(), self._mappings.copy()
        other._arrays, other._fresh, other._has_moved = self._arrays, self._fresh, self._has_moved
        return other

    def look_up(self, page: NDArray[np.int64]) -> Found:
        """The mappings of pages, given their addresses >> 12."""
        if self._arrays is None:
            columns = zip(*self._mappings, strict=True)
            self._arrays = (np.array(self._starts), *(np.array(column, np.int64) for column in columns))
        starts, what, number, shift, moved = self._arrays
        at = np.searchsorted(starts, page, side="right") - 1
        return Found(what[at].astype(np.uint8), number[at], page + shift[at], page + moved[at])

    def pieces(self, first: int, pages: int) -> list[Piece]:
        """The mappings in a range."""
        end = first + pages
        low = bisect_right(self._starts, first) - 1
        high = bisect_left(self._starts, end, lo=low)
        starts = [*self._starts[low:high], end]
        return [
            Piece(max(first, start), min(end, following), mapping)
            for start, following, mapping in zip(starts, starts[1:], self._mappings[low:high], strict=False)
        ]

    def all_pieces(self) -> Iterator[Piece]:
        """All mappings."""
        ends = [*self._starts[1:], _FRESH]
        return map(Piece, self._starts, ends, self._mappings)

    def map(self, first: int, pages: int, mapping: Mapping) -> None:
        """Make a range something new, whose pages have numbers that no others have."""
        if self._has_moved and any(_has_numbers(piece, first, pages) for piece in self.all_pieces()):
            mapping = mapping._replace(moved=self._fresh - first)
            self._fresh += pages
        self._set(first, pages, mapping)

    def unmap(self, first: int, pages: int) -> None:
        """Make a range nothing."""
        self._set(first, pages, NOTHING)

    def move(self, first: int, pages: int, to: int, new_pages: int) -> None:
        """Do as mremap does; what it grows by is like its end."""
        self._has_moved |= first != to
        pieces = self.pieces(first, pages)
        self.unmap(first, pages)
        for piece in pieces:
            self._set(to + piece.first - first, piece.end - piece.first, _shifted(piece.mapping, first - to))
        if new_pages > pages:
            grown = _shifted(pieces[-1].mapping, first - to)
            self.map(to + pages, new_pages - pages, grown._replace(moved=0))

    def _set(self, first: int, pages: int, mapping: Mapping) -> None:
        if pages <= 0:
            return
        end = first + pages
        after = self._mappings[bisect_right(self._starts, end) - 1]
        low, high = bisect_left(self._starts, first), bisect_right(self._starts, end)
        self._starts[low:high] = [first, end]
        self._mappings[low:high] = [mapping, after]
        self._arrays = None


def _has_numbers(piece: Piece, first: int, pages: int) -> bool:
    """Whether pages that were mapped in a range once, and moved to this piece, still go by its numbers."""
    return (
        bool(piece.mapping.moved)
        and piece.first + piece.mapping.moved < first + pages
        and first < piece.end + piece.mapping.moved
    )


def _shifted(mapping: Mapping, by: int) -> Mapping:
    return mapping._replace(shift=mapping.shift + by, moved=mapping.moved + by)


class PageStates:
    """Which pages have been touched, and which written, since they were mapped.

    Attributes:
        touched: how many have been touched.
        written: how many of them were written.
    """

    def __init__(self) -> None:
        self.touched = self.written = 0
        self._chunks = np.empty(0, np.int64)  # sorted
        self._rows = np.empty(0, np.int64)  # of each chunk in the table
        self._table = np.zeros((0, 1 << CHUNK_BITS), np.uint8)

    def copy(self) -> PageStates:
        """The same, to go its own way."""
        other = PageStates()
        other.touched, other.written = self.touched, self.written
        other._chunks, other._rows, other._table = self._chunks, self._rows, self._table.copy()
        return other

    def touch(self, page: NDArray[np.int64], write: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Touch pages; return what they were before the first of these accesses."""
        cells = self._cells(page)
        flat = self._table.reshape(-1)
        before = flat[cells]
        new, written = cells[before == 0], cells[write & (before & WRITTEN == 0)]
        if len(new):
            flat[new] = TOUCHED
            self.touched += len(np.unique(new))
        if len(written):
            flat[written] = TOUCHED | WRITTEN
            self.written += len(np.unique(written))
        return before

    def get(self, page: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The mappings of pages."""
        cells = self._cells(page)  # which may make the table larger
        return self._table.reshape(-1)[cells]

    def clear(self, first: int, pages: int) -> int:
        """Forget a range; return how many pages had been touched."""
        cleared = 0
        low, high = np.searchsorted(self._chunks, (first >> CHUNK_BITS, (first + pages - 1 >> CHUNK_BITS) + 1))
        for chunk, row in zip(self._chunks[low:high].tolist(), self._rows[low:high].tolist(), strict=True):
            start = chunk << CHUNK_BITS
            part = self._table[row, max(0, first - start) : max(0, first + pages - start)]
            touched = int(np.count_nonzero(part))
            self.touched -= touched
            self.written -= int(np.count_nonzero(part & WRITTEN))
            cleared += touched
            part[:] = 0
        return cleared

    def runs(self) -> Iterator[tuple[int, int]]:
        """First page and length of each run of touched pages, in order."""
        pages = [
            np.flatnonzero(self._table[row]) + (chunk << CHUNK_BITS)
            for chunk, row in zip(self._chunks.tolist(), self._rows.tolist(), strict=True)
        ]
        touched = np.concatenate([np.empty(0, np.int64), *pages])
        for run in np.split(touched, np.flatnonzero(np.diff(touched) > 1) + 1):
            if len(run):
                yield int(run[0]), len(run)

    def _cells(self, page: NDArray[np.int64]) -> NDArray[np.int64]:
        chunk = page >> CHUNK_BITS
        at = np.searchsorted(self._chunks, chunk)
        known = at < len(self._chunks)
        known[known] = self._chunks[at[known]] == chunk[known]
        if not known.all():
            self._add(np.unique(chunk[~known]))
            at = np.searchsorted(self._chunks, chunk)
        cells: NDArray[np.int64] = (self._rows[at] << CHUNK_BITS) | (page & ((1 << CHUNK_BITS) - 1))
        return cells

    def _add(self, chunks: NDArray[np.int64]) -> None:
        rows = len(self._table) + np.arange(len(chunks))
        self._table = np.concatenate([self._table, np.zeros((len(chunks), 1 << CHUNK_BITS), np.uint8)])
        order = np.argsort(np.concatenate([self._chunks, chunks]), kind="stable")
        self._chunks = np.concatenate([self._chunks, chunks])[order]
        self._rows = np.concatenate([self._rows, rows])[order]
