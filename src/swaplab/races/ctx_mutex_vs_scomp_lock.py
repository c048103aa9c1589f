"""A compression context is freed under its mutex, by a function that waits for a task that waits for that mutex.

Whoever makes a compressor holds crypto's scomp_lock and allocates; that may reclaim memory, which compresses pages and
takes the mutex of a context. Whoever frees the context of a CPU that goes held the mutex, and needs scomp_lock to free
what is in it.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import WRITE_ONCE, kfree
from swaplab.races.acomp import Machine, Request, zswap_compress
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "ctx-mutex-vs-scomp-lock"


def crypto_scomp_init_tfm(machine: Machine) -> None:
    """crypto/scompress.c:crypto_scomp_init_tfm, 6.12; its allocation reclaims memory by itself."""
    with machine.scomp_lock:
        zswap_compress(machine)


def crypto_free_acomp(machine: Machine, req: Request) -> None:
    """crypto/scompress.c:crypto_exit_scomp_ops_async, 6.12."""
    with machine.scomp_lock:
        kfree(req)


def dead_freeing_later(machine: Machine) -> None:
    """mm/zswap.c:zswap_cpu_comp_dead, 6.12."""
    ctx = machine.ctx[1]
    with ctx.mutex:
        req, ctx.req = ctx.req, None
    if req:
        crypto_free_acomp(machine, req)


def dead_freeing_under_lock(machine: Machine) -> None:
    """The same, as it was first mended."""
    ctx = machine.ctx[1]
    with ctx.mutex:
        req, ctx.req = ctx.req, None
        if req:
            crypto_free_acomp(machine, req)


def cpu_down(machine: Machine, dead: Callable[[Machine], None]) -> None:
    """kernel/cpu.c:cpu_down, 6.12."""
    WRITE_ONCE(machine).is_up = False
    dead(machine)


def program(label: str, dead: Callable[[Machine], None]) -> Program[Machine]:
    """CPU1 goes while a compressor is made."""
    return Program(
        f"{NAME}: {label}",
        Machine,
        {"crypto": crypto_scomp_init_tfm, "cpuhp": lambda machine: cpu_down(machine, dead)},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix crypto_free_acomp() deadlock in zswap_cpu_comp_dead()",
    references=("c11bcbc0a517acf69282c8225059b2a8ac5fe628", "12dcb0ef540629a281533f9dedc1b6b8e14cfb65"),
    story=(
        "A CPU that goes frees its compressor under the context's mutex and waits for crypto's lock, whose holder"
        " reclaims memory and waits for the mutex."
    ),
    broken={"freed under the mutex": program("under", dead_freeing_under_lock)},
    fixed={"freed after the mutex": program("after", dead_freeing_later)},
    finds=frozenset({"deadlock", "lock-order cycle"}),
)
