"""Pages charged to a cgroup and to all above it: struct page_counter.

Differs: no watermarks, and no memory.min and memory.low; nothing reads them.

Cited is Linux 6.12.
"""

from __future__ import annotations

from swaplab.kernel.sync import Atomic, KernelWarning, Part, Shared
from swaplab.linux.page import PAGE_SIZE

__all__ = [
    "PAGE_COUNTER_MAX",
    "PageCounter",
    "page_counter_cancel",
    "page_counter_charge",
    "page_counter_read",
    "page_counter_try_charge",
    "page_counter_uncharge",
]

PAGE_COUNTER_MAX = (1 << 63) // PAGE_SIZE - 1


class PageCounter(Part):
    """struct page_counter.

    Args:
        owner: whose pages are counted.
        name: of the member.
        parent: counter of the owner's parent.

    Attributes:
        usage: pages charged.
        max: pages that may be.
    """

    __slots__ = ("max", "parent", "usage")

    def __init__(self, owner: Shared, name: str, parent: PageCounter | None) -> None:
        super().__init__(owner, name)
        self.parent = parent
        self.usage = Atomic(owner, f"{name}.usage")
        self.max = Atomic(owner, f"{name}.max", PAGE_COUNTER_MAX)


def page_counter_read(counter: PageCounter) -> int:
    """include/linux/page_counter.h:page_counter_read. Pages."""
    return counter.usage.read()


def page_counter_cancel(counter: PageCounter, nr_pages: int) -> None:
    """mm/page_counter.c:page_counter_cancel: take pages out of this counter alone.

    Raises:
        KernelWarning: there are not as many.
    """
    if counter.usage.add_return(-nr_pages) < 0:
        raise KernelWarning(f"{counter.usage.label} drops below zero by {nr_pages} pages")


def page_counter_charge(counter: PageCounter, nr_pages: int) -> None:
    """mm/page_counter.c:page_counter_charge: regardless of limits."""
    each: PageCounter | None = counter
    while each:
        each.usage.add(nr_pages)
        each = each.parent


def page_counter_try_charge(counter: PageCounter, nr_pages: int) -> PageCounter | None:
    """mm/page_counter.c:page_counter_try_charge.

    Returns:
        The first counter whose limit is in the way, and nothing is charged then; None when all went well.
    """
    each: PageCounter | None = counter
    while each:
        if each.usage.add_return(nr_pages) > each.max.read():
            each.usage.add(-nr_pages)
            _cancel_below(counter, each, nr_pages)
            return each
        each = each.parent
    return None


def _cancel_below(counter: PageCounter, fail: PageCounter, nr_pages: int) -> None:
    while counter is not fail and counter.parent:
        page_counter_cancel(counter, nr_pages)
        counter = counter.parent


def page_counter_uncharge(counter: PageCounter, nr_pages: int) -> None:
    """mm/page_counter.c:page_counter_uncharge."""
    each: PageCounter | None = counter
    while each:
        page_counter_cancel(each, nr_pages)
        each = each.parent
