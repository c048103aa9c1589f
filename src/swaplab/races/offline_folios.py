"""What `swaplab.races.offline` asks of zswap's entries, asked of pages in memory: folios of a memcg that goes offline.

In 6.12 a folio holds the css of its memcg, which so outlives its cgroup, a zombie, with its own list of pages. In 7.2
a folio holds an objcg: at offline its list is spliced to the parent's and the objcg goes over, under the locks of both
lists (mm/memcontrol.c:memcg_reparent_objcgs). Who wants the list of a folio locks the one that it belongs on by then,
and looks whether it still does (mm/memcontrol.c:folio_lruvec_lock).
"""

from __future__ import annotations

from swaplab.kernel.css import cgroup_rmdir, css_descendants
from swaplab.kernel.folio import Folio, Mm, folio_add_lru, folio_put
from swaplab.kernel.lruvec import Lruvec
from swaplab.kernel.memcontrol import MemcgRoot, MemCgroup, mem_cgroup_create
from swaplab.kernel.memory import get_mem_cgroup_from_mm
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.page_counter import page_counter_charge
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.sync import WRITE_ONCE, Shared, is_freed, rcu
from swaplab.kernel.vmscan import folio_putback_lru, isolate_lru_folios

__all__ = [
    "Pages",
    "are_charged",
    "are_freed",
    "are_listed",
    "are_sized",
    "child_is_released",
    "fault",
    "fault_and_unmap",
    "remove_both",
    "remove_child",
    "scan",
    "unmap",
]


class Pages(Shared):
    """A parent and its child, a process of the child's, and a page of that.

    Args:
        protocol: which version of the system.
        listed: whether the page is there already, charged and on its list.
    """

    folio: Folio | None

    def __init__(self, protocol: Protocol, listed: bool = False) -> None:
        self.memcgs = MemcgRoot(protocol)
        self.parent = mem_cgroup_create(self.memcgs.root, "parent")
        self.child = mem_cgroup_create(self.parent, "child")
        self.mm = Mm("process", self.child)
        self.zone = Zone(32)
        self.folio = None
        if listed:
            fault(self)

    def try_charge(self, memcg: MemCgroup) -> bool:
        """try_charge_memcg, where no limit is in the way."""
        page_counter_charge(memcg.memory, 1)
        return True

    def lruvecs(self) -> list[Lruvec]:
        """Lists that reclaim can reach: of memcgs that are in the tree, online or not."""
        return [memcg.lruvec for memcg in css_descendants(self.memcgs.root)]

    @property
    def living(self) -> list[Folio]:
        """The page, unless it was freed."""
        return [self.folio] if self.folio and not is_freed(self.folio) else []


def fault(pages: Pages) -> None:
    """do_anonymous_page, mm/memory.c: charge a page to the memcg of the process, and put it on the list."""
    folio = Folio(pages.zone)
    memcg = get_mem_cgroup_from_mm(pages.mm)
    folio.memcg_data = pages.memcgs.charge_memcg(memcg, pages.try_charge)
    memcg.put()
    folio_add_lru(folio)
    pages.folio = folio


def unmap(pages: Pages) -> None:
    """zap_pte_range, mm/memory.c: drop the last reference to the page."""
    assert pages.folio
    folio_put(pages.folio)


def fault_and_unmap(pages: Pages) -> None:
    """A page is used, and given up."""
    fault(pages)
    unmap(pages)


def scan(pages: Pages) -> None:
    """shrink_lruvec, mm/vmscan.c: take the child's pages off its list, find them in use, and put them back."""
    with rcu:
        found = next((memcg for memcg in css_descendants(pages.parent) if memcg is pages.child), None)
        is_held = found is not None and found.tryget()
    if is_held:
        for folio in isolate_lru_folios(pages.child.lruvec, 1):
            folio_putback_lru(folio)
        pages.child.put()


def remove_child(pages: Pages) -> None:
    """The process moves to the parent, and the child's cgroup is removed."""
    WRITE_ONCE(pages.mm).memcg = pages.parent
    cgroup_rmdir(pages.child)


def remove_both(pages: Pages) -> None:
    """The process moves to the root, and both cgroups are removed."""
    WRITE_ONCE(pages.mm).memcg = pages.memcgs.root
    cgroup_rmdir(pages.child)
    cgroup_rmdir(pages.parent)


def are_listed(pages: Pages) -> bool:
    """Every page is on a list that reclaim can reach."""
    found = [folio for lruvec in pages.lruvecs() for folio in lruvec.lru.entries()]
    for folio in pages.living:
        assert folio in found, f"{folio.label} is on no list that reclaim can reach: nobody will ever take it"
    return True


def are_sized(pages: Pages) -> bool:
    """Every list that reclaim can reach has as many pages as it says."""
    for lruvec in pages.lruvecs():
        length = len(lruvec.lru.entries())
        assert lruvec.size == length, f"the size of {lruvec.label} is {lruvec.size}, and {length} are on it"
    return True


def are_charged(pages: Pages) -> bool:
    """Every cgroup that is there is charged for the pages it has, and those below it."""
    for memcg in css_descendants(pages.parent):
        if memcg is pages.parent:
            usage = memcg.memory.usage.value
            assert usage == len(pages.living), f"{memcg.label} is charged for {usage}, and has {len(pages.living)}"
    return True


def are_freed(pages: Pages) -> bool:
    """No page is left, nor on any list."""
    assert not pages.living, "the page was given up, and is there"
    assert not any(lruvec.lru.entries() for lruvec in pages.lruvecs()), "the page was given up, and is on a list"
    return True


def child_is_released(pages: Pages) -> bool:
    """Nothing holds the child that will not let go."""
    assert is_freed(pages.child), "MemCgroup child is not released while its page is used: a zombie"
    return True
