"""Suspected in 7.2: a page of a removed memcg is put into a generation that the parent has retired.

MGLRU's walk of page tables finds a page of the memcg that it walks for, takes the number of that memcg's youngest
generation, and writes it into the page's flags without a lock (mm/vmscan.c:walk_update_folio, folio_update_gen). In
between the memcg may go offline, so that the page is the parent's, with the number that it had; and the parent, whose
generations have other numbers, may empty its oldest and retire it (try_to_inc_min_seq). If that has the number which
the walk writes, the page is in no generation, until aging makes that number the youngest. In 6.12 the walk kept the
memcg's pages where they were.

Modelled is that protocol as read in Debian's 7.2.13: one page, the numbers of both memcgs' generations, one eviction by
the parent. This was not seen on a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Shared, SpinLock
from swaplab.races.exhibit import Exhibit

__all__ = ["SUSPECT"]

MAX_NR_GENS = 4


class Lruvec(Shared):
    """struct lru_gen_folio.

    Attributes:
        min_seq, max_seq: the oldest generation and the youngest; their numbers are these modulo 4. Under the lock.
    """

    name: Final[str]
    min_seq: int
    max_seq: int

    def __init__(self, name: str, order: int, min_seq: int, max_seq: int) -> None:
        self.name = name
        self.lru_lock = SpinLock(self, "lru_lock", order)
        self.min_seq, self.max_seq = min_seq, max_seq


class System(Shared):
    """A page of the child's, in its second youngest generation; the parent has four, the oldest with the number 3.

    Attributes:
        lruvec: whose list the page is on.
        gen: the number in its flags.
    """

    lruvec: Lruvec

    def __init__(self) -> None:
        self.parent, self.child = Lruvec("parent", 1, 3, 6), Lruvec("child", 0, 1, 3)
        self.lruvec = self.child
        self.gen = Atomic(self, "gen", 2)


def walk(system: System) -> None:
    """mm/vmscan.c:walk_update_folio: if the page is the child's, it gets the number of the child's youngest."""
    if READ_ONCE(system).lruvec is system.child:
        gen = READ_ONCE(system.child).max_seq % MAX_NR_GENS
        system.gen.cmpxchg(system.gen.read(), gen)


def walk_under_lock(system: System) -> None:
    """As if the child's list were locked meanwhile."""
    with system.child.lru_lock:
        walk(system)


def reparent(system: System) -> None:
    """mm/vmscan.c:max_lru_gen_memcg and lru_gen_reparent_memcg.

    The parent gets four generations, and then the page, in that of the same number. Differs: under one lock.
    """
    with system.child.lru_lock, system.parent.lru_lock:
        system.parent.max_seq = system.parent.min_seq + MAX_NR_GENS - 1
        WRITE_ONCE(system).lruvec = system.parent


def evict(system: System) -> None:
    """mm/vmscan.c:try_to_inc_min_seq: the parent's oldest generation is retired once nothing is in it."""
    parent = system.parent
    with parent.lru_lock:
        is_empty = READ_ONCE(system).lruvec is not parent or system.gen.read() != parent.min_seq % MAX_NR_GENS
        if is_empty:
            parent.min_seq += 1


def is_in_a_generation(system: System) -> bool:
    """Tell whether the page's number is one of the generations of the list that it is on."""
    found = system.lruvec
    return system.gen.value in {seq % MAX_NR_GENS for seq in range(found.min_seq, found.max_seq + 1)}


def program(label: str, walks: Callable[[System], None]) -> Program[System]:
    """A walk of the child's page tables, the end of the child, and an eviction from the parent."""
    return Program(
        f"suspect-generation-after-reparent: {label}",
        System,
        {"CPU0": walks, "CPU1": reparent, "CPU2": evict},
        {"the page is in one of the generations of its list": is_in_a_generation},
    )


SUSPECT = Exhibit(
    name="suspect-generation-after-reparent",
    title="a walk puts a page that went to the parent into a generation which that has retired",
    references=("mm/vmscan.c:folio_update_gen", "mm/vmscan.c:lru_gen_reparent_memcg", "7.2.13"),
    story=(
        "The number of a generation is taken from the memcg that a page was of, and written when it may be another's,"
        " whose generations have other numbers."
    ),
    broken={"as in 7.2, without a lock": program("without a lock", walk)},
    fixed={"under the lock of the list": program("under the lock", walk_under_lock)},
    finds=frozenset({"invariant broken"}),
)
