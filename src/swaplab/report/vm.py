"""The answer of a real kernel as tables for people, beside the replay's where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median_low

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from swaplab.report.run import duration
from swaplab.scenario.model import Scenario
from swaplab.scenario.result import EVENTS, LEVELS, MACHINE, TIMES, Result
from swaplab.scenario.units import format_size, round_size
from swaplab.vm import KernelRun

__all__ = ["counter_tables", "curves", "kernel_heading"]

COUNTERS = tuple(name for name in (*EVENTS, *LEVELS, *MACHINE) if name not in TIMES)
CURVES = ("zswpin", "zswpout", "zswpwb", "pswpin", "pswpout", "pgscan", "zswap", "anon", "memory.current")
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
NOTHING = "-"


def kernel_heading(scenario: Scenario, runs: Sequence[KernelRun], replayed: Result | None) -> str:
    """One paragraph: what ran on which kernel, and how that machine differs from what the scenario says."""
    result, guest = runs[0].result, runs[0].guest
    how = "virtualized" if guest.accelerator == "kvm" else "emulated"
    times = f", {len(runs)} times" if len(runs) > 1 else ""
    limit = f" The pool's limit was {round_size(guest.zswap_limit)}." if guest.zswap_limit else ""
    pace = f" The replay has the costs of {replayed.info.cost}." if replayed else ""
    release = "Linux " + guest.kernel.split()[2]
    return (
        f"{scenario.name or 'scenario'}: {result.info.accesses:,} accesses on {format_size(scenario.machine.memory)} "
        f"of memory, measured on {release}, {how}{times}, in {duration(guest.seconds * 1e9)}.{limit}{pace}"
    )


def counter_tables(runs: Sequence[KernelRun], replayed: Result | None) -> Group:
    """One table for each cgroup: its counters at the end, those that are not 0 everywhere.

    With a replay, its error against the kernel; of several runs, the median and how far they are apart.
    """
    tables = [_counter_table(path, runs, replayed) for path in runs[0].result.cgroups]
    return Group(*(table for table in tables if table.row_count))


def _counter_table(path: str, runs: Sequence[KernelRun], replayed: Result | None) -> Table:
    headings = ["counter", *(["replay"] if replayed else []), "kernel", *(["error"] if replayed else [])]
    table = Table(title=Text(f"\n{path or 'machine'}"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 2, 0, 0))
    table.show_edge = table.pad_edge = False
    for heading in [*headings, *(["spread"] if len(runs) > 1 else [])]:
        table.add_column(heading, justify="left" if heading == "counter" else "right", no_wrap=True)
    rows = [run.result.final(path) for run in runs]
    for name in COUNTERS:
        found = [int(row[name]) for row in rows if name in row]
        expected = replayed.final(path).get(name) if replayed else None
        if any(found) or (expected and found):
            table.add_row(*_cells(name, found, expected, replayed is not None, len(runs) > 1))
    return table


def _cells(name: str, found: list[int], expected: int | None, replayed: bool, repeated: bool) -> Iterator[str]:
    kernel = median_low(found)
    yield name
    if replayed:
        yield NOTHING if expected is None else f"{expected:,}"
    yield f"{kernel:,}"
    if replayed:
        yield NOTHING if expected is None else _error(expected, kernel)
    if repeated:
        yield f"{max(found) - min(found):,}"


def _error(expected: int, kernel: int) -> str:
    return f"{expected / kernel - 1:+.1%}" if kernel else f"{expected:+,}"


def curves(run: KernelRun, replayed: Result) -> Table:
    """Counters over time, the replay's above the kernel's, on one scale, with the largest distance between them."""
    table = Table(title="Over time", title_justify="left", box=SIMPLE_HEAD, padding=(0, 2, 0, 0))
    table.show_edge = table.pad_edge = False
    for heading in ("cgroup", "counter", "", "replay above, kernel below", "apart"):
        table.add_column(heading, no_wrap=heading != "cgroup", overflow="fold", min_width=6 if heading else None)
    for path in run.result.cgroups:
        for name in CURVES:
            measured, predicted = _series(run.result, path, name), _series(replayed, path, name)
            top = max((*measured, *predicted), default=0)
            if measured and top:
                apart = max(abs(a - b) for a, b in zip(measured, predicted, strict=True)) / top
                both = f"{_spark(predicted, top)}\n{_spark(measured, top)}"
                table.add_row(Text(path or "machine"), name, _top(name, top), both, f"{apart:.0%}")
    return table


def _top(name: str, top: int) -> str:
    return f"{round_size(top) if name in LEVELS else f'{top:,}'}\n0"


def _series(result: Result, path: str, name: str) -> list[int]:
    """The samples of one counter; none where the engine lacks one of them."""
    values = result.series(path)[name].to_pylist()
    return [] if None in values else values


def _spark(values: Sequence[int], top: int) -> str:
    chosen = [values[i * len(values) // WIDTH] for i in range(WIDTH)] if len(values) > WIDTH else values
    return "".join(BARS[max(0, value) * (len(BARS) - 1) // top] for value in chosen)
