"""What of a service's memory is not used within a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from swaplab.errors import InputError
from swaplab.host.attach.watch import POLL, Kernel
from swaplab.host.processes import Process

__all__ = ["Idle", "find_idle"]


class Idle(NamedTuple):
    """A cgroup.

    Attributes:
        cgroup: its path.
        seconds: how long was waited.
        resident: pages of memory that can be swapped; one that k processes map counts 1/k in each.
        idle: of these, not used in that time.
    """

    cgroup: str
    seconds: float
    resident: float
    idle: float


def find_idle(
    processes: Sequence[Process],
    seconds: float,
    kernel: Kernel,
    told: Callable[[float], None] = lambda seconds: None,
) -> list[Idle]:
    """Clear, wait and look; by cgroup. A signal ends the wait.

    What may not be looked at, ends meanwhile or executes another program is left out.

    Raises:
        InputError: nothing may be looked at.
    """
    began = kernel.now()
    cleared = {}
    for process in processes:
        with suppress(OSError):
            kernel.clear(process.pid)
            cleared[process] = kernel.identity(process.pid).program
    if not cleared:
        raise InputError("--cold", "a process that this user may look at: its own, or any as root", "none")
    while kernel.now() < began + seconds and not kernel.wait(min(kernel.now() + POLL, began + seconds)):
        told(kernel.now() - began)
    found: dict[str, Idle] = {}
    for process, program in cleared.items():
        with suppress(OSError):
            look = kernel.look(process.pid)
            if kernel.identity(process.pid).program != program:
                continue
            before = found.get(process.cgroup, Idle(process.cgroup, 0.0, 0.0, 0.0))
            idle = max(0.0, look.resident - look.referenced)
            passed = kernel.now() - began
            found[process.cgroup] = Idle(process.cgroup, passed, before.resident + look.resident, before.idle + idle)
    return list(found.values())
