"""What a scenario must satisfy beyond the type of each key: checked once, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from swaplab.errors import InputError
from swaplab.scenario.model import PAGE_SIZE, Event, Scenario

__all__ = ["validate"]

PAGES_MAX = 1 << 30
CGROUPS_MAX = 10_000


def validate(scenario: Scenario, where: str = "scenario") -> None:
    """Check a scenario as a whole.

    Raises:
        InputError: the first thing that is wrong; `where` begins its place.
    """
    for check in (_check_machine, _check_cgroups, _check_workloads, _check_interleave, _check_events):
        for place, expected, found in check(scenario):
            raise InputError(f"{where}: {place}", expected, found)


Problems = Iterator[tuple[str, str, object]]


def _check_machine(scenario: Scenario) -> Problems:
    if scenario.machine.memory < 256 * PAGE_SIZE:
        yield "machine.memory", "at least 1M", scenario.machine.memory
    if scenario.swap.device == "zram" and scenario.zswap.enabled:
        yield "zswap.enabled", 'false with swap.device = "zram"', True
    if not scenario.workloads:
        yield "workload", "at least one [[workload]]", "none"


def _check_cgroups(scenario: Scenario) -> Problems:
    if len(scenario.cgroups) > CGROUPS_MAX:
        yield "cgroup", f"at most {CGROUPS_MAX} cgroups", len(scenario.cgroups)
    for path, limits in scenario.cgroups.items():
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            yield f'cgroup."{path}"', "a path such as a/b, relative to the root", repr(path)
        parent = "/".join(parts[:-1])
        if parent and parent not in scenario.cgroups:
            yield f'cgroup."{path}"', f'its parent [cgroup."{parent}"] as well', "none"
        if limits.memory_max is not None and limits.memory_max < PAGE_SIZE:
            yield f'cgroup."{path}".memory.max', "at least one page, 4096 bytes", limits.memory_max


def _check_workloads(scenario: Scenario) -> Problems:
    pages = 0
    for i, workload in enumerate(scenario.workloads):
        place = f"workload[{i}]"
        if workload.cgroup and workload.cgroup not in scenario.cgroups:
            known = ", ".join(scenario.cgroups) or "none"
            yield f"{place}.cgroup", f"a cgroup of this scenario ({known})", workload.cgroup
        if (workload.pages is None) == (workload.trace is None):
            found = "neither" if workload.pages is None else "both"
            yield place, "either pages and a pattern, or a trace", found
        if workload.streams and workload.trace is None:
            yield f"{place}.streams", "a trace that has them", "none"
        pages += workload.pages or 0
    if pages > PAGES_MAX:
        yield "workload", f"at most {PAGES_MAX} pages in all", pages


def _check_interleave(scenario: Scenario) -> Problems:
    traces = {workload.trace for workload in scenario.workloads}
    if scenario.interleave == "trace" and (None in traces or len(traces) > 1):
        yield "interleave", 'one trace that all workloads share for "trace"', sorted(map(str, traces))


def _has_action(event: Event) -> bool:
    return bool(event.set) or event.reclaim is not None or event.exit or event.remove


def _check_events(scenario: Scenario) -> Problems:
    """Events must name cgroups that are there at that time."""
    there = set(scenario.cgroups)
    for i, event in sorted(enumerate(scenario.events), key=lambda each: each[1].at):
        place = f"event[{i}]"
        if event.cgroup not in there:
            yield f"{place}.cgroup", "a cgroup that is there at that time", event.cgroup
        if not _has_action(event):
            yield place, "a limit, memory.reclaim, exit or remove", "none"
        if event.set.get("memory_max", None) == 0:
            yield f"{place}.memory.max", "at least one page, 4096 bytes", 0
        if event.remove:
            children = [path for path in there if path.startswith(event.cgroup + "/")]
            if children:
                yield f"{place}.remove", "a cgroup without children", ", ".join(sorted(children))
            there.discard(event.cgroup)
