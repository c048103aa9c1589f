"""Curves over time, and curves of misses by size, as charts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from swaplab.linux.page import PAGE_SIZE
from swaplab.report.parts import Chart
from swaplab.result import Result
from swaplab.scenario.misses import MissCurve

__all__ = ["MIB", "charts", "miss_charts"]

CHARTED_MAX = 9
POINTS = 300
MIB = 1 << 20
MISSES_SAY = (
    "The curves below are not Linux's. They say what an LRU cache of any size would do with the same accesses: how "
    "much the workload has to gain from memory."
)


def charts(results: Sequence[Result]) -> Iterator[Chart]:
    """Curves over time of the machine and of the largest cgroups; of several results, each by its engine's name."""
    own = results[0]
    paths = sorted(own.cgroups[1:], key=lambda path: -own.final(path).held)
    for path in ["", *paths[: CHARTED_MAX - 1]]:
        for title, unit, curves in (("Memory", "MiB", MEMORY), ("Pages", "so far", PAGES)):
            series = {
                f"{name}, {result.info.engine}" if len(results) > 1 else name: curve
                for result in results
                for name, curve in _curves(result, path, curves)
            }
            if series:
                yield Chart(f"{title} of {path or 'the machine'}", "accesses", unit, series)


def _curves(result: Result, path: str, curves: Curves) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Curves that the engine has, and that are not 0 all along."""
    samples = result.series(path)
    accesses = samples["access"].to_pylist()
    for name, scale, of in curves:
        values = of(samples)
        if values and any(values):
            yield name, [(access, value / scale) for access, value in zip(accesses, values, strict=True)]


def _column(name: str) -> Callable[[pa.Table], list[int]]:
    """A counter's values; none where the engine lacks one of them."""

    def values(samples: pa.Table) -> list[int]:
        found: list[int] = samples[name].to_pylist()
        return [] if None in found else found

    return values


def _on_disk(samples: pa.Table) -> list[int]:
    """Bytes that are in swap, and neither in zswap nor in the swap cache."""
    columns = [_column(name)(samples) for name in ("memory.swap.current", "zswapped", "swapcached")]
    return [max(0, swap - zswapped - cached) for swap, zswapped, cached in zip(*columns, strict=True)]


Curves = tuple[tuple[str, int, Callable[[pa.Table], list[int]]], ...]
MEMORY: Curves = (
    ("resident", MIB, _column("anon")),
    ("compressed", MIB, _column("zswapped")),
    ("to", MIB, _column("zswap")),
    ("on disk", MIB, _on_disk),
)
PAGES: Curves = (
    ("faults from zswap", 1, _column("zswpin")),
    ("from the device", 1, _column("pswpin")),
    ("written back", 1, _column("zswpwb")),
    ("written", 1, _column("pswpout")),
)


def miss_charts(curves: Sequence[MissCurve]) -> Iterator[Chart]:
    """How often an LRU cache would miss, by its size, with today's limit on it."""
    for each in curves[:CHARTED_MAX]:
        sizes = range(0, len(each.misses), max(1, len(each.misses) // POINTS))
        points = [(pages * PAGE_SIZE / MIB, float(each.misses[pages])) for pages in sizes]
        limit = (each.limit * PAGE_SIZE / MIB, "memory.max")
        title = f"Misses of an LRU cache with the accesses of {each.cgroup}, by its size"
        yield Chart(title, "MiB", "misses", {"misses": points}, limit=limit, note=MISSES_SAY)
