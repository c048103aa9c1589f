"""The timeline of a run: every engine fires events, and reads counters, at the same places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swaplab.scenario.model import Event, Scenario

__all__ = ["Stop", "sample_positions", "timeline"]


class Stop(NamedTuple):
    """A place where the accesses pause.

    Attributes:
        at: accesses made so far.
        events: that happen there, in this order.
        is_sampled: whether counters are read, after that.
    """

    at: int
    events: list[Event]
    is_sampled: bool


def sample_positions(scenario: Scenario, total: int) -> list[int]:
    """Accesses after which counters are read, ascending."""
    return sorted({total * (i + 1) // scenario.samples for i in range(scenario.samples)})


def timeline(scenario: Scenario, total: int) -> Iterator[Stop]:
    """Yield all stops in order, given how many accesses there are."""
    samples = {*sample_positions(scenario, total)}
    events: dict[int, list[Event]] = {}
    for event in scenario.events:
        events.setdefault(event.at, []).append(event)
    for at in sorted(samples.union(events)):
        yield Stop(at, events.get(at, []), at in samples)
