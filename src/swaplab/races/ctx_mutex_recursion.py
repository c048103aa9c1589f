"""Compression contexts are allocated under the mutex that reclaim takes to compress.

A CPU that comes gets its context under the context's mutex. The allocations there may enter reclaim, which compresses
pages, for which it locks the context of the CPU it runs on. That is another context than the one that is being made:
what goes wrong here is what lockdep sees, a mutex taken inside another of its class, in whatever order.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import WRITE_ONCE
from swaplab.races.acomp import Machine, Request, zswap_compress
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "ctx-mutex-recursion"


def allocate(machine: Machine) -> Request:
    """mm/slub.c:__kmalloc_node, 6.12, with GFP_KERNEL, when there is no memory: reclaims by itself."""
    with machine.fs_reclaim:
        zswap_compress(machine)
    return Request("CPU1")


def prepare_before_lock(machine: Machine) -> None:
    """mm/zswap.c:zswap_cpu_comp_prepare, 6.12: only pointers change under the mutex."""
    ctx = machine.ctx[1]
    req = allocate(machine)
    with ctx.mutex:
        ctx.req = req


def prepare_under_lock(machine: Machine) -> None:
    """The same, as it was first mended: everything happens under the mutex."""
    ctx = machine.ctx[1]
    with ctx.mutex:
        ctx.req = allocate(machine)


def cpu_up(machine: Machine, prepare: Callable[[Machine], None]) -> None:
    """kernel/cpu.c:cpu_up, 6.12."""
    with machine.hotplug_lock:
        prepare(machine)
        WRITE_ONCE(machine).is_up = True


def balance_pgdat(machine: Machine) -> None:
    """mm/vmscan.c:balance_pgdat, 6.12: kswapd reclaims."""
    with machine.fs_reclaim:
        zswap_compress(machine)


def program(label: str, prepare: Callable[[Machine], None]) -> Program[Machine]:
    """CPU1 comes while memory is short."""
    return Program(
        f"{NAME}: {label}",
        lambda: Machine(is_up=False),
        {"kswapd": balance_pgdat, "cpuhp": lambda machine: cpu_up(machine, prepare)},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: move allocations during CPU init outside the lock",
    references=("779b9955f64327c339a16f68055af98252fd3315", "12dcb0ef540629a281533f9dedc1b6b8e14cfb65"),
    story=(
        "A CPU's compression context is allocated under its mutex; the allocation may reclaim memory, which compresses"
        " pages, which takes a mutex of the same class."
    ),
    broken={"allocated under the mutex": program("under", prepare_under_lock)},
    fixed={"allocated before the mutex": program("before", prepare_before_lock)},
    finds=frozenset({"lock-order cycle"}),
)
