"""Compression keeps CPUs from going by taking the hotplug lock, inside reclaim, for which the lock's holder waits.

This was the first attempt to mend acomp-ctx-hotunplug. A CPU that comes holds the hotplug lock and allocates memory,
which may mean to reclaim some; reclaim compresses pages, and took the hotplug lock for that. Lockdep reports it, and it
was reverted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from swaplab.explore import Program
from swaplab.kernel.sync import WRITE_ONCE
from swaplab.races.acomp import Machine, Request, raw_cpu_ptr, zswap_compress
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "hotplug-lock-in-reclaim"


def compress_with_cpus_read_lock(machine: Machine) -> None:
    """mm/zswap.c:zswap_compress, for some weeks: no CPU comes or goes meanwhile."""
    with machine.hotplug_lock:
        ctx = raw_cpu_ptr(machine)
        with ctx.mutex:
            cast(Request, ctx.req).dlen = 1


def balance_pgdat(machine: Machine, compress: Callable[[Machine], None]) -> None:
    """mm/vmscan.c:balance_pgdat, 6.12: kswapd reclaims."""
    with machine.fs_reclaim:
        compress(machine)


def allocate(machine: Machine) -> Request:
    """mm/slub.c:__kmalloc_node, 6.12, with GFP_KERNEL: reclaims if it must."""
    with machine.fs_reclaim:
        return Request("CPU1")


def cpu_up(machine: Machine) -> None:
    """kernel/cpu.c:cpu_up, with mm/zswap.c:zswap_cpu_comp_prepare, 6.12."""
    ctx = machine.ctx[1]
    with machine.hotplug_lock:
        req = allocate(machine)
        with ctx.mutex:
            ctx.req = req
        WRITE_ONCE(machine).is_up = True


def program(label: str, compress: Callable[[Machine], None]) -> Program[Machine]:
    """CPU1 comes while kswapd compresses a page."""
    return Program(
        f"{NAME}: {label}",
        lambda: Machine(is_up=False),
        {"kswapd": lambda machine: balance_pgdat(machine, compress), "cpuhp": cpu_up},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="Revert 'mm: zswap: fix race between [de]compression and CPU hotunplug'",
    references=("eaebeb93922ca6ab0dd92027b73d0112701706ef",),
    story=(
        "Reclaim takes the CPU hotplug lock to keep its compression context, while who holds that lock to bring a CPU"
        " up allocates memory, and waits for reclaim."
    ),
    broken={"compression takes the hotplug lock": program("cpus_read_lock", compress_with_cpus_read_lock)},
    fixed={"compression takes its context's mutex only": program("mutex", zswap_compress)},
    finds=frozenset({"deadlock", "lock-order cycle"}),
)
