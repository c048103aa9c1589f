"""The question that swaplab was built for: zswap_lru_add() against mem_cgroup_css_offline().

It was asked in October 2023, of "[PATCH v4 2/5] zswap: make shrinking memcg-aware"
(20231101012614.186996-1-nphamcs@gmail.com): an entry that is added while its memcg goes offline could land on a list
that is about to be freed, where nobody finds it. Looking the memcg up under RCU, with css_tryget or with
css_tryget_online was said not to help; reparenting the lists at css release was proposed. It was answered that
kmemcg_id is switched to the parent's before any list is spliced, so that RCU is enough
(B0D87683-DD13-4787-8188-98CEBF561B99@linux.dev).

Here are the objects of `swaplab.kernel`, whole: rmdir, its grace periods and work queues, the objcg, the lists. In 7.2
an offline memcg's pages go to its parent, as its entries do: `swaplab.races.offline_folios` asks the same of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, get_args

from swaplab.explore import Program
from swaplab.kernel.css import CSS_ONLINE, cgroup_rmdir, css_descendants
from swaplab.kernel.list_lru import DEAD, ListLruOne, LruStatus
from swaplab.kernel.memcontrol import MemcgRoot, MemCgroup, ObjCgroup, mem_cgroup_create
from swaplab.kernel.protocol import LINUX_7_2, SAFEGUARDS_OF_LISTS, ListLruProtocol, Lookup, Protocol, Safeguard
from swaplab.kernel.sync import ListNode, Shared, SpinLock, is_freed, rcu
from swaplab.races.offline_folios import (
    Pages,
    are_charged,
    are_freed,
    are_listed,
    are_sized,
    child_is_released,
    fault,
    fault_and_unmap,
    remove_both,
    remove_child,
    scan,
    unmap,
)

__all__ = ["Cell", "matrix"]


class Entry(Shared):
    """A zswap entry, as far as its LRU is concerned."""

    name: Final[str]

    def __init__(self, name: str, objcg: ObjCgroup, nid: int) -> None:
        self.name = name
        self.objcg = objcg
        self.nid = nid
        self.lru = ListNode(self, "lru")


class Machine(Shared):
    """A parent and its child, a list_lru, and entries of the child.

    Args:
        protocol: which version of the system.
        nodes: NUMA nodes; there is an entry on each.
        allocated: whether the child has lists already.
        listed: whether the entries are on them.
        pinned: whether the swap slots of the entries hold the child's ID, and with it the child.
        held: whether a page that is charged to the child holds it all the while.
    """

    def __init__(
        self,
        protocol: Protocol,
        nodes: int = 1,
        allocated: bool = True,
        listed: bool = False,
        pinned: bool = True,
        held: bool = False,
    ) -> None:
        self.memcgs = MemcgRoot(protocol)
        self.parent = mem_cgroup_create(self.memcgs.root, "parent")
        self.child = mem_cgroup_create(self.parent, "child")
        self.lru = self.memcgs.new_list_lru(nodes)
        self.pinned = pinned
        objcg = self.child.orig_objcg
        assert objcg
        self.entries = tuple(Entry(f"E{nid}" if nodes > 1 else "E", objcg, nid) for nid in range(nodes))
        for _ in self.entries:
            objcg.refcnt.get()
            if pinned:
                self.child.id_get()
        if held:
            self.child.get()
        if allocated:
            self.lru.alloc(self.child)
        if listed:
            for entry in self.entries:
                self.zswap_lru_add(entry)

    def zswap_lru_add(self, entry: Entry) -> None:
        """zswap_lru_add, mm/zswap.c, 6.12."""
        entry.objcg.with_memcg(lambda memcg: self.lru.add(entry.lru, entry.nid, memcg))

    def zswap_lru_del(self, entry: Entry) -> None:
        """zswap_lru_del, mm/zswap.c, 6.12."""
        entry.objcg.with_memcg(lambda memcg: self.lru.delete(entry.lru, entry.nid, memcg))

    def zswap_entry_free(self, entry: Entry) -> None:
        """zswap_entry_free, mm/zswap.c, and the end of its slot, mm/swapfile.c, 6.12."""
        self.zswap_lru_del(entry)
        entry.objcg.refcnt.put()
        if self.pinned:
            self.child.id_put()

    def shrink_memcg_cb(self, entry: Entry, one: ListLruOne, lock: SpinLock) -> LruStatus:
        """shrink_memcg_cb, mm/zswap.c, 6.12: the lock is dropped for the writeback, which frees the entry."""
        lock.release()
        self.zswap_entry_free(entry)
        if self.lru.relocks:
            lock.acquire()
        return LruStatus.REMOVED_RETRY

    def lists(self) -> Iterator[tuple[MemCgroup, ListLruOne]]:
        """Lists that reclaim can reach: of the root, and of memcgs that are online."""
        memcgs = [self.memcgs.root, *(m for m in (self.parent, self.child) if m.flags & CSS_ONLINE)]
        for memcg in memcgs:
            for nid in range(self.lru.nodes):
                index = memcg.kmemcg_id
                mlru = self.lru.xa.items.get(index)
                if index < 0:
                    yield memcg, self.lru.node[nid].lru
                elif mlru:
                    yield memcg, mlru.node[nid]


def are_reachable(machine: Machine) -> bool:
    """Every entry is on a list that reclaim can reach."""
    found = [entry for _, one in machine.lists() for entry in one.list.entries()]
    for entry in machine.entries:
        assert entry in found, f"{entry.label} is on no list that reclaim can reach: nobody will ever write it back"
    return True


def are_counted(machine: Machine) -> bool:
    """Every list that reclaim can reach has as many items as it says."""
    for memcg, one in machine.lists():
        counted = one.nr_items
        length = len(one.list.entries())
        assert counted in (length, DEAD), f"nr_items of {memcg.label} is {counted}, and {length} are on its list"
    return True


def are_gone(machine: Machine) -> bool:
    """No entry is on any list."""
    for entry in machine.entries:
        assert entry.lru.head is None, f"{entry.label} was removed, and is on a list"
    return True


def is_released(machine: Machine) -> bool:
    """Nothing holds the child that will not let go."""
    assert is_freed(machine.child), "MemCgroup child is never released: its lists and objcg stay for ever"
    return True


Task = Callable[[Any], object]


def add(machine: Machine) -> None:
    """What zswap_store does last; one task for all entries."""
    for entry in machine.entries:
        machine.zswap_lru_add(entry)


def remove(machine: Machine) -> None:
    """What becomes of an entry that is loaded."""
    for entry in machine.entries:
        machine.zswap_entry_free(entry)


def add_and_remove(machine: Machine) -> None:
    """An entry is stored, and loaded later."""
    add(machine)
    remove(machine)


def walk(machine: Machine) -> None:
    """What shrink_worker does with the child: hold it if it is online, and write its oldest entry back."""
    with rcu:
        found = next((memcg for memcg in css_descendants(machine.parent) if memcg is machine.child), None)
        is_held = found is not None and found.tryget_online()
    if is_held:
        machine.lru.walk_one(0, machine.child, machine.shrink_memcg_cb, 1)
        machine.child.put()


def alloc_and_add(machine: Machine) -> None:
    """What zswap_store does before: it makes lists for the memcg, held meanwhile."""
    objcg = machine.entries[0].objcg
    memcg = hold_memcg(objcg)
    machine.lru.alloc(memcg)
    memcg.put()
    add(machine)


def hold_memcg(objcg: ObjCgroup) -> MemCgroup:
    """get_mem_cgroup_from_objcg, 6.12."""
    memcg: MemCgroup = objcg.with_memcg(lambda found: found if found.tryget() else hold_memcg(objcg))
    return memcg


def offline(machine: Machine) -> None:
    """Rmdir of the child; the rest follows."""
    cgroup_rmdir(machine.child)


def offline_both(machine: Machine) -> None:
    """Rmdir of the child and of its parent."""
    cgroup_rmdir(machine.child)
    cgroup_rmdir(machine.parent)


class Scenario(NamedTuple):
    """What happens beside the rmdir.

    Attributes:
        zswap: what zswap does.
        rmdir: what goes away.
        setup: makes the machine from the protocol.
        checks: what has to hold then.
    """

    zswap: Task
    rmdir: Task
    setup: Callable[[Protocol], Any]
    checks: tuple[Callable[[Any], bool], ...]


SCENARIOS = {
    # As the thread reasons: nothing but the lookup keeps the child.
    "add": Scenario(add, offline, partial(Machine, pinned=False), (are_reachable, are_counted, is_released)),
    "add, its slot holds the child": Scenario(add, offline, Machine, (are_reachable, are_counted)),
    "add, then removal": Scenario(
        add_and_remove, offline, partial(Machine, pinned=False), (are_gone, are_counted, is_released)
    ),
    "removal": Scenario(remove, offline, partial(Machine, listed=True), (are_gone, are_counted, is_released)),
    "removal, a page holds the child": Scenario(
        remove, offline, partial(Machine, listed=True, held=True), (are_gone, are_counted)
    ),
    "walk and writeback": Scenario(walk, offline, partial(Machine, listed=True), (are_counted,)),
    "parent and child": Scenario(add, offline_both, Machine, (are_reachable, are_counted)),
    "parent and child, no slot holds the child": Scenario(
        add, offline_both, partial(Machine, pinned=False), (are_reachable,)
    ),
    "allocation": Scenario(alloc_and_add, offline, partial(Machine, allocated=False), (are_reachable,)),
    "two nodes": Scenario(add, offline, partial(Machine, nodes=2), (are_reachable, are_counted)),
}
OF_PAGES = {
    "page, faulted in": Scenario(fault, remove_child, Pages, (are_listed, are_sized, are_charged)),
    "page, faulted in and given up": Scenario(
        fault_and_unmap, remove_child, Pages, (are_freed, are_sized, are_charged, child_is_released)
    ),
    "page, given up": Scenario(
        unmap, remove_child, partial(Pages, listed=True), (are_freed, are_sized, are_charged, child_is_released)
    ),
    "page, scanned": Scenario(scan, remove_child, partial(Pages, listed=True), (are_listed, are_sized, are_charged)),
    "page, scanned, is the child released": Scenario(
        scan, remove_child, partial(Pages, listed=True), (child_is_released,)
    ),
    "page, faulted in, parent and child": Scenario(fault, remove_both, Pages, (are_listed, are_sized)),
}
"""The same of pages in memory."""


class Cell(NamedTuple):
    """One field of the matrix.

    Attributes:
        label: which.
        group: what its label begins with, and those of others that differ in the protocol only.
        protocol: of the system.
        scenario: what happens.
        holds: whether nothing may break.
        program: to explore.
    """

    label: str
    group: str
    protocol: Protocol
    scenario: str
    holds: bool
    program: Program[Any]


def program(name: str, chosen: Scenario, protocol: Protocol) -> Program[Any]:
    """Return the program of a field."""
    checks = {str(check.__doc__).rstrip("."): check for check in chosen.checks}
    tasks = {"CPU0": chosen.zswap, "CPU1": chosen.rmdir}
    return Program(name, lambda: chosen.setup(protocol), tasks, checks)


def cell(scenario: str, protocol: Protocol, holds: bool) -> Cell:
    """Return a field."""
    parts = [" ".join([scenario, *(f"without {each}" for each in sorted(protocol.without))])]
    parts += [f"list_lru {protocol.list_lru}", f"lookup {protocol.lookup}", f"lists at {protocol.reparent}"]
    parts += ["objcgs pin"] if protocol.objcg_pins else []
    label = ", ".join(parts)
    group = f"{scenario} without" if protocol.without else scenario
    return Cell(label, group, protocol, scenario, holds, program(label, SCENARIOS[scenario], protocol))


def cell_of_pages(scenario: str, kernel: str, protocol: Protocol, holds: bool) -> Cell:
    """Return a field about pages."""
    parts = [scenario, *(f"without {each}" for each in sorted(protocol.without))]
    label = f"{' '.join(parts)}, Linux {kernel}"
    return Cell(label, " ".join(parts), protocol, scenario, holds, program(label, OF_PAGES[scenario], protocol))


def of_version(version: ListLruProtocol, lookup: Lookup = "rcu") -> Protocol:
    """Return the protocol of the fields of a version: 6.12, or that with other lists; 7.2 is all of it."""
    return replace(LINUX_7_2, lookup=lookup) if version == "7.2" else Protocol(version, lookup)


def matrix() -> list[Cell]:
    """Return all fields, in order."""
    versions: tuple[ListLruProtocol, ...] = get_args(ListLruProtocol)
    found = [
        cell("add", of_version(version, lookup), version != "feared" and lookup != "bare")
        for version in versions
        for lookup in get_args(Lookup)
    ]
    found += [cell("add, then removal", of_version(version), version != "feared") for version in versions]
    for scenario in ("removal", "walk and writeback", "parent and child", "allocation", "two nodes"):
        found += [cell(scenario, of_version(version), True) for version in versions[1:]]
    found += [
        cell("add, its slot holds the child", Protocol(), True),
        cell("add, its slot holds the child", Protocol(lookup="bare"), True),
        cell("add, its slot holds the child", Protocol(reparent="release"), False),
        cell("removal", Protocol(reparent="release"), True),
        cell("removal, a page holds the child", Protocol(reparent="release"), False),
        cell("removal", Protocol(reparent="objcg-release"), True),
        cell("removal", Protocol(reparent="objcg-release", objcg_pins=True), False),
    ]
    for safeguard in SAFEGUARDS_OF_LISTS:
        scenario = "walk and writeback" if safeguard == "grace-period-before-free" else "add"
        found.append(cell(scenario, Protocol(without=frozenset({safeguard})), False))
    found.append(cell("parent and child, no slot holds the child", Protocol(), False))
    found.append(cell("parent and child, no slot holds the child", LINUX_7_2, True))
    return found + matrix_of_pages()


def matrix_of_pages() -> list[Cell]:
    """Return the fields about pages: of 7.2 beside 6.12, in which a page that is used keeps its memcg."""
    found = []
    for scenario in OF_PAGES:
        found.append(cell_of_pages(scenario, "6.12", Protocol(), "is the child released" not in scenario))
        found.append(cell_of_pages(scenario, "7.2", LINUX_7_2, True))
    safeguards: tuple[tuple[str, Safeguard], ...] = (
        ("page, faulted in", "lruvec-checked-again"),
        ("page, scanned", "folios-with-objcgs"),
    )
    for scenario, safeguard in safeguards:
        found.append(cell_of_pages(scenario, "7.2", replace(LINUX_7_2, without=frozenset({safeguard})), False))
    return found
