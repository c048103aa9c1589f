"""Every cgroup's use of zswap at the moment, as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from swaplab.doctor.top import Row
from swaplab.report.parts import Part, Table
from swaplab.scenario.units import round_size
from swaplab.text import shown

__all__ = ["COLUMNS", "cells", "sorted_by", "top_report", "what_if"]

COLUMNS = {
    "cgroup": "cgroup",
    "resident": "resident",
    "compressed": "compressed",
    "takes": "to",
    "ratio": "ratio",
    "loads": "in\n/s",
    "stores": "out\n/s",
    "writebacks": "back\n/s",
    "refaults": "refaults\n/s",
    "pressure": "waits",
}
"""Headings by the fields of a row."""
UNKNOWN = "-"
UNREAD_MAX = 3
NOTES = (
    "compressed: pages in zswap; to: what they take there. in, out, back: pages from zswap, into it, and from it to "
    "the device. refaults: anonymous pages that came back. waits: share of the last 10 s in which some task waited for "
    "memory (PSI)."
)


def top_report(found: Sequence[Row], unread: Sequence[str], key: str) -> list[Part]:
    """All rows, and what could not be read."""
    table = Table("", list(COLUMNS.values()))
    for row in sorted_by(found, key):
        table.add_row(*cells(row))
    missing = [f"not read: {line}" for line in unread[:UNREAD_MAX]]
    more = len(unread) - UNREAD_MAX
    missing += [f"not read: {more:,} files more"] if more > 0 else []
    return [table, NOTES, *(["\n".join(missing)] if missing else [])]


def cells(row: Row) -> Iterator[str]:
    """A row as it is shown."""
    yield shown(row.cgroup)
    for size in (row.resident, row.compressed, row.takes):
        yield UNKNOWN if size is None else round_size(size)
    yield UNKNOWN if row.ratio is None else f"{row.ratio:.2f}"
    for rate in (row.loads, row.stores, row.writebacks, row.refaults):
        yield UNKNOWN if rate is None else f"{rate:,.0f}"
    yield UNKNOWN if row.pressure is None else f"{row.pressure:.1f}%"


def sorted_by(found: Sequence[Row], key: str) -> list[Row]:
    """The machine first, then cgroups: the most of a column before the least, names as in a dictionary."""
    machine, *cgroups = found
    if key == "cgroup":
        return [machine, *sorted(cgroups, key=lambda row: row.cgroup)]
    return [machine, *sorted(cgroups, key=lambda row: (-(getattr(row, key) or 0), row.cgroup))]


def what_if(row: Row, shares: Mapping[str, Mapping[str, float]]) -> str:
    """Savings of zswap for a cgroup's resident memory, from a profile; empty if that does not have it."""
    own = shares.get(row.cgroup.strip("/"), {})
    if not own or not row.resident:
        return ""
    saved = ", ".join(f"{name} {round_size(int(share * row.resident))}" for name, share in own.items())
    return f"If all {round_size(row.resident)} of it were in zswap, that would save, by the profile: {saved}."
