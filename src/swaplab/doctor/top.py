"""Every cgroup's use of zswap at the moment: the pages that it holds, and those that come and go a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from errno import ENODEV
from pathlib import Path
from typing import Final, NamedTuple

from swaplab.doctor.machine import CGROUPS
from swaplab.linux.page import PAGE_SIZE

__all__ = ["MACHINE", "Row", "Usage", "read_usages", "rows"]

MACHINE: Final = "machine"
_MEMINFO: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_COUNTERS: Final = re.compile(r"^(\w+) (\d+)$", re.MULTILINE)
_PRESSURE: Final = re.compile(r"^some avg10=([\d.]+)", re.MULTILINE)


class Usage(NamedTuple):
    """Of a cgroup with all below it, or of the machine. What the kernel does not tell is None.

    Attributes:
        resident: bytes of anonymous memory.
        compressed: bytes of the pages in zswap.
        takes: bytes that they take there.
        loads, stores, writebacks: pages that came from zswap, went there, and went from there to the device, so far.
        refaults: anonymous pages that came back, so far.
        pressure: percent of the last ten seconds in which some task waited for memory.
    """

    resident: int | None
    compressed: int | None
    takes: int | None
    loads: int | None
    stores: int | None
    writebacks: int | None
    refaults: int | None
    pressure: float | None


UNKNOWN: Final = Usage(None, None, None, None, None, None, None, None)


class Row(NamedTuple):
    """A row of `rows`, for one cgroup: bytes, and pages a second."""

    cgroup: str
    resident: int | None
    compressed: int | None
    takes: int | None
    ratio: float | None
    loads: float | None
    stores: float | None
    writebacks: float | None
    refaults: float | None
    pressure: float | None


def read_usages(root: Path = Path("/")) -> tuple[dict[str, Usage], list[str]]:
    """Read the machine's counters and every cgroup's, as far as this user may.

    Args:
        root: where ``proc`` and ``sys`` are.

    Returns:
        Usages by cgroup, `MACHINE` first, and what could not be read and why.
    """
    unread: list[str] = []
    found = {MACHINE: _of_machine(root, unread)}
    top = root / CGROUPS
    for stat in sorted(top.rglob("memory.stat")) if (top / "cgroup.controllers").exists() else ():
        if stat.parent != top and (text := _text(stat, root, unread)):
            counted = {name: int(value) for name, value in _COUNTERS.findall(text)}
            pressure = _pressure(_text(stat.with_name("memory.pressure"), root, unread))
            found[str(stat.parent.relative_to(top))] = _usage(counted, counted, pressure)
    if len(found) == 1:
        unread.append(f"/{CGROUPS}: no cgroup of version 2 that has the memory controller")
    return found, unread


def _of_machine(root: Path, unread: list[str]) -> Usage:
    sizes = {name: int(kib) << 10 for name, kib in _MEMINFO.findall(_text(root / "proc/meminfo", root, unread))}
    levels = {"anon": sizes.get("AnonPages"), "zswapped": sizes.get("Zswapped"), "zswap": sizes.get("Zswap")}
    counted = {name: int(value) for name, value in _COUNTERS.findall(_text(root / "proc/vmstat", root, unread))}
    return _usage(levels, counted, _pressure(_text(root / "proc/pressure/memory", root, unread)))


def _usage(levels: Mapping[str, int | None], counted: Mapping[str, int], pressure: float | None) -> Usage:
    return Usage(
        levels.get("anon"),
        levels.get("zswapped"),
        levels.get("zswap"),
        counted.get("zswpin"),
        counted.get("zswpout"),
        counted.get("zswpwb"),
        counted.get("workingset_refault_anon"),
        pressure,
    )


def _text(path: Path, root: Path, unread: list[str]) -> str:
    """A file's text; empty where there is none, as of a cgroup that is gone by now, or where it may not be read."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        # A cgroup that is removed while it is read (cgroup_file_open, kernfs) is gone, too.
        if error.errno != ENODEV:
            unread.append(f"/{path.relative_to(root)}: {error.strerror}")
        return ""


def _pressure(text: str) -> float | None:
    found = _PRESSURE.search(text)
    return float(found[1]) if found else None


def rows(before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float) -> list[Row]:
    """Return a row for each cgroup that is there, given what there was `seconds` before; rates of new ones are None."""
    return [_row(cgroup, before.get(cgroup), usage, seconds) for cgroup, usage in after.items()]


def _row(cgroup: str, before: Usage | None, now: Usage, seconds: float) -> Row:
    def rate(late: int | None, early: int | None) -> float | None:
        # A cgroup that was removed and made again counts from 0.
        return None if late is None or early is None or late < early else (late - early) / seconds

    earlier = before or UNKNOWN
    return Row(
        cgroup,
        now.resident,
        now.compressed,
        now.takes,
        now.compressed / now.takes if now.compressed and now.takes and now.takes >= PAGE_SIZE else None,
        rate(now.loads, earlier.loads),
        rate(now.stores, earlier.stores),
        rate(now.writebacks, earlier.writebacks),
        rate(now.refaults, earlier.refaults),
        now.pressure,
    )
