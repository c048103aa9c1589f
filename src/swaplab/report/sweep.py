"""The outcome of a sweep, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swaplab.report.charts import MIB
from swaplab.report.parts import Chart, Part, Table
from swaplab.report.run import duration, reconstructed_from, slowdown
from swaplab.report.vega import SERIES_MAX
from swaplab.scenario.reconstructed import reconstructed
from swaplab.scenario.units import round_size
from swaplab.study.table import Spread, Spreads

__all__ = ["sweep_report"]

ROWS_MAX = 200
NOTHING = "-"


def sweep_report(found: Spreads) -> list[Part]:
    """The outcome of each combination of settings, and a chart of memory against time."""
    spreads = found.rows
    axis = next((key for key in spreads[0].settings if _is_few(spreads, key)), None)
    series: dict[str, list[tuple[float, float]]] = {}
    for each in spreads:
        if not each.median.killed:
            name = f"{axis} = {each.settings[axis]}" if axis else "combinations"
            series.setdefault(name, []).append((each.median.memory / MIB, each.median.time_lost / 1e9))
    chart = Chart("Memory against time", "memory held (MiB)", "time lost (s)", series, kind="points")
    said = reconstructed_from(reconstructed(found.scenario)).strip()
    return [_sweep_table(spreads, found.seeds), *([said] if said else []), *([chart] if series else [])]


def _is_few(spreads: Sequence[Spread], key: str) -> bool:
    return 1 < len({each.settings[key] for each in spreads}) <= SERIES_MAX


def _sweep_table(spreads: Sequence[Spread], seeds: int) -> Table:
    """One row for each combination of settings, in the plan's order; of several seeds, the medians.

    How far seeds are apart is shown of the time, which is what settings are chosen by; the rest is in JSON.
    """
    title = "The machine, by what was varied" + (f"; medians of {seeds} seeds" if seeds > 1 else "")
    headings = [*map(_heading, spreads[0].settings), "memory", "from\nmemory", "from\ndisk", "writes", "time\nlost"]
    with_base = any(each.median.slowdown is not None for each in spreads)
    table = Table(title, headings + ["slow-\ndown"] * with_base + ["least..\nmost"] * (seeds > 1))
    for each in spreads[:ROWS_MAX]:
        table.add_row(*each.settings.values(), *_cells(each, with_base, seeds > 1))
    if len(spreads) > ROWS_MAX:
        table.add_row(f"{len(spreads) - ROWS_MAX:,} more in --json and -o")
    return table


def _heading(key: str) -> str:
    """Return a key in two lines where it has a long owner: a table has 80 columns."""
    owner, dot, name = key.partition(".memory.")
    return f"{owner.removeprefix('cgroup.')}\nmemory.{name}" if dot else key.rpartition(".")[2]


def _cells(spread: Spread, with_base: bool, with_range: bool) -> Iterator[str]:
    middle = spread.median
    yield round_size(middle.memory)
    yield from map(_count, (middle.from_memory, middle.from_disk, middle.writes))
    yield "killed" if middle.killed else _time(middle.time_lost)
    if with_base:
        yield slowdown(middle.slowdown, killed=bool(middle.killed))
    if with_range:
        yield f"{_time(spread.least.time_lost)}..{_time(spread.most.time_lost)}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value else NOTHING


def _time(value: float) -> str:
    return duration(value) if value else NOTHING
