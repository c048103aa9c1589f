"""The machine's memory, counted in pages: who takes a page may not get one."""

from __future__ import annotations

from swaplab.kernel.sync import Part, current
from swaplab.kernel.sync.runtime import COMMUTE, READ, operation

__all__ = ["PAGE_SIZE", "Zone"]

PAGE_SIZE = 4096


class Zone(Part):
    """Pages that are free: struct zone.

    Differs: taking and giving back commute, as they do in the kernel as long as each CPU finds pages on its own list;
    that two tasks want the last page is not explored.

    Args:
        pages: how many there are.

    Attributes:
        free: how many of them nobody has.
    """

    __slots__ = ("free", "pages")

    def __init__(self, pages: int) -> None:
        super().__init__(None, "zone")
        self.pages = self.free = pages

    def alloc(self, pages: int = 1) -> bool:
        """Take pages, and tell whether there were that many: mm/page_alloc.c:get_page_from_freelist, 6.12."""
        return not current.runtime.fails("alloc_page") and self._take(pages)

    @operation(COMMUTE, "alloc_page")
    def _take(self, pages: int) -> bool:
        if self.free < pages:
            return False
        self.free -= pages
        return True

    @operation(COMMUTE, "__free_page")
    def give_back(self, pages: int = 1) -> None:
        """Give pages back: mm/page_alloc.c:__free_pages, 6.12."""
        self.free += pages

    @operation(READ, "nr_free_pages")
    def nr_free(self) -> int:
        """Count the free pages: mm/vmstat.c:NR_FREE_PAGES, 6.12."""
        return self.free
