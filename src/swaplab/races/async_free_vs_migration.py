"""A zspage is freed by a worker that locks its pages one by one, while one of them is exchanged for another.

To free a zspage is to lock all its pages, going from each to the next. A page that migrates is locked by who migrates
it: when the worker gets it, it is no member any more and knows neither its zspage nor a next page. The pages have to be
gone through while they cannot change, waiting for a lock only outside that.

Differs: a zspage of two pages, one of which migrates; rwlock and objects in the pages are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Mutex, Shared, SpinLock, kfree
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "async-free-vs-migration"


class Page(Shared):
    """struct page of a zspage.

    Attributes:
        zspage: page_private; null if it is of none.
        next: the next page of the zspage.
        lock: PG_locked. Its order is the place in the zspage: pages are locked from the first to the last.
    """

    name: Final[str]
    zspage: Zspage | None
    next: Page | None

    def __init__(self, name: str, refcount: int, place: int) -> None:
        self.name = name
        self.zspage = None
        self.next = None
        self.refcount = Atomic(self, "refcount", refcount)
        self.lock = Mutex(self, "PG_locked", order=place)


class Zspage(Shared):
    """struct zspage.

    Attributes:
        huge: whether it has but one page.
        first_page: of those it has.
        lock: migrate_lock.
    """

    huge: bool
    first_page: Page

    def __init__(self, *pages: Page) -> None:
        self.huge = False
        self.lock = SpinLock(self, "migrate_lock")
        create_page_chain(self, *pages)


class System(Shared):
    """A zspage with pages P and Q, of which one is to migrate: the migrating task has a reference to it."""

    def __init__(self, place: int) -> None:
        pages = Page("P", 2 - place, 0), Page("Q", 1 + place, 1)
        self.page = pages[place]
        self.zspage = Zspage(*pages)


def create_page_chain(zspage: Zspage, *pages: Page) -> None:
    """mm/zsmalloc.c:create_page_chain, 6.12."""
    for page in pages:
        WRITE_ONCE(page).zspage = zspage
        WRITE_ONCE(page).next = None
    WRITE_ONCE(zspage).first_page = pages[0]
    for page, following in pairwise(pages):
        WRITE_ONCE(page).next = following


def get_next_page(page: Page) -> Page | None:
    """mm/zsmalloc.c:get_next_page, 6.12."""
    zspage = cast(Zspage, READ_ONCE(page).zspage)
    return None if READ_ONCE(zspage).huge else READ_ONCE(page).next


def reset_page(page: Page) -> None:
    """mm/zsmalloc.c:reset_page, 6.12."""
    WRITE_ONCE(page).zspage = None
    WRITE_ONCE(page).next = None


def put_page(page: Page) -> None:
    """include/linux/mm.h:put_page, 6.12."""
    if page.refcount.dec_and_test():
        kfree(page)


def wait_on_page_locked(zspage: Zspage, page: Page) -> None:
    """mm/filemap.c:folio_wait_locked, 6.12, outside of migrate_lock."""
    page.refcount.add(1)
    zspage.lock.release()
    page.lock.acquire()
    page.lock.release()
    put_page(page)
    zspage.lock.acquire()


def lock_members(zspage: Zspage) -> None:
    """mm/zsmalloc.c:lock_zspage, 6.12: nothing but members of the zspage, which it has while migrate_lock is held."""
    with zspage.lock:
        while not (page := READ_ONCE(zspage).first_page).lock.try_acquire():
            wait_on_page_locked(zspage, page)
        while following := get_next_page(page):
            if following.lock.try_acquire():
                page = following
            else:
                wait_on_page_locked(zspage, following)


def lock_chain(zspage: Zspage) -> None:
    """The same, 5.17: each page, and then the next."""
    page: Page | None = READ_ONCE(zspage).first_page
    while page:
        page.lock.acquire()
        page = get_next_page(page)


def lock_chain_keeping(zspage: Zspage) -> None:
    """Mutation: the same, with a reference to each page that it waits for."""
    page: Page | None = READ_ONCE(zspage).first_page
    while page:
        page.refcount.add(1)
        page.lock.acquire()
        following = get_next_page(page)
        put_page(page)
        page = following


def async_free_zspage(zspage: Zspage, lock_zspage: Callable[[Zspage], None]) -> None:
    """mm/zsmalloc.c:async_free_zspage, 6.12."""
    lock_zspage(zspage)
    page: Page | None = READ_ONCE(zspage).first_page
    while page:
        following = get_next_page(page)
        reset_page(page)
        page.lock.release()
        put_page(page)
        page = following
    kfree(zspage)


def replace_sub_page(zspage: Zspage, new: Page, old: Page) -> None:
    """mm/zsmalloc.c:replace_sub_page, 6.12."""
    pages: list[Page] = []
    page: Page | None = READ_ONCE(zspage).first_page
    while page:
        pages.append(new if page is old else page)
        page = get_next_page(page)
    create_page_chain(zspage, *pages)


def zs_page_migrate(page: Page) -> None:
    """mm/zsmalloc.c:zs_page_migrate, 6.12, between the locks and references of mm/migrate.c:unmap_and_move."""
    with page.lock:
        zspage = READ_ONCE(page).zspage
        if zspage:
            new = Page("N", 1, page.lock.order)
            new.lock.try_acquire()
            with zspage.lock:
                replace_sub_page(zspage, new, page)
            reset_page(page)
            put_page(page)
            new.lock.release()
    put_page(page)


def program(label: str, lock_zspage: Callable[[Zspage], None], place: int = 0) -> Program[System]:
    """A zspage is freed while the page at a place in it migrates."""
    return Program(
        f"{NAME}: {label}",
        lambda: System(place),
        {
            "CPU0": lambda system: async_free_zspage(system.zspage, lock_zspage),
            "CPU1": lambda system: zs_page_migrate(system.page),
        },
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="zsmalloc: fix races between asynchronous zspage free and page migration",
    references=("2505a981114dcb715f8977b8433f7540854851d8", "CVE-2022-49554"),
    story=(
        "The worker that frees a zspage locks its pages from first to last; one that migrates meanwhile is no member"
        " any more when it is locked, and leads nowhere."
    ),
    broken={
        "pages are locked as they come": program("as they come", lock_chain),
        "pages are kept and locked as they come": program("kept", lock_chain_keeping),
    },
    fixed={
        "pages are locked while they are members, the first migrates": program("first", lock_members),
        "pages are locked while they are members, the second migrates": program("second", lock_members, place=1),
    },
    finds=frozenset({"null dereference", "use after free"}),
)
