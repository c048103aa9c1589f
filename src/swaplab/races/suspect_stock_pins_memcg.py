"""Suspected in 7.2: a removed memcg stays pinned by an empty slot of a processor's stock.

A processor charges ahead for several memcgs, and each slot of its stock holds its memcg. At offline the stocks are
drained, but of those processors alone that have pages left for the memcg: a slot whose pages were all used keeps its
reference. In 6.12 there is one slot, and the next memcg that charges there takes it. In 7.2 there are seven: only an
eighth memcg takes one from another, or a drain for another memcg of that processor, which empties all slots. On a
machine with few cgroups that may never come to pass, and the memcg stays dying.

Modelled is what mm/memcontrol.c of Debian's 7.2.13 does, as read: refill_stock, consume_stock and drain_all_stock on
one processor, whose stock has two slots instead of seven; two memcgs charge. "Never" is: not by the time that all of
them have done what they do. It was not measured on a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Atomic, Mutex, Shared
from swaplab.races.exhibit import Exhibit

__all__ = ["SUSPECT"]


class Memcg(Shared):
    """struct mem_cgroup.

    Attributes:
        refcnt: one until it is offline, and one of every slot.
        is_released: whether the last is gone.
    """

    name: Final[str]
    is_released: bool

    def __init__(self, name: str) -> None:
        self.name = name
        self.refcnt = Atomic(self, "refcnt", 1)
        self.is_released = False

    def put(self) -> None:
        """css_put."""
        if self.refcnt.dec_and_test():
            WRITE_ONCE(self).is_released = True


class Slot(Shared):
    """A slot of struct memcg_stock_pcp.

    Attributes:
        cached: whose it is, with a reference.
        nr_pages: charged ahead.
    """

    cached: Memcg | None
    nr_pages: int

    def __init__(self) -> None:
        self.cached = None
        self.nr_pages = 0


class System(Shared):
    """A processor with a stock, a memcg that goes and one that stays.

    Args:
        slots: of the stock.

    Attributes:
        lock: local_lock of the stock.
    """

    def __init__(self, slots: int) -> None:
        self.going, self.staying = Memcg("going"), Memcg("staying")
        self.lock = Mutex(self, "lock")
        self.stock = tuple(Slot() for _ in range(slots))
        for memcg in (self.going, self.staying):
            charge(self, memcg)


def drain_stock(slot: Slot) -> None:
    """mm/memcontrol.c:drain_stock. Pages go back to the counter, which is left out."""
    if slot.cached:
        WRITE_ONCE(slot).nr_pages = 0
        slot.cached.put()
        WRITE_ONCE(slot).cached = None


def charge(system: System, memcg: Memcg) -> None:
    """mm/memcontrol.c:refill_stock and consume_stock: take pages ahead, and use all of them."""
    with system.lock:
        slots = system.stock
        slot = next((each for each in slots if each.cached is memcg), None)
        slot = slot or next((each for each in slots if not each.cached), slots[0])
        if slot.cached is not memcg:
            drain_stock(slot)
            memcg.refcnt.add(1)
            WRITE_ONCE(slot).cached = memcg
        WRITE_ONCE(slot).nr_pages = 0


def only_with_pages(slot: Slot) -> bool:
    """mm/memcontrol.c:is_memcg_drain_needed."""
    return bool(READ_ONCE(slot).nr_pages)


def whatever(slot: Slot) -> bool:
    """As if a slot without pages were drained as well."""
    return True


def offline(system: System, is_needed: Callable[[Slot], bool]) -> None:
    """mm/memcontrol.c:mem_cgroup_css_offline: drain_all_stock, then the reference of the online css."""
    if any(READ_ONCE(slot).cached is system.going and is_needed(slot) for slot in system.stock):
        with system.lock:
            for slot in system.stock:
                drain_stock(slot)
    system.going.put()


def is_released(system: System) -> bool:
    """Tell whether the memcg that was removed is gone."""
    return system.going.is_released


def program(label: str, slots: int, is_needed: Callable[[Slot], bool]) -> Program[System]:
    """One memcg is removed, and the other goes on to charge."""
    return Program(
        f"suspect-stock-pins-memcg: {label}",
        lambda: System(slots),
        {"CPU0": lambda system: charge(system, system.staying), "CPU1": lambda system: offline(system, is_needed)},
        {"the memcg that was removed is released": is_released},
    )


SUSPECT = Exhibit(
    name="suspect-stock-pins-memcg",
    title="a removed memcg is pinned by a slot of a stock that has no pages",
    references=("mm/memcontrol.c:is_memcg_drain_needed", "mm/memcontrol.c:refill_stock", "7.2.13"),
    story=(
        "Offlining drains stocks that have pages of the memcg; a slot without pages keeps its reference until an eighth"
        " memcg charges on that processor."
    ),
    broken={"as in 7.2, a slot for each": program("a slot for each", 2, only_with_pages)},
    fixed={
        "as in 6.12, one slot": program("one slot", 1, only_with_pages),
        "slots without pages are drained as well": program("drained as well", 2, whatever),
    },
    finds=frozenset({"invariant broken"}),
)
