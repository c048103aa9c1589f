"""Costs as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swaplab.host.calibrate import WAITED, Calibration
from swaplab.host.timing import Spread
from swaplab.report.parts import Table

__all__ = ["cost_table", "device_table", "doubts"]

WORDS = {
    "access_ns": "access",
    "fault_minor_ns": "minor fault",
    "fault_major_ns": "major fault, without the device",
    "reclaim_page_ns": "look at a page in reclaim",
}


def _table(title: str, spreads: Mapping[str, Spread]) -> Table:
    table = Table(title, ["", "median", "half of them"])
    for what, each in spreads.items():
        table.add_row(what, f"{each.median:,}", f"{each.low:,} to {each.high:,}")
    return table


def cost_table(found: Calibration) -> Table:
    """One row for each number of a cost file, in nanoseconds."""
    return _table(
        f"Costs in nanoseconds of processor time, {found.rounds} rounds",
        {_words(key): each for key, each in found.spreads.items()},
    )


def _words(key: str) -> str:
    return WORDS.get(key) or key.replace("_ns.", " ")


def device_table(spreads: Mapping[str, Spread]) -> Table:
    """One row for each kind of request, in nanoseconds."""
    return _table("Requests of the device in nanoseconds", spreads)


def doubts(found: Calibration) -> Iterator[str]:
    """Say what is not certain."""
    if found.waited > WAITED:
        yield (
            f"UNSURE: for {found.waited:.0%} of the time others ran and this did not. They slow it down while it runs "
            "as well: try again when the machine is less busy"
        )
    if found.unsteady:
        names = ", ".join(map(_words, found.unsteady))
        yield f"UNSURE: {found.rounds} rounds do not agree on {names}"
    for each in found.orders:
        yield (
            f"UNSURE which is faster to {each.what}: {each.faster} was faster than {each.slower} "
            f"in {each.share:.0%} of the rounds"
        )
