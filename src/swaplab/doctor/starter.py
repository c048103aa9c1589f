"""A scenario of a machine as its counters show it: its memory, settings and cgroups, and workloads of their sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from swaplab.doctor.facts import Facts, Snapshot
from swaplab.doctor.rules import compression, stored
from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.toml import quoted
from swaplab.scenario.units import format_size
from swaplab.text import shown

__all__ = ["scenario_text"]

GIB: Final = 1 << 30
CGROUPS_MAX: Final = 20
LIMITS: Final = ("memory.max", "memory.high", "memory.swap.max", "memory.zswap.max")
GUESSED_RATIO: Final = 3.0
_MASK: Final = re.compile(r"0x[0-9a-fA-F]{1,8}")  # as lru_gen/enabled has it


def scenario_text(snapshot: Snapshot, source: str) -> str:
    """Return TOML that `swaplab run` takes.

    Raises:
        InputError: it is not known how much memory the machine has, nothing is known that uses it, or a number is none
            that a scenario may have.
    """
    lines = [
        "# Made by `swaplab doctor`. No counter says how the workloads use their pages: set each one's pattern, or",
        "# record it with `swaplab record`.",
        *_machine(snapshot.machine, source),
        *_swap(snapshot),
    ]
    chosen = _chosen(snapshot)
    for path in _with_parents(chosen):
        lines += ["", f"[cgroup.{quoted(path)}]", *_limits(snapshot.cgroups.get(path, Facts()))]
    workloads = {path: _pages(snapshot.cgroups[path]) for path in chosen} or {"": _pages(snapshot.machine)}
    if not any(workloads.values()):
        raise InputError(source, "anonymous memory (anon, AnonPages) or something in swap", "neither")
    for path, pages in workloads.items():
        facts = snapshot.cgroups.get(path, snapshot.machine)
        lines += ["", "[[workload]]", f"name = {quoted(path.rpartition('/')[2] or 'all')}"]
        lines += [f"cgroup = {quoted(path)}", f"pages = {pages}", *_content(facts, snapshot.machine)]
    text = "\n".join(lines) + "\n"
    _check(text, source)
    return text


def _check(text: str, source: str) -> None:
    from swaplab.scenario.load import parse_scenario  # noqa: PLC0415 - as long as all other imports of the doctor

    try:
        parse_scenario(text, "its scenario", Path())
    except InputError as error:
        raise InputError(source, "numbers that a scenario may have", error) from None


def _machine(facts: Facts, source: str) -> Iterator[str]:
    memory = facts.number("MemTotal")
    if not memory:
        raise InputError(source, "MemTotal of /proc/meminfo, for a scenario", "nothing of it")
    yield from ("", "[machine]", f'memory = "{format_size(memory)}"')
    if "page-cluster" in facts:
        yield f"page_cluster = {facts.number('page-cluster')}"
    if "swappiness" in facts:
        yield f"swappiness = {facts.number('swappiness')}"
    if mask := _MASK.fullmatch(facts.word("lru_gen") or ""):
        yield f'lru = "{"mglru" if int(mask[0], 16) & 1 else "classic"}"'
    yield from ("", "[zswap]")
    enabled, shrinker = facts.is_on("enabled"), facts.is_on("shrinker_enabled")
    yield f"enabled = {_toml(enabled if enabled is not None else stored(facts) > 0)}"
    if shrinker is not None:
        yield f"shrinker_enabled = {_toml(shrinker)}"
    for name in ("max_pool_percent", "accept_threshold_percent"):
        if (number := facts.number(name)) is not None:
            yield f"{name} = {number}"
    yield from _compressor(facts)


def _toml(value: bool) -> str:
    return "true" if value else "false"


def _compressor(facts: Facts) -> Iterator[str]:
    name = facts.word("compressor")
    if name in COMPRESSORS:
        yield f'compressor = "{name}"'
    elif name:
        yield f'compressor = "lz4"  # {shown(name)} on the machine, which is not modelled'


def _swap(snapshot: Snapshot) -> Iterator[str]:
    zram = bool(snapshot.areas) and all(area.is_zram for area in snapshot.areas)
    size = sum(area.size for area in snapshot.areas) or snapshot.machine.number("SwapTotal")
    yield from ("", "[swap]", f'size = "{format_size(size or GIB)}"')
    yield f'device = "{"zram" if zram else "ssd"}"' + ("" if zram else "  # or nvme, hdd, or what calibrate measures")


def _chosen(snapshot: Snapshot) -> list[str]:
    """The cgroups that no other is below, with the most anonymous memory."""
    parents = {str(parent) for path in snapshot.cgroups for parent in PurePosixPath(path).parents}
    sizes = {path: _pages(facts) for path, facts in snapshot.cgroups.items() if path and path not in parents}
    return sorted((path for path in sizes if sizes[path]), key=lambda path: (-sizes[path], path))[:CGROUPS_MAX]


def _with_parents(paths: list[str]) -> list[str]:
    parents = (str(parent) for path in paths for parent in PurePosixPath(path).parents)
    return sorted({*paths, *parents} - {"."})


def _limits(facts: Facts) -> Iterator[str]:
    for name in LIMITS:
        if (limit := facts.number(name)) is not None:
            yield f'{name} = "{format_size(limit)}"'
    if facts.is_on("memory.zswap.writeback") is False:
        yield "memory.zswap.writeback = false"


def _pages(facts: Facts) -> int:
    """Anonymous pages, in memory and swapped out."""
    resident = facts.number("anon") or facts.number("AnonPages") or 0
    swapped = facts.number("memory.swap.current") or stored(facts)
    return (resident + max(swapped - (facts.number("swapcached") or 0), 0)) // PAGE_SIZE


def _content(facts: Facts, machine: Facts) -> Iterator[str]:
    ratio = compression(facts) or compression(machine)
    name = machine.word("compressor")
    if ratio is None:
        yield f"content = {{ ratio = {GUESSED_RATIO} }}  # a guess: `swaplab profile` measures it"
    elif name in COMPRESSORS:
        yield f'content = {{ ratio = {{ "{name}" = {ratio:.2f} }} }}'
    else:
        yield f"content = {{ ratio = {ratio:.2f} }}"
