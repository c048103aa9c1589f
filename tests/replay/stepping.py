"""Run a scenario a few accesses at a time and check every law in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from tests.replay.validate import check_no_counter_went_back, counters, validate

from swaplab.replay import Replay
from swaplab.replay.unmap import is_killed, madvise_dontneed, munmap
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.model import Scenario

__all__ = ["free_some", "make_all", "run_checked"]


def make_all(run: Replay, step: int | None = None, after: Callable[[], None] = lambda: None) -> None:
    """Make all accesses of a scenario, `step` at a time or all up to an event, and let its events happen.

    Args:
        after: called after each event and each step.
    """
    accesses, events = np.concatenate([chunk.accesses for chunk in run.accesses.chunks()]), run.scenario.events
    end = len(accesses)
    stops = sorted({*range(0, end, step or end), *(event.at for event in events), end})
    for at, following in pairwise([*stops, end]):
        for event in events:
            if event.at == at:
                run.fire(event)
                after()
        run.access(Chunk(accesses[at:following]))
        after()


def free_some(run: Replay, random: np.random.Generator) -> None:
    """Unmap or discard up to 64 pages of a task that lives."""
    m = run.machine
    first = int(random.integers(m.control.nr_pages))
    task = int(np.searchsorted(m.task_first, first, "right")) - 1
    end = min(first + int(random.integers(1, 65)), int(m.task_first[task + 1]))
    if not is_killed(m, task):
        (munmap if random.integers(2) else madvise_dontneed)(m, first, end)


def run_checked(scenario: Scenario, step: int, between: Callable[[Replay], None] = lambda run: None) -> Replay:
    """`make_all` of a scenario, and check every law after each step.

    Args:
        between: does something more after each step.
    """
    run = Replay(scenario)
    before = counters(run.machine)

    def check() -> None:
        nonlocal before
        before = check_step(run, before)
        between(run)
        before = check_step(run, before)

    make_all(run, step, check)
    return run


def check_step(run: Replay, before: np.ndarray) -> np.ndarray:
    """Check every law; return the counters for the next time."""
    validate(run.machine)
    after = counters(run.machine)
    check_no_counter_went_back(before, after)
    return after
