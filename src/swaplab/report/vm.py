"""The answer of a real kernel as tables for people, beside the replay's where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median_low

from swaplab.report.charts import charts
from swaplab.report.parts import Part, Table
from swaplab.report.run import duration, reconstructed_from
from swaplab.result import Guest, Result
from swaplab.result.counters import BY_NAME, TIMES
from swaplab.scenario.units import round_size, short_size

__all__ = ["kernel_report"]

COUNTERS = tuple(name for name in BY_NAME if name not in TIMES)
CURVES = ("zswpin", "zswpout", "zswpwb", "pswpin", "pswpout", "pgscan", "zswap", "anon", "memory.current")
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
NOTHING = "-"


def kernel_report(kernels: Sequence[Sequence[Result]], replayed: Result | None) -> list[Part]:
    """Counters of kernels that ran a scenario, and the error of a replay of it.

    One table for each cgroup: its counters at the end, those that are not 0 everywhere. With a replay, its error
    against the kernel, if there is one only; of several runs, the median and how far they are apart.

    Args:
        kernels: runs of each.
        replayed: the replay's, if it was run.
    """
    tables = [_counter_table(path, kernels, replayed) for path in kernels[0][0].cgroups]
    drawn = [_curves(kernels[0][0], replayed)] if replayed else []
    curves = charts([kernels[0][0], *([replayed] if replayed else [])])
    return [_heading(kernels, replayed), *(table for table in tables if table.rows), *drawn, *curves]


def _heading(kernels: Sequence[Sequence[Result]], replayed: Result | None) -> str:
    """One paragraph: what ran on which kernels, and how that machine differs from what the scenario says."""
    runs = kernels[0]
    info, guest = runs[0].info, _guest(runs)
    scenario = info.scenario
    how = "virtualized" if guest.accelerator == "kvm" else f"emulated at {guest.instruction_ns} ns an instruction"
    times = f", {len(runs)} times" if len(runs) > 1 else ""
    limit = f" The pool's limit was {round_size(guest.zswap_limit)}." if guest.zswap_limit else ""
    cost = replayed.info.cost if replayed else None
    pace = f" The replay has the costs of {cost.source}." if cost else ""
    releases = " and ".join(f"Linux {_release(each)}" for each in kernels)
    return (
        f"{scenario.name or 'scenario'}: {info.accesses:,} accesses on {short_size(scenario.machine.memory)} "
        f"of memory, measured on {releases}, {how}{times}, in {duration(guest.seconds * 1e9)}.{limit}{pace}"
        f"{reconstructed_from(info.reconstructed)}"
    )


def _guest(runs: Sequence[Result]) -> Guest:
    guest = runs[0].info.guest
    assert guest is not None  # noqa: S101 - kernels ran these
    return guest


def _release(runs: Sequence[Result]) -> str:
    return runs[0].info.release


def _counter_table(path: str, kernels: Sequence[Sequence[Result]], replayed: Result | None) -> Table:
    alone, repeated = len(kernels) == 1, len(kernels[0]) > 1
    judged = replayed is not None and alone
    headings = ["counter", *(["replay"] if replayed else [])]
    for runs in kernels:
        headings.append("kernel" if alone else _release(runs).partition("+")[0])
        headings += [*(["error"] if judged else []), *(["spread"] if repeated else [])]
    table = Table(path or "machine", headings)
    finals = [[run.final(path) for run in runs] for runs in kernels]
    for name in COUNTERS:
        found = [[int(row[name]) for row in rows if name in row] for rows in finals]
        expected = replayed.final(path).get(name) if replayed else None
        if any(any(each) for each in found) or (expected and any(found)):
            prediction = [NOTHING if expected is None else f"{expected:,}"] if replayed else []
            table.add_row(name, *prediction, *(x for each in found for x in _cells(each, expected, judged, repeated)))
    return table


def _cells(found: list[int], expected: int | None, judged: bool, repeated: bool) -> Iterator[str]:
    """The cells of one kernel: a number, the replay's error and the spread of several runs."""
    yield f"{median_low(found):,}" if found else NOTHING
    if judged:
        yield _error(expected, median_low(found)) if found and expected is not None else NOTHING
    if repeated:
        yield f"{max(found) - min(found):,}" if found else NOTHING


def _error(expected: int, kernel: int) -> str:
    return f"{expected / kernel - 1:+.1%}" if kernel else f"{expected:+,}"


def _curves(run: Result, replayed: Result) -> Table:
    """Counters over time, the replay's above the kernel's, on one scale, with the largest distance between them."""
    table = Table("Over time", ["cgroup", "counter", "", "replay above, kernel below", "apart"])
    for path in run.cgroups:
        for name in CURVES:
            measured, predicted = _series(run, path, name), _series(replayed, path, name)
            top = max((*measured, *predicted), default=0)
            if measured and top:
                apart = max(abs(a - b) for a, b in zip(measured, predicted, strict=True)) / top
                both = f"{_spark(predicted, top)}\n{_spark(measured, top)}"
                table.add_row(path or "machine", name, _top(name, top), both, f"{apart:.0%}")
    return table


def _top(name: str, top: int) -> str:
    shown = round_size(top) if BY_NAME[name].unit == "bytes" else f"{top:,}"
    return f"{shown}\n0"


def _series(result: Result, path: str, name: str) -> list[int]:
    """The samples of one counter; none where the engine lacks one of them."""
    values = result.series(path)[name].to_pylist()
    return [] if None in values else values


def _spark(values: Sequence[int], top: int) -> str:
    chosen = [values[i * len(values) // WIDTH] for i in range(WIDTH)] if len(values) > WIDTH else values
    return "".join(BARS[max(0, value) * (len(BARS) - 1) // top] for value in chosen)
