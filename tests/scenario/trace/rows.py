"""Rows of a trace as tuples: accesses of three numbers, and events of six."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swaplab.scenario.trace import Trace

__all__ = ["Row", "read"]

Row = tuple[int, ...]


def read(path: Path, **options: Any) -> list[Row]:
    """All rows, in order; `options` are those of `Trace.chunks`."""
    rows: list[Row] = []
    for chunk in Trace.open(path).chunks(**options):
        accesses = list(zip(chunk.stream.tolist(), chunk.page.tolist(), map(int, chunk.write), strict=True))
        at = 0
        for event in chunk.events.tolist():
            rows += accesses[at : event[0]]
            at = event[0]
            rows.append(event[1:7])
        rows += accesses[at:]
    return rows
