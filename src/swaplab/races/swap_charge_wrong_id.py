"""A charge for swap that is never taken back, as it was written down to a memcg that is gone.

A page that is swapped out stays charged to its memcg, and who frees the slot finds that memcg by the id recorded with
it. If the memcg is offline and has given its id back already, the charge goes to the nearest ancestor that has one. But
the id that was recorded was the memcg's own: nobody has it, nothing is uncharged, and the ancestor's counter and the
reference to its id stay for ever. Mended twice, since a merge undid it.

Differs: counters are per memcg and not of its ancestors as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from swaplab.explore import Program
from swaplab.kernel.sync import Atomic, Shared, XArray, rcu
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]


class Memcg(Shared):
    """struct mem_cgroup; online, which is a reference to its id."""

    name: Final[str]
    id: Final[int]

    def __init__(self, name: str, id_: int, parent: Memcg | None = None) -> None:
        self.name = name
        self.id = id_
        self.parent = cast(Memcg, parent)
        self.id_ref = Atomic(self, "id.ref", 1)
        self.memsw = Atomic(self, "memsw")


class System(Shared):
    """A memcg with a page in memory, and the slot the page goes to.

    Attributes:
        swap_cgroup: ids by slot, which is what swap_cgroup_record() changes.
    """

    def __init__(self) -> None:
        self.parent = Memcg("P", 1)
        self.memcg = Memcg("M", 2, self.parent)
        self.memcg.memsw.add(1)
        self.mem_cgroup_ids: XArray[Memcg] = XArray(None, "mem_cgroup_ids")
        for memcg in (self.parent, self.memcg):
            self.mem_cgroup_ids.store(memcg.id, memcg)
        self.swap_cgroup = Atomic(None, "swap_cgroup[0]")


def mem_cgroup_id_get_online(memcg: Memcg) -> Memcg:
    """mm/memcontrol.c:mem_cgroup_id_get_online, 6.12: the nearest that still has its id."""
    while not memcg.id_ref.inc_not_zero():
        memcg = memcg.parent
    return memcg


def mem_cgroup_id_put(system: System, memcg: Memcg) -> None:
    """mm/memcontrol.c:mem_cgroup_id_put, 6.12."""
    if memcg.id_ref.dec_and_test():
        system.mem_cgroup_ids.erase(memcg.id)


Record = Callable[[Memcg, Memcg], int]


def id_of_owner(memcg: Memcg, swap_memcg: Memcg) -> int:
    """Record whose page it was."""
    return memcg.id


def id_of_charged(memcg: Memcg, swap_memcg: Memcg) -> int:
    """Record the memcg that is charged, as in 6.12."""
    return swap_memcg.id


def mem_cgroup_swapout(system: System, record: Record) -> None:
    """mm/memcontrol.c:mem_cgroup_swapout, 6.12: the charge for the page becomes one for the slot."""
    memcg = system.memcg
    swap_memcg = mem_cgroup_id_get_online(memcg)
    system.swap_cgroup.xchg(record(memcg, swap_memcg))
    if memcg is not swap_memcg:
        swap_memcg.memsw.add(1)
        memcg.memsw.add(-1)


def mem_cgroup_uncharge_swap(system: System) -> None:
    """mm/memcontrol.c:__mem_cgroup_uncharge_swap, 6.12: the slot is free."""
    with rcu:
        memcg = system.mem_cgroup_ids.load(system.swap_cgroup.xchg(0))
        if memcg:
            memcg.memsw.add(-1)
            mem_cgroup_id_put(system, memcg)


def swap_out_and_free(system: System, record: Record) -> None:
    """A page is swapped out, and its process ends."""
    mem_cgroup_swapout(system, record)
    mem_cgroup_uncharge_swap(system)


def is_uncharged(system: System) -> bool:
    """Tell whether no memcg is charged."""
    return all(memcg.memsw.value == 0 for memcg in (system.parent, system.memcg))


def program(label: str, record: Record) -> Program[System]:
    """A page is swapped out and freed while its memcg goes offline."""
    return Program(
        f"swap-charge-wrong-id: {label}",
        System,
        {
            "CPU0": lambda system: swap_out_and_free(system, record),
            "CPU1": lambda system: mem_cgroup_id_put(system, system.memcg),
        },
        {
            "no slot is in use, and nobody is charged": is_uncharged,
            "no slot is in use, and none refers to P's id": lambda system: system.parent.id_ref.value == 1,
        },
    )


EXHIBIT = Exhibit(
    name="swap-charge-wrong-id",
    title="mm: memcontrol: fix swap counter leak from offline cgroup",
    references=("73f839b6d2ed", "20250410081812.10073-1-songmuchun@bytedance.com"),
    story="An ancestor was charged for a slot, and the id of an offline memcg recorded: nobody was ever uncharged.",
    broken={"the owner's id": program("owner", id_of_owner)},
    fixed={"the id of who is charged": program("charged", id_of_charged)},
    finds=frozenset({"invariant broken"}),
)
