"""The machine's memory, counted in pages: a task that takes a page may not get one.

Cited is Linux 6.12.
"""

from __future__ import annotations

from swaplab.kernel.sync import Part, current
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE, Several, operation, outside

__all__ = ["Zone"]

TAKEN_MAX = 8
"""The most pages that a task takes at once: those of a zspage."""


def _by_taking(zone: Zone, _pages: int) -> tuple[tuple[Part, int], ...]:
    # Two that take pages commute if there are enough for both: so who takes leaves enough for any other, or depends on
    # all. Additions cannot bring it below that without one that does.
    return ((zone, COMMUTE if zone._free >= 2 * TAKEN_MAX else WRITE),)


class Zone(Part):
    """Pages that are free: struct zone.

    Taking and giving back commute as long as there are pages for another task that may want some at once.

    Args:
        pages: how many there are.

    Attributes:
        free: how many of them are free.
    """

    __slots__ = ("_free", "pages")
    free: int = outside("_free")

    def __init__(self, pages: int) -> None:
        super().__init__(None, "zone")
        self.pages = self._free = pages

    def alloc(self, pages: int = 1) -> bool:
        """Take pages, and tell whether there were that many: mm/page_alloc.c:get_page_from_freelist."""
        return not current.runtime.fails("alloc_page") and self._take(pages)

    @operation(Several(_by_taking), "alloc_page")
    def _take(self, pages: int) -> bool:
        if self._free < pages:
            return False
        self._free -= pages
        return True

    @operation(COMMUTE, "__free_page")
    def give_back(self, pages: int = 1) -> None:
        """Give pages back: mm/page_alloc.c:__free_pages."""
        self._free += pages

    @operation(READ, "nr_free_pages")
    def nr_free(self) -> int:
        """Count the free pages: mm/vmstat.c:NR_FREE_PAGES."""
        return self._free
