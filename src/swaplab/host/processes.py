"""The processes of this machine, and the choice of some of them by id, by cgroup or all."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from swaplab.errors import InputError

__all__ = ["PROC", "Process", "in_cgroup", "list_processes", "with_pids"]

PROC = Path("/proc")
CGROUP_MOUNT = PurePosixPath("/sys/fs/cgroup")


class Process(NamedTuple):
    """A process, with the properties that any user may see.

    Attributes:
        pid: its id.
        parent: id of its parent; 0 if that is outside of this PID namespace.
        name: as ``ps`` shows it, up to 15 bytes.
        cgroup: path below the root of the hierarchy that accounts its memory.
        has_memory: False for kernel threads and for zombies.
    """

    pid: int
    parent: int
    name: str
    cgroup: str
    has_memory: bool


def list_processes(proc: Path = PROC) -> list[Process]:
    """Every process that is visible, this one left out, in order of id.

    Raises:
        OSError: there is no /proc.
    """
    pids = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    found = (_read_process(pid, proc) for pid in pids if pid != os.getpid())
    return [process for process in found if process]


def _read_process(pid: int, proc: Path) -> Process | None:
    """Read one process, or None if it is gone."""
    try:
        status = _fields(os.fsdecode((proc / str(pid) / "status").read_bytes()))
        cgroup = os.fsdecode((proc / str(pid) / "cgroup").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None
    parent = int(status.get("PPid", "0"))
    return Process(pid, parent, status.get("Name", ""), _cgroup_of(cgroup), "VmSize" in status)


def _fields(status: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in status.split("\n"))  # a name may have what else ends lines
    return {key: value.strip() for key, _, value in pairs}


def _cgroup_of(lines: str) -> str:
    """Path in the hierarchy with the memory controller: cgroup v1's where it has it, else v2's."""
    unified = "/"
    for line in lines.split("\n"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return path
        if hierarchy == "0":
            unified = path
    return unified


def with_pids(processes: list[Process], pids: Collection[int], *, children: bool) -> list[Process]:
    """Choose processes by id, with all their descendants if `children`.

    Raises:
        InputError: there is no process with one of the ids.
    """
    missing = set(pids) - {process.pid for process in processes}
    if missing:
        raise InputError(f"--pid {min(missing)}", "the id of another running process", "none")
    wanted = set(pids)
    size = 0
    # A parent may have a larger id than its child, so one pass is not enough.
    while children and len(wanted) > size:
        size = len(wanted)
        wanted |= {process.pid for process in processes if process.parent in wanted}
    return [process for process in processes if process.pid in wanted]


def in_cgroup(processes: list[Process], cgroup: str) -> list[Process]:
    """Choose the processes in a cgroup or below it.

    Args:
        processes: to choose from.
        cgroup: ``/app.slice`` as in /proc/PID/cgroup, or ``/sys/fs/cgroup/app.slice``.

    Raises:
        InputError: no process is there.
    """
    path = PurePosixPath("/") / cgroup
    if path.is_relative_to(CGROUP_MOUNT):
        path = "/" / path.relative_to(CGROUP_MOUNT)
    chosen = [process for process in processes if PurePosixPath(process.cgroup).is_relative_to(path)]
    if not chosen:
        raise InputError(f"--cgroup {cgroup}", "a cgroup with processes in it", "none")
    return chosen
