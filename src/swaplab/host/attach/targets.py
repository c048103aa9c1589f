"""What to attach to: a process, a cgroup or a service, asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from swaplab.errors import InputError
from swaplab.host.processes import PROC, Process, in_cgroup, list_processes, with_pids
from swaplab.scenario.validate import some

__all__ = ["Target", "of_cgroup", "of_pid", "of_unit"]


class Target(NamedTuple):
    """Processes that may change.

    Attributes:
        name: for people.
        choose: returns those that there are; none once they have ended.
    """

    name: str
    choose: Callable[[], Sequence[Process]]


def of_pid(pid: int, proc: Path = PROC) -> Target:
    """One process.

    Raises:
        InputError: there is none, or it has no memory.
    """
    (process,) = with_pids(list_processes(proc), [pid], children=False)
    if not process.has_memory:
        raise InputError(f"--pid {pid}", "a process with memory", f"a kernel thread or a zombie, {process.name}")
    return Target(process.name, lambda: [each for each in list_processes(proc) if each.pid == pid])


def of_cgroup(cgroup: str, proc: Path = PROC) -> Target:
    """The processes in a cgroup and below it.

    Raises:
        InputError: there are none.
    """
    in_cgroup(list_processes(proc), cgroup)

    def choose() -> list[Process]:
        try:
            return in_cgroup(list_processes(proc), cgroup)
        except InputError:  # none is left
            return []

    return Target(PurePosixPath(cgroup).name or "machine", choose)


def of_unit(unit: str, proc: Path = PROC) -> Target:
    """The processes of a unit of systemd: those in the cgroup of its name.

    Raises:
        InputError: none is in a cgroup of the name, or several cgroups have it.
    """
    name = unit if "." in unit else f"{unit}.service"
    paths = {found for each in list_processes(proc) if (found := _upto(each.cgroup, name))}
    if len(paths) != 1:
        found = f"{len(paths)}: {some(sorted(paths))}" if paths else "none"
        raise InputError(f"--unit {unit}", f"one cgroup {name} with processes in it", found)
    return of_cgroup(paths.pop(), proc)


def _upto(cgroup: str, name: str) -> str:
    """Return the part of a path that ends with a name, or nothing."""
    parts = PurePosixPath(cgroup).parts
    return str(PurePosixPath(*parts[: parts.index(name) + 1])) if name in parts else ""
