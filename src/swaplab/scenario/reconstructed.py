"""Traces of which no access was seen: they are made from samples, and whoever shows what comes of one says so."""

from __future__ import annotations

from collections.abc import Mapping

from swaplab.scenario.model import Scenario
from swaplab.scenario.trace import Trace

__all__ = ["reconstructed", "reconstructed_of"]


def reconstructed_of(traces: Mapping[str, Trace]) -> dict[str, str]:
    """Return what those traces are made from that are reconstructed, by name."""
    return {name: trace.info.reconstructed for name, trace in traces.items() if trace.info.reconstructed}


def reconstructed(scenario: Scenario) -> dict[str, str]:
    """Return the same of a scenario's traces.

    Raises:
        InputError: one is no trace.
        OSError: one cannot be read.
    """
    names = sorted({each.trace for each in scenario.workloads if each.trace is not None})
    return reconstructed_of({name: Trace.open(scenario.base / name) for name in names})
