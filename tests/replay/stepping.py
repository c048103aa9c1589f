"""Run a scenario a few accesses at a time and check every law in between."""

from __future__ import annotations

import numpy as np
from tests.replay.validate import check_no_counter_went_back, counters, validate

from swaplab.replay import Replay
from swaplab.scenario.model import Scenario

__all__ = ["run_checked"]


def run_checked(scenario: Scenario, step: int) -> Replay:
    """Make all accesses of a scenario, `step` at a time, and let its events happen."""
    run = Replay(scenario)
    accesses = np.concatenate(list(run.accesses.chunks()))
    events = list(scenario.events)
    before = counters(run.machine)
    for start in range(0, len(accesses) + 1, step):
        while events and events[0].at <= start:
            run.fire(events.pop(0))
            before = check_step(run, before)
        run.access(accesses[start : start + step])
        before = check_step(run, before)
    return run


def check_step(run: Replay, before: np.ndarray) -> np.ndarray:
    """Check every law; return the counters for the next time."""
    validate(run.machine)
    after = counters(run.machine)
    check_no_counter_went_back(before, after)
    return after
