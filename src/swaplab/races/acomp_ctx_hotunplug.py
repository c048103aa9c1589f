"""A CPU goes, and its compression context with it, while a task that was there before still uses it.

A task takes the context of the CPU it is on and may run on another one from then on. When the first CPU goes, nothing
keeps the context's request and buffer. The context's mutex does, if they are freed under it and if whoever locks it
looks whether there is still a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from swaplab.explore import Program
from swaplab.kernel.sync import WRITE_ONCE, kfree
from swaplab.races.acomp import Machine, Request, raw_cpu_ptr, zswap_compress, zswap_cpu_comp_dead
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "acomp-ctx-hotunplug"


def compress_unchecked(machine: Machine) -> None:
    """mm/zswap.c:zswap_compress, 6.11: the request is there, as always."""
    ctx = raw_cpu_ptr(machine)
    with ctx.mutex:
        cast(Request, ctx.req).dlen = 1


def dead_unlocked(machine: Machine) -> None:
    """mm/zswap.c:zswap_cpu_comp_dead, 6.11: no task is on that CPU any more."""
    WRITE_ONCE(machine).is_up = False
    kfree(cast(Request, machine.ctx[1].req))


def program(label: str, compress: Callable[[Machine], None], dead: Callable[[Machine], None]) -> Program[Machine]:
    """A page is compressed while CPU1 goes."""
    return Program(f"{NAME}: {label}", Machine, {"store": compress, "cpuhp": dead})


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: properly synchronize freeing resources during CPU hotunplug",
    references=("12dcb0ef540629a281533f9dedc1b6b8e14cfb65", "CVE-2025-21693", "1ec3b5fe6eec"),
    story=(
        "A task has the compression context of a CPU that goes offline while the task runs on another one by now: the"
        " context's request and buffer are freed under it."
    ),
    broken={
        "freed without the mutex": program("freed unlocked", compress_unchecked, dead_unlocked),
        "freed without the mutex, though looked for": program("looked for", zswap_compress, dead_unlocked),
        "freed under the mutex, but not looked for": program("not looked for", compress_unchecked, zswap_cpu_comp_dead),
    },
    fixed={"freed under the mutex and looked for": program("synchronized", zswap_compress, zswap_cpu_comp_dead)},
    finds=frozenset({"use after free", "null dereference"}),
)
