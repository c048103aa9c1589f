"""The answer of ``swaplab run`` as tables and sentences for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from swaplab.scenario.model import BASELINES, Scenario
from swaplab.scenario.result import Result, Row
from swaplab.scenario.units import format_size, round_size

__all__ = ["comparison", "comparison_table", "duration", "fault_table", "heading", "killed", "memory_table"]

OWN = "as it is"
NOTHING = "-"


def duration(nanoseconds: float) -> str:
    """A time for a reader, to three digits or so: ``1.25 s``, ``830 ms``."""
    for unit, size in (("h", 3600e9), ("min", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def heading(scenario: Scenario, result: Result) -> str:
    """One paragraph: what ran on what."""
    zswap, swap = scenario.zswap, scenario.swap
    if swap.device == "zram":
        kind = f"zram with {zswap.compressor}"
    elif zswap.enabled:
        shrinker = "on" if zswap.shrinker_enabled else "off"
        lru = ", one LRU for all" if zswap.lru == "global" else ""
        kind = f"zswap with {zswap.compressor}, pool up to {zswap.max_pool_percent}%, shrinker {shrinker}{lru}"
    else:
        kind = "no zswap"
    return (
        f"{scenario.name or 'scenario'}: {result.info.accesses:,} accesses on {format_size(scenario.machine.memory)} "
        f"of memory, {kind}, {format_size(swap.size)} of swap. Replayed by a model of Linux 6.12, not measured on one."
    )


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True, title_justify="left")
    table.add_column(headings[0], overflow="fold", min_width=len(headings[0]))
    for each in headings[1:]:
        table.add_column(each, justify="right", no_wrap=True)
    return table


def _count(value: int) -> str:
    return f"{value:,}" if value else NOTHING


def _size(value: int) -> str:
    return round_size(value) if value else NOTHING


def _time(value: int) -> str:
    return duration(value) if value else NOTHING


def _cgroup_rows(table: Table, result: Result, cells: Callable[[str, Row], Iterable[str]]) -> Table:
    """Add a row for each cgroup, and the machine's apart."""
    for path in result.cgroups[1:]:
        table.add_row(escape(path), *cells(path, result.final(path)))
    table.add_section()
    table.add_row("machine", *cells("", result.final()))
    return table


def memory_table(result: Result, scenario: Scenario) -> Table:
    """One row for each cgroup: where its memory is at the end."""

    def cells(path: str, row: Row) -> Iterable[str]:
        limit = scenario.cgroups[path].memory_max if path else None
        yield NOTHING if limit is None else format_size(limit)
        yield _size(row["anon"])
        yield _size(row.compressed_pages)
        yield _size(row.compressed_bytes)
        yield _size(row.compressed_pages - row.compressed_bytes)

    headings = ["cgroup", "memory.max", "resident", "compressed", "to", "saved"]
    return _cgroup_rows(_table("Memory at the end", headings), result, cells)


def fault_table(result: Result) -> Table:
    """One row for each cgroup: what its faults cost along the way."""

    def cells(_path: str, row: Row) -> Iterable[str]:
        yield _count(row.compressed_faults)
        yield _count(row.disk_reads)
        yield _count(row["zswpwb"])
        yield _count(row.disk_writes)
        yield _time(row.time_lost)

    headings = ["cgroup", "memory faults", "disk faults", "written back", "disk writes", "time lost"]
    return _cgroup_rows(
        _table("Pages along the way: faults served by compressed memory and by disk", headings), result, cells
    )


def comparison_table(results: Sequence[Result]) -> Table:
    """One row for each configuration: the machine's totals; no time where a workload was killed and so did less."""
    headings = ["baseline", "compressed", "to", "memory faults", "disk faults", "writes", "time lost"]
    table = _table("The same accesses under other configurations", headings)
    for result in results:
        row = result.final()
        table.add_row(
            result.info.configuration or OWN,
            _size(row.compressed_pages),
            _size(row.compressed_bytes),
            _count(row.compressed_faults),
            _count(row.disk_reads),
            _count(row.disk_writes),
            "killed" if row["memory.events.oom_kill"] else _time(row.time_lost),
        )
    return table


def killed(result: Result) -> str:
    """A sentence on workloads that were killed, empty if none was."""
    kills = {path: result.final(path)["memory.events.oom_kill"] for path in result.cgroups if path}
    names = ", ".join(f"{kills[path]} in {path}" for path in kills if kills[path])
    total = result.final()["memory.events.oom_kill"]
    return f"Out of memory: {total} of the workloads killed ({names or 'in the root'})." if total else ""


def _lost(result: Result, cgroup: str = "") -> int:
    return result.final(cgroup).time_lost


def _meaning(result: Result) -> str:
    return next(meaning for name, meaning in BASELINES.items() if name == result.info.configuration)


def _ratio(larger: float, smaller: float) -> str:
    return f"{larger / smaller:.1f} times" if smaller else "any time"


def _cgroup_sentences(best: Result, off: Result) -> Iterable[str]:
    for path in best.cgroups:
        if path and best.final(path)["pgfault"]:
            yield f"{path} loses {duration(_lost(best, path))} instead of {duration(_lost(off, path))}"


def comparison(results: Sequence[Result]) -> str:
    """What a comparison says, in plain sentences. Configurations that killed a workload do not compete."""
    alive = [result for result in results if not result.final()["memory.events.oom_kill"]]
    dead = [result.info.configuration for result in results if result not in alive]
    sentences = [f"Out of the comparison, since a workload was killed: {', '.join(dead)}."] if dead else []
    by_name = {result.info.configuration: result for result in alive}
    named = [by_name[name] for name in BASELINES if name in by_name]
    if len(named) < 2:
        return " ".join(sentences)
    best, worst = min(named, key=_lost), max(named, key=_lost)
    if _lost(best) == _lost(worst):
        return " ".join([*sentences, "All configurations lose the same time: memory suffices."])
    sentences.append(
        f"{best.info.configuration} ({_meaning(best)}) loses least, {duration(_lost(best))}; "
        f"{worst.info.configuration} loses most, {duration(_lost(worst))}, {_ratio(_lost(worst), _lost(best))} as much."
    )
    off = by_name.get("off")
    if off is not None and off is not best:
        sentences.append(f"Against no zswap: {'; '.join(_cgroup_sentences(best, off))}.")
    return " ".join(sentences)
