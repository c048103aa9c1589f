"""Two memcgs with one id, because a bitmap was changed by two at once.

A memcg's id is also the index of its lists in every list_lru. New ids were taken under the cgroup_mutex, but given back
without it, when the last reference went: both change the same word of the IDR's bitmap, and one change may undo the
other. The id of a live memcg is free then, and the next memcg gets it too. As soon as one of the two goes offline, the
lists of the other are gone: crashes in list_lru, on a fleet.

Differs: the IDR is one word, whose loads and stores are marked; what is published is the duplicate id and not the race
on the word.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Mutex, Shared, SpinLock, kfree_rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]

DYING = 1


class Idr(Shared):
    """struct idr: a bit for every id that is taken."""

    bits: int

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.lock = SpinLock(self, "memcg_idr_lock")


class System(Shared):
    """Two memcgs to be; one that is about to be gone still has an id, and there is a lower one."""

    def __init__(self) -> None:
        self.cgroup_mutex = Mutex(None, "cgroup_mutex")
        self.idr = Idr(1 << DYING)
        self.lru = ListLru()
        self.memcgs = (Memcg("A", -1), Memcg("B", -1))
        self.entry = ZswapEntry("E", Objcg(self.memcgs[1]))


def idr_alloc(idr: Idr) -> int:
    """lib/idr.c:idr_alloc, 6.12: take the lowest id that is free."""
    bits = READ_ONCE(idr).bits
    free = ~bits & bits + 1
    WRITE_ONCE(idr).bits = bits | free
    return free.bit_length() - 1


def idr_remove(idr: Idr, number: int) -> None:
    """lib/idr.c:idr_remove, 6.12."""
    bits = READ_ONCE(idr).bits
    WRITE_ONCE(idr).bits = bits & ~(1 << number)


Locked = Callable[[Idr], AbstractContextManager[None]]


def mem_cgroup_css_alloc(system: System, memcg: Memcg, locked: Locked) -> None:
    """mm/memcontrol.c:mem_cgroup_css_alloc, 6.12, with the list that a memcg has as soon as it needs it."""
    with system.cgroup_mutex:
        with locked(system.idr):
            memcg.kmemcg_id = idr_alloc(system.idr)
        if not list_lru_from_memcg_idx(system.lru, memcg.kmemcg_id):
            system.lru.xa.store(memcg.kmemcg_id, ListLruOne(memcg))


def mem_cgroup_css_offline(system: System, memcg: Memcg) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline, 6.12; the memcg has nothing that would have to go elsewhere."""
    with system.cgroup_mutex:
        one = system.lru.xa.erase(memcg.kmemcg_id)
        if one:
            kfree_rcu(one)


def mem_cgroup_id_put(system: System, locked: Locked) -> None:
    """mm/memcontrol.c:mem_cgroup_id_put, 6.12, of the last reference to the dying memcg's id."""
    with locked(system.idr):
        idr_remove(system.idr, DYING)


def list_lru_add(lru: ListLru, entry: ZswapEntry, memcg: Memcg) -> None:
    """mm/list_lru.c:list_lru_add, 6.12."""
    with lru.lock:
        list_lru_from_memcg_idx(lru, memcg.kmemcg_id).list.add_tail(entry.lru)


def make_and_use(system: System, locked: Locked) -> None:
    """Make two memcgs, remove one, and use the other."""
    first, second = system.memcgs
    mem_cgroup_css_alloc(system, first, locked)
    mem_cgroup_css_alloc(system, second, locked)
    mem_cgroup_css_offline(system, first)
    list_lru_add(system.lru, system.entry, second)


def program(label: str, locked: Locked) -> Program[System]:
    """Memcgs come and go while the id of another is given back."""
    return Program(
        f"idr-duplicate-id: {label}",
        System,
        {
            "CPU0": lambda system: mem_cgroup_id_put(system, locked),
            "CPU1": lambda system: make_and_use(system, locked),
        },
    )


EXHIBIT = Exhibit(
    name="idr-duplicate-id",
    title="memcg: protect concurrent access to mem_cgroup_idr",
    references=("9972605a238339b85bd16b084eed5f18414d22db", "CVE-2024-43892"),
    story="Ids were given back without a lock, two memcgs got the same, and with one went the lists of the other.",
    broken={"no lock": program("no lock", lambda idr: nullcontext())},
    fixed={"memcg_idr_lock": program("memcg_idr_lock", lambda idr: idr.lock)},
    finds=frozenset({"null dereference"}),
)
