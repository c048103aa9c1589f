"""How far the replay is from real kernels, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from swaplab.fidelity.judge import FLOOR, WIDE, Error, summary_of
from swaplab.fidelity.suite import Judged
from swaplab.linux.page import PAGE_SIZE
from swaplab.report.parts import Chart, Part, Table
from swaplab.result.counters import BY_NAME, JUDGED, JUDGED_OF_FILES

__all__ = ["counters_of", "fidelity_report"]

NOTHING = "-"
NOTE = (
    f"Errors are relative to the kernel's number, the mean of its runs, or to {FLOOR} pages where it is smaller. "
    "Counters that are 0 in both are left out."
)


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 1 else f"{value:.0%}"


def _shares(values: Sequence[float]) -> list[str]:
    if not values:
        return [NOTHING] * 3
    summary = summary_of(values)
    return [_share(summary.median), _share(summary.p90), _share(summary.worst)]


def _scenario_table(judged: Sequence[Judged], release: str) -> Table:
    headings = ["scenario", "median", "p90", "worst", "along", "spread", "faults", "LRU"]
    table = Table(f"Scenarios on Linux {release}", headings)
    for each in judged:
        spread = _share(max(error.spread for error in each.errors)) if each.errors else NOTHING
        along = _share(median(error.along for error in each.errors)) if each.errors else NOTHING
        faults = [error.error for error in each.errors if error.counter == "pgmajfault" and error.cgroup in each.lru]
        table.add_row(
            f"{each.name}{' ~' if each.wide else ''}",
            *(["refused", "", ""] if each.refused else _shares([error.error for error in each.errors])),
            along,
            spread,
            _share(median(faults)) if faults else NOTHING,
            _share(median(each.lru.values())) if each.lru else NOTHING,
        )
    return table


def _counter_table(errors: Sequence[Error], release: str) -> Table:
    table = Table(f"Counters of Linux {release}", ["counter", "judged", "median", "p90", "worst"])
    for counter in (*JUDGED, *JUDGED_OF_FILES):
        own = [error.error for error in errors if error.counter == counter]
        if own:
            table.add_row(counter, str(len(own)), *_shares(own))
    if errors:
        table.add_section()
        table.add_row("all", str(len(errors)), *_shares([error.error for error in errors]))
        table.add_row("along the way", str(len(errors)), *_shares([error.along for error in errors]))
    return table


def _size_table(judged: Sequence[Judged], release: str) -> Table:
    """Bytes of a stored page and of the pool for it, where kernel and replay ended with the same number of pages."""
    headings = ["compressor", "kernel", "replay", "pool", "replay's"]
    table = Table(f"Bytes a compressed page of Linux {release}, where both have as many", headings)
    for each in judged:
        own = {error.counter: error for error in each.errors if not error.cgroup}
        stored = own.get("zswapped")
        if stored and stored.error == 0 < stored.kernel:
            pages = stored.kernel / PAGE_SIZE
            sizes = [size for name in ("zswap", "pool_total_size") for size in (own[name].kernel, own[name].predicted)]
            name = f"{each.compressor} ({each.name}, {pages:,.0f} pages)"
            table.add_row(name, *(f"{size / pages:.1f}" for size in sizes))
    return table


def _sentences(judged: Sequence[Judged], errors: Sequence[Error], release: str) -> str:
    """What the tables of one release come to."""
    parts = []
    if errors:
        summary = summary_of([error.error for error in errors])
        parts.append(
            f"The replay's error at the end, on Linux {release}: median {_share(summary.median)}, 90th percentile "
            f"{_share(summary.p90)}, worst {_share(summary.worst)}, over {summary.count} counters of "
            f"{sum(bool(each.errors) for each in judged)} scenarios."
        )
    if lru := [error for each in judged for error in each.lru.values()]:
        summary = summary_of(lru)
        parts.append(
            f"An LRU cache as large as memory.max is off in pgmajfault by {_share(summary.median)}, "
            f"{_share(summary.p90)} and {_share(summary.worst)}."
        )
    if wide := [each.name for each in judged if each.wide]:
        parts.append(
            f"~ The kernel's own runs differ by more than {WIDE:.0%}, depending on when they start: {', '.join(wide)}. "
            "There errors are distances between the distributions of several runs and several replays."
        )
    if other := sum(each.of_other_guest for each in judged):
        parts.append(f"{other} of {len(judged)} are judged by what another version of the guest counted.")
    if refused := [each.name for each in judged if each.refused]:
        parts.append(f"Not modelled by the replay: {', '.join(refused)}.")
    return " ".join(parts)


def fidelity_report(judged: Sequence[Judged]) -> list[Part]:
    """All tables, and what they say, a release after the other."""
    found: list[Part] = []
    for release in dict.fromkeys(each.release for each in judged):
        own = [each for each in judged if each.release == release]
        errors = [error for each in own for error in each.errors]
        tables = [_scenario_table(own, release), _counter_table(errors, release), _size_table(own, release)]
        found += [*(table for table in tables if table.rows), _sentences(own, errors, release)]
    errors = [error for each in judged for error in each.errors]
    charts = [_scatter(errors, "count", 1), _scatter(errors, "bytes", PAGE_SIZE)]
    return [*found, NOTE, *(chart for chart in charts if chart.series)]


def _scatter(errors: Sequence[Error], unit: str, scale: int) -> Chart:
    """The replay's number by the kernel's, of counters in one unit; the nearer to the diagonal, the better."""
    own = [each for each in errors if BY_NAME[each.counter].unit == unit]
    title = "Events, in pages or times" if unit == "count" else "Memory at the end, in pages"
    series: dict[str, list[tuple[float, float]]] = {}
    for each in own:
        series.setdefault(each.counter, []).append((each.kernel / scale, each.predicted / scale))
    return Chart(title, "kernel", "replay", series, kind="points", x_scale="symlog", y_scale="symlog")


def counters_of(judged: Judged) -> Table:
    """All counters of one scenario, the largest error first."""
    headings = ["counter", "kernel", "replay", "error", "along", "spread", "replay's"]
    table = Table(f"{judged.name} on Linux {judged.release}", headings)
    for error in sorted(judged.errors, key=lambda error: -error.error):
        name = f"{error.cgroup or 'machine'} {error.counter}"
        numbers = [f"{error.kernel:,.0f}", f"{error.predicted:,.0f}"]
        table.add_row(
            name,
            *numbers,
            _share(error.error),
            _share(error.along),
            *map(_share, (error.spread, error.predicted_spread)),
        )
    return table
