"""A pointer that is checked, read again, and null by then.

Every CPU caches some bytes charged to one objcg. Who drains the caches of all CPUs asks each whether it is for a memcg
at hand: it looked whether there was a cached objcg, and read the pointer a second time to ask that for its memcg, while
its owner may drain it. It is read once since, inside an RCU section that keeps what was found.

Differs: the loads and the store are marked, which they were not; what is published is the null pointer and not the race
on the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, kfree_rcu, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import Memcg, Objcg

__all__ = ["EXHIBIT"]


class MemcgStock(Shared):
    """struct memcg_stock_pcp of CPU0."""

    cached_objcg: Any

    def __init__(self, objcg: Objcg) -> None:
        self.cached_objcg = objcg


class System(Shared):
    """A cache that holds the last reference to an objcg."""

    def __init__(self) -> None:
        self.memcg = Memcg("M", 1)
        self.stock = MemcgStock(Objcg(self.memcg))


def drain_local_stock(stock: MemcgStock) -> None:
    """mm/memcontrol.c:drain_local_stock, 6.12, on the CPU whose cache it is."""
    old = READ_ONCE(stock).cached_objcg
    WRITE_ONCE(stock).cached_objcg = None
    kfree_rcu(old)


def read_twice(stock: MemcgStock, root: Memcg) -> bool:
    """mm/memcontrol.c:obj_stock_flush_required, before 3b8abb323953."""
    if READ_ONCE(stock).cached_objcg:
        return READ_ONCE(READ_ONCE(stock).cached_objcg).memcg is root
    return False


def read_once(stock: MemcgStock, root: Memcg) -> bool:
    """mm/memcontrol.c:obj_stock_flush_required, 6.12."""
    objcg = READ_ONCE(stock).cached_objcg
    return bool(objcg) and READ_ONCE(objcg).memcg is root


Required = Callable[[MemcgStock, Memcg], bool]


def drain_all_stock(system: System, obj_stock_flush_required: Required) -> None:
    """mm/memcontrol.c:drain_all_stock, 6.12, as far as asking whether there is anything to drain."""
    with rcu:
        obj_stock_flush_required(system.stock, system.memcg)


def drain_all_stock_without_rcu(system: System, obj_stock_flush_required: Required) -> None:
    """What it would be if nothing kept the objcg."""
    obj_stock_flush_required(system.stock, system.memcg)


def program(label: str, drain_all: Callable[[System], None]) -> Program[System]:
    """A CPU's cache is drained while another asks for what."""
    return Program(
        f"obj-stock-check-then-use: {label}",
        System,
        {"CPU0": lambda system: drain_local_stock(system.stock), "CPU1": drain_all},
    )


EXHIBIT = Exhibit(
    name="obj-stock-check-then-use",
    title="mm: kmem: fix a NULL pointer dereference in obj_stock_flush_required()",
    references=("3b8abb3239530c423c0b97e42af7f7e856e1ee96", "CVE-2023-53401"),
    story="A cached pointer was checked, and then read a second time, when another CPU may have cleared it.",
    broken={
        "read twice": program("read twice", lambda system: drain_all_stock(system, read_twice)),
        "read once, without RCU": program("without RCU", lambda system: drain_all_stock_without_rcu(system, read_once)),
    },
    fixed={"read once": program("read once", lambda system: drain_all_stock(system, read_once))},
    finds=frozenset({"null dereference", "use after free"}),
)
