"""Suspected in 7.2: a page-table walk takes pages off the sizes of a parent that never had them.

MGLRU's walk of page tables moves pages to a younger generation at once, and what that does to the sizes of generations
it adds up, to be applied under the list's lock later (mm/vmscan.c:update_batch_size, reset_batch_size). Since 7.2 that
is the list of the nearest memcg that is not dying (lruvec_live_lock_irq). But a memcg is dying from rmdir on, and its
pages go to the parent at offline, at least two grace periods later. In between, the parent's size of the older
generation may fall below zero, which mm/memcontrol.c:mem_cgroup_update_lru_size warns of, and sets to zero: so that it
is too large for good once the child's comes to it. Without that the sum would be right again after offline.

Modelled is that protocol as read in Debian's 7.2.13: one page of the child, two generations, the sizes of both memcgs.
It takes a walk of the child's that began before rmdir, or reclaim of the dying memcg through the parent. Nobody has
seen the warning on a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    KernelWarning,
    Shared,
    SpinLock,
    rcu,
    synchronize_rcu,
)
from swaplab.races.exhibit import Exhibit

__all__ = ["SUSPECT"]

OLD, YOUNG = 0, 1


class Memcg(Shared):
    """struct mem_cgroup, with its lruvec.

    Attributes:
        is_dying: CSS_DYING.
        is_moved: whether its pages are the parent's; under the lock.
        old, young: sizes of the generations; under the lock.
    """

    name: Final[str]
    is_dying: bool
    is_moved: bool
    old: int
    young: int

    def __init__(self, name: str, parent: Memcg | None, old: int) -> None:
        self.name = name
        self.parent = cast(Memcg, parent)
        self.lru_lock = SpinLock(self, "lru_lock", order=0 if parent else 1)
        self.is_dying = self.is_moved = False
        self.old, self.young = old, 0


class System(Shared):
    """A child with a page in the older generation, and its parent.

    Attributes:
        generation: the page's, as its flags say.
    """

    generation: int

    def __init__(self) -> None:
        self.parent = Memcg("parent", None, 0)
        self.child = Memcg("child", self.parent, 1)
        self.generation = OLD


def lruvec_live_lock_irq(memcg: Memcg) -> Memcg:
    """include/linux/memcontrol.h:lruvec_live_lock_irq: of the nearest that is not dying. Under RCU."""
    while READ_ONCE(memcg).is_dying:
        memcg = memcg.parent
    memcg.lru_lock.acquire()
    return memcg


def lruvec_of_pages(memcg: Memcg) -> Memcg:
    """As if it were that of the nearest that has not given its pages away. Under RCU."""
    while True:
        memcg.lru_lock.acquire()
        if not memcg.is_moved:
            return memcg
        memcg.lru_lock.release()
        memcg = memcg.parent


def mem_cgroup_update_lru_size(memcg: Memcg, old: int, young: int) -> None:
    """mm/memcontrol.c:mem_cgroup_update_lru_size.

    Raises:
        KernelWarning: a list would have less than no pages.
    """
    if memcg.old + old < 0 or memcg.young + young < 0:
        raise KernelWarning(f"the size of a list of {memcg.name} drops below zero")
    memcg.old += old
    memcg.young += young


def walk(system: System, lock: Callable[[Memcg], Memcg]) -> None:
    """mm/vmscan.c:walk_update_folio and reset_batch_size: the page was used, and is younger; the sizes follow."""
    WRITE_ONCE(system).generation = YOUNG
    with rcu:
        memcg = lock(system.child)
        mem_cgroup_update_lru_size(memcg, -1, 1)
        memcg.lru_lock.release()


def remove(system: System) -> None:
    """kernel/cgroup/cgroup.c:kill_css_sync, and after a grace period mm/vmscan.c:lru_gen_reparent_memcg."""
    child, parent = system.child, system.parent
    WRITE_ONCE(child).is_dying = True
    synchronize_rcu()
    with child.lru_lock, parent.lru_lock:
        mem_cgroup_update_lru_size(parent, child.old, child.young)
        child.old = child.young = 0
        child.is_moved = True


def are_sized(system: System) -> bool:
    """Tell whether the parent, which has the page now, has it in the right generation."""
    return (system.parent.old, system.parent.young) == (0, 1)


def program(label: str, lock: Callable[[Memcg], Memcg]) -> Program[System]:
    """A walk of the child's page tables while the child is removed."""
    return Program(
        f"suspect-batch-of-dying-memcg: {label}",
        System,
        {"CPU0": lambda system: walk(system, lock), "CPU1": remove},
        {"the sizes of generations are right in the end": are_sized},
    )


SUSPECT = Exhibit(
    name="suspect-batch-of-dying-memcg",
    title="a walk's changes to the sizes of generations go to a parent that does not have the pages yet",
    references=("mm/vmscan.c:reset_batch_size", "include/linux/memcontrol.h:lruvec_live_lock_irq", "7.2.13"),
    story=(
        "What a walk has moved from one generation to another is counted at the nearest memcg that is not dying, but"
        " pages stay with the dying one until it goes offline."
    ),
    broken={"as in 7.2, of the nearest not dying": program("nearest not dying", lruvec_live_lock_irq)},
    fixed={"of the nearest that has the pages": program("nearest with the pages", lruvec_of_pages)},
    finds=frozenset({"warning", "invariant broken"}),
)
