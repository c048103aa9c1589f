"""The guest's files as the columns of a `Result`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from swaplab.linux.page import PAGE_SIZE
from swaplab.result import SCHEMA
from swaplab.result.counters import BY_NAME, EVENTS
from swaplab.vm.guest import LostGuestError, Report
from swaplab.vm.script import Watched

__all__ = ["Reading", "parse", "table"]

Counters = dict[str, int]
LARGEST = (1 << 62) - 1  # so that differences are numbers of 64 bits as well
RELATIVE = BY_NAME.keys() - {"free"}
"""Counters of the root that count from the start."""


class Reading(NamedTuple):
    """One sample of all cgroups.

    Attributes:
        access: accesses made so far.
        ns: nanoseconds on the guest's clock since it was settled.
        counters: of each cgroup that is there, by the names of `SCHEMA`.
    """

    access: int
    ns: int
    counters: dict[str, Counters]


def parse(report: Report, watched: Sequence[Watched], removed: Iterable[str] = ()) -> Reading:
    """Return what a ``sample`` report says.

    Args:
        removed: cgroups that are not there any more.

    Raises:
        LostGuestError: files are missing, or have no numbers.
    """
    texts = report["files"]
    if len(texts) != len(watched):
        raise LostGuestError(f"it sampled {len(texts)} files, not {len(watched)}")
    files: dict[str, dict[str, Counters]] = {}
    gone = set(removed)
    for each, text in zip(watched, texts, strict=True):
        of_cgroup = files.setdefault(each.cgroup, {})
        if text is not None:
            of_cgroup[each.name] = _numbers(each, text)
        elif each.name == "memory.stat" and each.cgroup not in gone:
            raise LostGuestError(f"it has no {each.path} any more")
    counters = {cgroup: _counters(cgroup, found) for cgroup, found in files.items() if "memory.stat" in found}
    numbers = [report["ns"], *(value for found in counters.values() for value in found.values())]
    if max(numbers) > LARGEST or min(numbers) < -LARGEST:
        raise LostGuestError("it counted beyond 64 bits")
    return Reading(int(report["sample"]), int(report["ns"]), counters)


def _numbers(file: Watched, text: str) -> Counters:
    """Numbers by their keys; of a file that is one number, by the file's name."""
    if file.name == "zoneinfo":
        return {"free on processors": sum(map(int, re.findall(r"^ +count: +(\d+)$", text, re.MULTILINE)))}
    lines = [line.split() for line in text.splitlines()]
    try:
        if [len(line) for line in lines] == [1]:
            return {file.name: int(lines[0][0])}
        return {line[0].rstrip(":"): int(line[1]) for line in lines}
    except (ValueError, IndexError):
        raise LostGuestError(f"its {file.path} has {text[:100]!r}") from None


def _counters(cgroup: str, files: dict[str, Counters]) -> Counters:
    """Counters by the names of `SCHEMA`, those that the kernel has."""
    named = dict(files["memory.stat"])
    for file in ("memory.events", "memory.swap.events"):
        named |= {f"{file}.{key}": value for key, value in files.get(file, {}).items()}
    for file in BY_NAME:  # those that are a file of their own
        named |= files.get(file, {})
    if not cgroup:
        vmstat, meminfo = files["vmstat"], files["meminfo"]
        # Its processes' own memory is locked, so that the workloads' is the rest.
        named["anon"] -= named["unevictable"]
        named |= {key: vmstat[key] for key in ("pswpin", "pswpout") if key in vmstat}
        named["memory.events.oom_kill"] = vmstat["oom_kill"]
        named["memory.swap.current"] = (meminfo["SwapTotal"] - meminfo["SwapFree"]) * 1024
        named["free"] = meminfo["MemFree"] * 1024 + files["zoneinfo"]["free on processors"] * PAGE_SIZE
    return {name: named[name] for name in SCHEMA.names if name in named}


def table(start: Reading, readings: Sequence[Reading], order: Sequence[str]) -> pa.Table:
    """Return the samples of a `Result`: the counts since `start`, by cgroup in `order`.

    The root's levels are counted from `start` as well, since they have the runner's memory in them. Times, and what
    the kernel does not count for a cgroup, are null; so is all of a cgroup that was removed.

    Raises:
        LostGuestError: a counter has gone back.
    """
    rows = []
    before = start
    for reading in readings:
        _check_forward(before, reading)
        rows += [_row(start, reading, cgroup) for cgroup in order]
        before = reading
    return pa.Table.from_pylist(rows, SCHEMA)


def _row(start: Reading, reading: Reading, cgroup: str) -> dict[str, Any]:
    relative = EVENTS if cgroup else RELATIVE
    first = start.counters.get(cgroup, {})
    found = reading.counters.get(cgroup, {})
    values = {name: value - first.get(name, 0) if name in relative else value for name, value in found.items()}
    return {"access": reading.access, "time_ns": reading.ns, "cgroup": cgroup} | values


def _check_forward(before: Reading, after: Reading) -> None:
    for cgroup, counters in after.counters.items():
        for name in EVENTS:
            if counters.get(name, 0) < before.counters.get(cgroup, {}).get(name, 0):
                raise LostGuestError(f"its {name} of {cgroup or 'the root'} went back, before access {after.access}")
