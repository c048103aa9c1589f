"""Run a scenario a few accesses at a time and check every law in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from tests.replay.validate import check_no_counter_went_back, counters, validate

from swaplab.replay import Replay
from swaplab.scenario.model import Scenario

__all__ = ["make_all", "run_checked"]


def make_all(run: Replay, step: int | None = None, after: Callable[[], None] = lambda: None) -> None:
    """Make all accesses of a scenario, `step` at a time or all up to an event, and let its events happen.

    Args:
        after: called after each event and each step.
    """
    accesses, events = np.concatenate(list(run.accesses.chunks())), run.scenario.events
    end = len(accesses)
    stops = sorted({*range(0, end, step or end), *(event.at for event in events), end})
    for at, following in pairwise([*stops, end]):
        for event in events:
            if event.at == at:
                run.fire(event)
                after()
        run.access(accesses[at:following])
        after()


def run_checked(scenario: Scenario, step: int) -> Replay:
    """`make_all` of a scenario, and check every law after each step."""
    run = Replay(scenario)
    before = counters(run.machine)

    def check() -> None:
        nonlocal before
        before = check_step(run, before)

    make_all(run, step, check)
    return run


def check_step(run: Replay, before: np.ndarray) -> np.ndarray:
    """Check every law; return the counters for the next time."""
    validate(run.machine)
    after = counters(run.machine)
    check_no_counter_went_back(before, after)
    return after
