"""The difference between two snapshots of a machine, per second."""

from __future__ import annotations

from typing import Final

import msgspec

from swaplab.doctor.facts import Facts

__all__ = ["Rates", "rates"]

EVENTS: Final = ("zswpout", "zswpin", "pswpout", "pswpin", "written_back_pages", "pool_limit_hit")
EVENTS_OF_OLD: Final = {"written_back_pages": "zswpwb"}  # where debugfs may not be read


class Rates(msgspec.Struct, frozen=True):
    """The events in an interval.

    Attributes:
        seconds: how long it was.
        per_second: events by name, those that both snapshots have.
        zswapped: bytes of pages in zswap at its end, and `zswap` what they take; None where not known.
    """

    seconds: float
    per_second: dict[str, float]
    zswapped: int | None
    zswap: int | None


def rates(before: Facts, after: Facts, seconds: float) -> Rates:
    """Return what happened from one snapshot to another, `seconds` apart."""
    counts = {name: (_count(before, name), _count(after, name)) for name in EVENTS}
    return Rates(
        seconds=seconds,
        per_second={
            name: (late - early) / seconds
            for name, (early, late) in counts.items()
            if early is not None and late is not None
        },
        zswapped=after.number("Zswapped"),
        zswap=after.number("Zswap"),
    )


def _count(facts: Facts, name: str) -> int | None:
    value = facts.number(name)
    return facts.number(EVENTS_OF_OLD[name]) if value is None and name in EVENTS_OF_OLD else value
