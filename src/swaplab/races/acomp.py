"""What zswap compresses with, per CPU, as far as races with CPU hotplug need it."""

from __future__ import annotations

from typing import Final, cast

from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Mutex, Shared, kfree

__all__ = [
    "AcompCtx",
    "Machine",
    "Request",
    "acomp_ctx_get_cpu_lock",
    "raw_cpu_ptr",
    "zswap_compress",
    "zswap_cpu_comp_dead",
]


class Request(Shared):
    """struct acomp_req, and what else is allocated with it."""

    name: Final[str]
    dlen: int

    def __init__(self, cpu: str) -> None:
        self.name = f"{cpu}.req"
        self.dlen = 0


class AcompCtx(Shared):
    """struct crypto_acomp_ctx of one CPU; there is no request while the CPU is down."""

    name: Final[str]
    req: Request | None

    def __init__(self, cpu: str, is_up: bool) -> None:
        self.name = f"{cpu}.acomp_ctx"
        self.mutex = Mutex(self, "mutex")
        self.req = Request(cpu) if is_up else None


class Machine(Shared):
    """Two CPUs, of which CPU1 comes and goes.

    Attributes:
        is_up: whether CPU1 is online.
        hotplug_lock: cpu_hotplug_lock. Differs: readers exclude each other.
        scomp_lock: of crypto/scompress.c.
        fs_reclaim: what lockdep takes reclaim for: held in it, and taken by every allocation that may enter it.
    """

    is_up: bool

    def __init__(self, is_up: bool = True) -> None:
        self.is_up = is_up
        self.ctx = (AcompCtx("CPU0", True), AcompCtx("CPU1", is_up))
        self.hotplug_lock = Mutex(None, "cpu_hotplug_lock")
        self.scomp_lock = Mutex(None, "scomp_lock")
        self.fs_reclaim = Mutex(None, "fs_reclaim")


def raw_cpu_ptr(machine: Machine) -> AcompCtx:
    """Return the context of the CPU that the task is on: CPU1 as long as that is there, and CPU0 from then on."""
    return machine.ctx[READ_ONCE(machine).is_up]


def acomp_ctx_get_cpu_lock(machine: Machine) -> AcompCtx:
    """mm/zswap.c:acomp_ctx_get_cpu_lock, 6.12: a locked context that has a request."""
    while True:
        ctx = raw_cpu_ptr(machine)
        ctx.mutex.acquire()
        if ctx.req:
            return ctx
        ctx.mutex.release()


def zswap_compress(machine: Machine) -> None:
    """mm/zswap.c:zswap_compress, 6.12."""
    ctx = acomp_ctx_get_cpu_lock(machine)
    cast(Request, ctx.req).dlen = 1
    ctx.mutex.release()


def zswap_cpu_comp_dead(machine: Machine) -> None:
    """mm/zswap.c:zswap_cpu_comp_dead, 6.12: CPU1 goes; take its request under the mutex, and free it later."""
    WRITE_ONCE(machine).is_up = False
    ctx = machine.ctx[1]
    with ctx.mutex:
        req, ctx.req = ctx.req, None
    if req:
        kfree(req)
