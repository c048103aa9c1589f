"""A queue that counts 18446744073709551615 folios, and another whose folios are not seen, while a memcg goes offline.

From the moment a memcg is marked as dying, everybody uses its parent's queue of large folios instead; what it has
itself is only spliced over when it goes offline, later. Until then a scan of the memcg does not see its folios, and a
folio that is freed is unlinked from the memcg's queue but counted off the parent's, which may have counted none. Both
were accepted when they were found in review: they last for a grace period. They are gone where a list is marked dead
together with its splice, under its lock, as list_lru does it since 6.13, by which this queue was to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, ListHead, ListNode, Shared, SpinLock
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

ULONG_MAX = (1 << 64) - 1


class Folio(Shared):
    """struct folio: a large one."""

    name: Final[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.deferred: ListNode[Folio] = ListNode(self, "_deferred_list")


class Memcg(Shared):
    """struct mem_cgroup with its struct deferred_split. The parent's lock is taken inside the child's."""

    name: Final[str]
    is_dying: bool
    is_spliced: bool
    split_queue_len: int

    def __init__(self, name: str, parent: Memcg | None = None) -> None:
        self.name = name
        self.parent = cast(Memcg, parent)
        self.is_dying = self.is_spliced = False
        self.split_queue_len = 0
        self.split_queue_lock = SpinLock(self, "split_queue_lock", order=0 if parent else 1)
        self.split_queue: ListHead[Folio] = ListHead(self, "split_queue")


class System(Shared):
    """A child with a large folio."""

    def __init__(self) -> None:
        self.child = Memcg("child", Memcg("parent"))
        self.folio = Folio("F")
        self.child.split_queue.add_tail(self.folio.deferred)
        self.child.split_queue_len = 1


def marked_by_kill(memcg: Memcg) -> bool:
    """Ask for the mark that kill_css() sets."""
    return READ_ONCE(memcg).is_dying


def marked_by_splice(memcg: Memcg) -> bool:
    """Ask for the mark that the splice sets."""
    return memcg.is_spliced


Mark = Callable[[Memcg], bool]


def folio_split_queue_lock(memcg: Memcg, mark: Mark) -> Memcg:
    """mm/huge_memory.c:folio_split_queue_lock, as proposed. Returns whose queue is locked."""
    while True:
        memcg.split_queue_lock.acquire()
        if not mark(memcg):
            return memcg
        memcg.split_queue_lock.release()
        memcg = memcg.parent


def unqueue_deferred_split(system: System, mark: Mark) -> None:
    """mm/huge_memory.c:__folio_unqueue_deferred_split, 6.12. The length is read without the lock, so it is marked."""
    memcg = folio_split_queue_lock(system.child, mark)
    system.folio.deferred.delete()
    WRITE_ONCE(memcg).split_queue_len -= 1
    memcg.split_queue_lock.release()


def deferred_split_scan(system: System, mark: Mark) -> None:
    """mm/huge_memory.c:deferred_split_scan, 6.12."""
    memcg = folio_split_queue_lock(system.child, mark)
    assert memcg.split_queue.first(), "a scan of the child does not see its folio"
    memcg.split_queue_lock.release()


def deferred_split_count(system: System) -> None:
    """mm/huge_memory.c:deferred_split_count, 6.12, of the parent."""
    count = READ_ONCE(system.child.parent).split_queue_len & ULONG_MAX
    assert count <= 1, f"the shrinker is told of {count} folios, and there is one"


def reparent_deferred_split_queue(child: Memcg) -> None:
    """mm/huge_memory.c:reparent_deferred_split_queue, as proposed, after kill_css() has marked the child."""
    WRITE_ONCE(child).is_dying = True
    parent = child.parent
    with child.split_queue_lock, parent.split_queue_lock:
        parent.split_queue.splice(child.split_queue)
        WRITE_ONCE(parent).split_queue_len += READ_ONCE(child).split_queue_len
        WRITE_ONCE(child).split_queue_len = 0
        child.is_spliced = True


def are_counted(system: System) -> bool:
    """Tell whether both queues are as long as they say."""
    memcgs = (system.child, system.child.parent)
    return all(memcg.split_queue_len == len(memcg.split_queue.nodes()) for memcg in memcgs)


def program(label: str, tasks: dict[str, Callable[[System], None]]) -> Program[System]:
    """Something is done to a memcg's queue while the memcg goes offline."""
    offline = {"CPU0": lambda system: reparent_deferred_split_queue(system.child)}
    return Program(
        f"split-queue-early-mark: {label}", System, offline | tasks, {"queues are as long as they say": are_counted}
    )


def scanning(label: str, mark: Mark) -> Program[System]:
    """A memcg is scanned while it goes offline."""
    return program(label, {"CPU1": lambda system: deferred_split_scan(system, mark)})


def counting(label: str, mark: Mark) -> Program[System]:
    """A folio is freed and the parent's are counted while their memcg goes offline."""
    return program(label, {"CPU1": lambda system: unqueue_deferred_split(system, mark), "CPU2": deferred_split_count})


EXHIBIT = Exhibit(
    name="split-queue-early-mark",
    title="mm: thp: reparent the split queue during memcg offline",
    references=(
        "20260113220046.2274684-1-clm@meta.com",
        "aWcrVRT_RjxdjoN7@hyeyoo",
        "3d8dd14c-d3a7-4cae-99e3-10ebe4ad52aa@linux.dev",
    ),
    story=(
        "Between its memcg's mark and the splice of its queue, a folio is out of reclaim's sight, and freeing it makes"
        " the parent count less than nothing. Accepted, as it passes; a mark that comes with the splice mends both."
    ),
    broken={
        "scanned, marked by the kill": scanning("out of sight", marked_by_kill),
        "counted, marked by the kill": counting("underflow", marked_by_kill),
    },
    fixed={
        "scanned, marked by the splice": scanning("in sight", marked_by_splice),
        "counted, marked by the splice": counting("counted", marked_by_splice),
    },
    finds=frozenset({"invariant broken"}),
)
