"""Conditions on a scenario beyond the type of each key: checked once, before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import MODELLED
from swaplab.scenario.content import Content
from swaplab.scenario.model import Cgroup, Event, Scenario, Workload
from swaplab.scenario.patterns import Churn, Phases
from swaplab.scenario.tree import LEAF, parent_of

__all__ = ["PAGES_MAX", "some", "validate"]

# What a run holds in memory grows with these: some 50 bytes a page, one chunk of accesses a workload, 400 bytes a row.
PAGES_MAX = 1 << 26
SWAP_MAX = 1 << 40
WORKLOADS_MAX = 1000
CGROUPS_MAX = 10_000
ROWS_MAX = 1_000_000
NEWEST = MODELLED[-1]
RATIOS_MAX = 256  # some 20 ms to find the pages for each


def validate(scenario: Scenario) -> None:
    """Check a scenario as a whole, before anything of its size is made.

    Raises:
        InputError: the first thing that is wrong.
    """
    of_workloads = (_check_workloads, _check_files, _check_interleave)
    checks = (_check_machine, _check_cgroups, *of_workloads, _check_events, _check_proposed)
    for check in checks:
        for place, expected, found in check(scenario):
            raise InputError(f"{scenario.source}: {place}", expected, found)


def some(names: Iterable[str]) -> str:
    """The names for a message: not all where they are many."""
    first = list(islice(names, 11))
    return ", ".join(first[:10] + ["..."] * (len(first) > 10)) or "none"


Problems = Iterator[tuple[str, str, object]]


def _check_machine(scenario: Scenario) -> Problems:
    if scenario.machine.memory < 256 * PAGE_SIZE:
        yield "machine.memory", "at least 1M", scenario.machine.memory
    if scenario.swap.size > SWAP_MAX:
        yield "swap.size", "at most 1T", scenario.swap.size
    if scenario.swap.device == "zram" and scenario.zswap.enabled:
        yield "zswap.enabled", 'false with swap.device = "zram"', True
    if not scenario.workloads:
        yield "workload", "at least one [[workload]]", "none"


def _check_cgroups(scenario: Scenario) -> Problems:
    cgroups = len(scenario.cgroups)
    if cgroups > CGROUPS_MAX:
        yield "cgroup", f"at most {CGROUPS_MAX} cgroups", cgroups
    if scenario.samples * (cgroups + 1) > ROWS_MAX:
        yield "samples", f"at most {ROWS_MAX // (cgroups + 1)} with {cgroups} cgroups", scenario.samples
    root = scenario.cgroups.get("", Cgroup())
    if root != Cgroup(memory_zswap_writeback=root.memory_zswap_writeback):
        yield 'cgroup.""', "memory.zswap.writeback only, since the root has no limits", "limits"
    for path, limits in scenario.cgroups.items():
        if not path:
            continue
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or not path.isprintable():
            yield f'cgroup."{path}"', "a path such as a/b, relative to the root", repr(path)
        if LEAF in parts:
            yield f'cgroup."{path}"', f"no cgroup named {LEAF}, where processes of others live", repr(path)
        parent = parent_of(path)
        if parent and parent not in scenario.cgroups:
            yield f'cgroup."{path}"', f'its parent [cgroup."{parent}"] as well', "none"
        if limits.memory_max is not None and limits.memory_max < PAGE_SIZE:
            yield f'cgroup."{path}".memory.max', "at least one page, 4096 bytes", limits.memory_max


def _check_workloads(scenario: Scenario) -> Problems:
    if len(scenario.workloads) > WORKLOADS_MAX:
        yield "workload", f"at most {WORKLOADS_MAX} workloads", len(scenario.workloads)
    pages = 0
    ratios: set[Content] = set()
    for i, workload in enumerate(scenario.workloads):
        place = f"workload[{i}]"
        if workload.cgroup and workload.cgroup not in scenario.cgroups:
            yield f"{place}.cgroup", f"a cgroup of this scenario ({some(scenario.cgroups)})", workload.cgroup
        if (workload.pages is None) == (workload.trace is None):
            found = "neither" if workload.pages is None else "both"
            yield place, "either pages and a pattern, or a trace", found
        if workload.streams and workload.trace is None:
            yield f"{place}.streams", "a trace that has them", "none"
        if workload.think is not None and workload.trace is not None:
            yield f"{place}.think", "none with a trace, of which `time` says what all of it takes", workload.think
        if workload.time is not None and workload.trace is None:
            yield f"{place}.time", "none with a pattern, of which `think` says what an access takes", workload.time.ns
        if workload.think == 0 or (workload.time and not workload.time.ns):
            yield f"{place}.{'time' if workload.time else 'think'}", "a time above 0", 0
        ratios |= set(workload.content.ratios())
        if len(ratios) > RATIOS_MAX:
            yield f"{place}.content", f"at most {RATIOS_MAX} different ratios in all", len(ratios)
        pages += workload.pages or 0
    if pages > PAGES_MAX:
        yield "workload", f"at most {PAGES_MAX} pages in all", pages


def _check_files(scenario: Scenario) -> Problems:
    for i, workload in enumerate(scenario.workloads):
        check = _check_file if workload.kind == "file" else _check_anonymous
        for key, expected, found in check(workload):
            yield f"workload[{i}].{key}", expected, found
    if scenario.has_file_memory and scenario.swap.device == "zram":
        yield "swap.device", 'a device, which files are on as well, beside a workload of kind = "file"', "zram"


def _check_file(workload: Workload) -> Problems:
    pattern = workload.pattern
    if workload.trace is not None:
        yield "kind", '"anonymous" with a trace', workload.kind
    if workload.write_fraction:
        yield "write_fraction", "0 for a file, which is only read", workload.write_fraction
    if isinstance(pattern, Churn) or (isinstance(pattern, Phases) and pattern.free):
        yield "pattern", "one that frees nothing, for a file", "churn" if isinstance(pattern, Churn) else "free = true"


def _check_anonymous(workload: Workload) -> Problems:
    if workload.advice != "normal":
        yield "advice", 'none without kind = "file"', workload.advice


def _check_interleave(scenario: Scenario) -> Problems:
    if scenario.interleave != "trace":
        return
    traces = {workload.trace or "a workload without" for workload in scenario.workloads}
    if len(traces) > 1 or scenario.workloads[0].trace is None:
        yield "interleave", 'one trace that all workloads share for "trace"', some(sorted(traces))
    for i, workload in enumerate(scenario.workloads):
        if workload.accesses is not None:
            yield f"workload[{i}].accesses", 'all that the trace has with interleave = "trace"', workload.accesses


def _check_proposed(scenario: Scenario) -> Problems:
    if scenario.unreleased and scenario.machine.kernel != NEWEST:
        yield (
            "machine.kernel",
            f"{NEWEST}, over which it was proposed: {', '.join(scenario.unreleased)}",
            (scenario.machine.kernel),
        )


def _has_action(event: Event) -> bool:
    return bool(event.set) or event.reclaim is not None or event.exit or event.remove


def _check_events(scenario: Scenario) -> Problems:
    """Events must name cgroups that are there at that time."""
    there = set(scenario.cgroups) - {""}
    children = Counter(map(parent_of, there))
    for i, event in sorted(enumerate(scenario.events), key=lambda each: each[1].at):
        place = f"event[{i}]"
        if event.cgroup not in there:
            yield f"{place}.cgroup", f"a cgroup that is there at that time ({some(sorted(there))})", repr(event.cgroup)
        if not _has_action(event):
            yield place, "a limit, memory.reclaim, exit or remove", "none"
        limit = event.set.get("memory_max")
        if limit is not None and limit < PAGE_SIZE:
            yield f"{place}.memory.max", "at least one page, 4096 bytes", limit
        if event.remove:
            if children[event.cgroup]:
                below = sorted(path for path in there if path.startswith(event.cgroup + "/"))
                yield f"{place}.remove", "a cgroup without children", some(below)
            there.discard(event.cgroup)
            children[parent_of(event.cgroup)] -= 1
