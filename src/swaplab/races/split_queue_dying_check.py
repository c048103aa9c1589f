"""A mark that is not set under the lock it decides about: said to be a race, and none if no task skips the lock.

Every memcg has a queue of large folios to split. When it goes offline its queue is spliced into the parent's, and from
the moment it is marked as dying everybody uses the parent's lock instead. The mark is set without any lock: two tasks,
one of which saw it and one of which did not, would change one list under two locks. They do not: whoever looks for a
queue locks the child's first, looks at the mark with the lock held, and lets go of it if it is set. Who has not seen
the mark then still holds the child's lock, and who has seen it had to wait for him. All of this rests on everybody
passing through the child's lock and looking: the third version's scan locked the child's queue and did not look.

Differs: no grace period between the mark and the splice, which would leave orders out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, ListHead, ListNode, Shared, SpinLock
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]


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

    def __init__(self, name: str, parent: Memcg | None = None) -> None:
        self.name = name
        self.parent = cast(Memcg, parent)
        self.is_dying = False
        self.split_queue_lock = SpinLock(self, "split_queue_lock", order=0 if parent else 1)
        self.split_queue: ListHead[Folio] = ListHead(self, "split_queue")


class System(Shared):
    """A child with two large folios."""

    def __init__(self) -> None:
        self.child = Memcg("child", Memcg("parent"))
        self.folios = (Folio("F"), Folio("G"))
        for folio in self.folios:
            self.child.split_queue.add_tail(folio.deferred)


def lock_and_look(memcg: Memcg) -> Memcg:
    """mm/huge_memory.c:folio_split_queue_lock, as proposed. Returns whose queue is locked."""
    while True:
        memcg.split_queue_lock.acquire()
        if not READ_ONCE(memcg).is_dying:
            return memcg
        memcg.split_queue_lock.release()
        memcg = memcg.parent


def look_and_lock(memcg: Memcg) -> Memcg:
    """Look at the mark before the lock is held."""
    while READ_ONCE(memcg).is_dying:
        memcg = memcg.parent
    memcg.split_queue_lock.acquire()
    return memcg


def lock_only(memcg: Memcg) -> Memcg:
    """The scan of the third version."""
    memcg.split_queue_lock.acquire()
    return memcg


Lock = Callable[[Memcg], Memcg]


@dataclass(frozen=True)
class Protocol:
    """How the queue that counts for a memcg is found and locked."""

    unqueue: Lock = lock_and_look
    scan: Lock = lock_and_look


def unqueue_deferred_split(system: System, lock: Lock) -> None:
    """mm/huge_memory.c:__folio_unqueue_deferred_split, 6.12."""
    memcg = lock(system.child)
    system.folios[0].deferred.delete()
    memcg.split_queue_lock.release()


def deferred_split_scan(system: System, lock: Lock) -> None:
    """mm/huge_memory.c:deferred_split_scan, 6.12: rotates the first, which could not be split."""
    memcg = lock(system.child)
    folio = memcg.split_queue.first()
    if folio:
        memcg.split_queue.move_tail(folio.deferred)
    memcg.split_queue_lock.release()


def reparent_deferred_split_queue(child: Memcg) -> None:
    """mm/huge_memory.c:reparent_deferred_split_queue, as proposed, after kill_css() has marked the child."""
    WRITE_ONCE(child).is_dying = True
    with child.split_queue_lock, child.parent.split_queue_lock:
        child.parent.split_queue.splice(child.split_queue)


def program(label: str, protocol: Protocol) -> Program[System]:
    """A folio is freed and the queue it is on is scanned, while its memcg goes offline."""
    return Program(
        f"split-queue-dying-check: {label}",
        System,
        {
            "CPU0": lambda system: reparent_deferred_split_queue(system.child),
            "CPU1": lambda system: deferred_split_scan(system, protocol.scan),
            "CPU2": lambda system: unqueue_deferred_split(system, protocol.unqueue),
        },
        {"folio G is on the parent's queue": lambda s: s.folios[1] in s.child.parent.split_queue.entries()},
    )


EXHIBIT = Exhibit(
    name="split-queue-dying-check",
    title="mm: thp: reparent the split queue during memcg offline",
    references=(
        "2EC0CBCD-73FD-400A-921A-EAB45B21ACB8@linux.dev",
        "08a4f0b2-1735-4e3b-9f61-d55e45e8ec86@linux.dev",
    ),
    story=(
        "A memcg is marked as dying without the lock of its queue, and still nobody changes that under the wrong one:"
        " everybody takes the child's lock first, and looks at the mark then. Whoever does not, breaks it."
    ),
    broken={
        "the scan does not look": program("does not look", Protocol(scan=lock_only)),
        "the scan looks before it locks": program("looks early", Protocol(scan=look_and_lock)),
        "the free looks before it locks": program("frees early", Protocol(unqueue=look_and_lock)),
    },
    fixed={"both lock, and then look": program("lock and look", Protocol())},
    finds=frozenset({"list corruption"}),
)
