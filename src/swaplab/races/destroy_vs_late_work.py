"""A pool waits for its free worker, which is idle, and goes; then the worker is given something to do.

Pages that migration has isolated come back to the pool, and if nothing is in use in their zspage any more, the worker
is asked to free it. The pool used to be destroyed once its worker was idle. It has to wait until no page is isolated
first: only then can nobody ask any more. The count has to go down last, too.

Differs: one page is isolated, and there is nothing in its zspage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import Shared, SpinLock, Work, WorkQueue, flush_work, kfree, queue_work, relax
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "destroy-vs-late-work"


class Pool(Shared):
    """struct zs_pool.

    Attributes:
        isolated_pages: how many are to come back.
        free_work: frees what is empty.
        zspages: how many are not freed yet.
    """

    name: Final[str]
    isolated_pages: int
    free_work: Final[Work]
    zspages: int

    def __init__(self) -> None:
        self.name = "zswap"
        self.isolated_pages = self.zspages = 1
        self.free_work = Work(self, "free_work", async_free_zspage, self)
        self.lock = SpinLock(self, "class.lock")


class System(Shared):
    """A pool, and the queue that its work is on."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.wq = WorkQueue("events")


def async_free_zspage(pool: Pool) -> None:
    """mm/zsmalloc.c:async_free_zspage, 5.3."""
    with pool.lock:
        pool.zspages -= 1


def putback_zspage_deferred(system: System, pool: Pool) -> None:
    """mm/zsmalloc.c:putback_zspage_deferred, 5.3."""
    queue_work(system.wq, pool.free_work)


def putback_and_count(system: System, pool: Pool) -> None:
    """mm/zsmalloc.c:zs_page_putback, 5.3."""
    with pool.lock:
        putback_zspage_deferred(system, pool)
        pool.isolated_pages -= 1


def count_and_putback(system: System, pool: Pool) -> None:
    """Mutation: the page counts as back before it is."""
    with pool.lock:
        pool.isolated_pages -= 1
    with pool.lock:
        putback_zspage_deferred(system, pool)


def wait_for_isolated_drain(pool: Pool) -> None:
    """mm/zsmalloc.c:wait_for_isolated_drain, 5.3."""
    while True:
        with pool.lock:
            if pool.isolated_pages == 0:
                return
        relax()


def wait_for_nothing(pool: Pool) -> None:
    """The same, 5.2."""


def zs_destroy_pool(pool: Pool, wait: Callable[[Pool], None]) -> None:
    """mm/zsmalloc.c:zs_destroy_pool, with zs_unregister_migration, 5.3."""
    wait(pool)
    flush_work(pool.free_work)
    kfree(pool)


def program(label: str, wait: Callable[[Pool], None], putback: Callable[[System, Pool], None]) -> Program[System]:
    """A pool is destroyed while a page comes back."""
    return Program(
        f"{NAME}: {label}",
        System,
        {
            "CPU0": lambda system: zs_destroy_pool(system.pool, wait),
            "CPU1": lambda system: putback(system, system.pool),
        },
        {"every zspage was freed": lambda system: system.pool.zspages == 0},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm/zsmalloc.c: fix race condition in zs_destroy_pool",
    references=("701d678599d0c1623aaf4139c03eea260a75b027",),
    story=(
        "A pool is destroyed when its free worker is idle, while migration still has a page of it; the page comes back,"
        " and the worker runs on a pool that is gone."
    ),
    broken={
        "isolated pages are not waited for": program("not waited", wait_for_nothing, putback_and_count),
        "they are, but counted too early": program("counted early", wait_for_isolated_drain, count_and_putback),
    },
    fixed={"isolated pages are waited for": program("waited", wait_for_isolated_drain, putback_and_count)},
    finds=frozenset({"use after free"}),
)
