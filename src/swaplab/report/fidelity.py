"""How far the replay is from real kernels, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from swaplab.fidelity.judge import CHAOTIC, FLOOR, Error, summary_of
from swaplab.fidelity.suite import Judged
from swaplab.fidelity.truth import COUNTERS

__all__ = ["counters_of", "fidelity_report"]

NOTHING = "-"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True)
    table.show_edge = table.pad_edge = False
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    return table


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 10 else f"{value:.0f} x"


def _shares(values: Sequence[float]) -> list[str]:
    if not values:
        return [NOTHING] * 3
    summary = summary_of(values)
    return [_share(summary.median), _share(summary.p90), _share(summary.worst)]


def _scenario_table(judged: Sequence[Judged]) -> Table:
    table = _table("Scenarios", "scenario", "median", "90th pct", "worst", "along", "spread", "faults", "by LRU")
    for chaotic in (False, True):
        for each in [each for each in judged if each.chaotic is chaotic]:
            spread = _share(max(error.spread for error in each.errors)) if each.errors else NOTHING
            along = _share(median(error.along for error in each.errors)) if each.errors else NOTHING
            faults = [
                error.error for error in each.errors if error.counter == "pgmajfault" and error.cgroup in each.lru
            ]
            table.add_row(
                f"{each.name}{' *' if chaotic else ''}",
                *(["not modelled", "", ""] if each.refused else _shares([error.error for error in each.errors])),
                along,
                spread,
                _share(median(faults)) if faults else NOTHING,
                _share(median(each.lru.values())) if each.lru else NOTHING,
            )
        table.add_section()
    return table


def _counter_table(errors: Sequence[Error]) -> Table:
    table = _table("Counters, but of chaotic scenarios", "counter", "judged", "median", "90th pct", "worst")
    for counter in COUNTERS:
        own = [error.error for error in errors if error.counter == counter]
        if own:
            table.add_row(counter, str(len(own)), *_shares(own))
    table.add_section()
    table.add_row("all", str(len(errors)), *_shares([error.error for error in errors]))
    table.add_row("along the way", str(len(errors)), *_shares([error.along for error in errors]))
    return table


def _size_table(judged: Sequence[Judged]) -> Table:
    """Bytes of a stored page and of the pool for it, where kernel and replay ended with the same number of pages."""
    table = _table(
        "Bytes a compressed page, where both have as many", "compressor", "kernel", "replay", "pool", "replay's"
    )
    for each in judged:
        own = {error.counter: error for error in each.errors if not error.cgroup}
        if {"zswap", "zswapped", "pool_total_size"} <= own.keys() and own["zswapped"].error == 0 < own[
            "zswapped"
        ].kernel:
            pages = own["zswapped"].kernel / 4096
            cells = [f"{own['zswap'].kernel / pages:.1f}", f"{own['zswap'].predicted / pages:.1f}"]
            cells += [f"{own['pool_total_size'].kernel / pages:.1f}", f"{own['pool_total_size'].predicted / pages:.1f}"]
            table.add_row(f"{each.compressor} ({each.name}, {pages:,.0f} pages)", *cells)
    return table


def _sentences(judged: Sequence[Judged], errors: Sequence[Error]) -> str:
    parts = []
    if errors:
        summary = summary_of([error.error for error in errors])
        parts.append(
            f"The replay's error at the end: median {_share(summary.median)}, 90th percentile {_share(summary.p90)}, "
            f"worst {_share(summary.worst)}, over {summary.count} counters of "
            f"{sum(bool(each.errors) and not each.chaotic for each in judged)} scenarios."
        )
    if lru := [error for each in judged if not each.chaotic for error in each.lru.values()]:
        summary = summary_of(lru)
        parts.append(
            f"An LRU cache as large as memory.max is off in pgmajfault by {_share(summary.median)}, "
            f"{_share(summary.p90)} and {_share(summary.worst)}."
        )
    if chaotic := [each.name for each in judged if each.chaotic]:
        parts.append(
            f"* Apart: {', '.join(chaotic)}. There a tenth of the counters or more differ by more than {CHAOTIC:.0%} "
            "between runs of one and the same kernel."
        )
    if refused := [each.name for each in judged if each.refused]:
        parts.append(f"Not modelled by the replay: {', '.join(refused)}.")
    parts.append(
        f"Errors are relative to the kernel's number, the median of its runs, or to {FLOOR} pages where it is smaller; "
        "counters that are 0 in both are left out."
    )
    return " ".join(parts)


def fidelity_report(judged: Sequence[Judged]) -> Group:
    """All tables, and what they say."""
    errors = [error for each in judged if not each.chaotic for error in each.errors]
    parts: list[RenderableType] = [_scenario_table(judged), ""]
    parts += [_counter_table(errors), ""] if errors else []
    sizes = _size_table(judged)
    parts += [sizes, ""] if sizes.row_count else []
    return Group(*parts, _sentences(judged, errors))


def counters_of(judged: Judged) -> Table:
    """All counters of one scenario, the largest error first."""
    headings = ["counter", "kernel", "replay", "error", "along", "spread"]
    table = _table(judged.name, *headings)
    for error in sorted(judged.errors, key=lambda error: -error.error):
        name = f"{error.cgroup or 'machine'} {error.counter}"
        numbers = [f"{error.kernel:,.0f}", f"{error.predicted:,.0f}"]
        table.add_row(name, *numbers, _share(error.error), _share(error.along), _share(error.spread))
    return table
