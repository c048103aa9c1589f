"""Run a scenario a few accesses at a time and check every law in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from tests.replay.validate import check_no_counter_went_back, counters, validate

from swaplab.replay import Replay
from swaplab.replay.fork import copy_page_range
from swaplab.replay.shmem import mmap_shared, shmem_truncate_range
from swaplab.replay.unmap import is_gone, madvise_dontneed, munmap
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.model import Scenario

__all__ = ["check_all", "fork_some", "free_some", "make_all", "run_checked", "share_some"]


def make_all(run: Replay, step: int | None = None, after: Callable[[], None] = lambda: None) -> None:
    """Make all accesses of a scenario, `step` at a time or all up to an event, and let its events happen.

    Where a test has made a task shared memory, that makes no accesses.

    Args:
        after: called after each event and each step.
    """
    accesses, events = np.concatenate([chunk.accesses for chunk in run.accesses.chunks()]), run.scenario.events
    tasks = np.searchsorted(run.machine.task_first, accesses >> 1, "right") - 1
    accesses = accesses[run.machine.task_memcg[tasks] >= 0]
    end = len(accesses)
    stops = sorted({*range(0, end, step or end), *(event.at for event in events), end})
    for at, following in pairwise([*stops, end]):
        for event in events:
            if event.at == at:
                run.fire(event)
                after()
        run.access(Chunk(accesses[at:following]))
        after()


def some_pages(run: Replay, random: np.random.Generator) -> tuple[int, int, int]:
    """Up to 64 pages of a task, from the first on: task, first, end."""
    m = run.machine
    first = int(random.integers(m.sizes.nr_pages))
    task = int(np.searchsorted(m.task_first, first, "right")) - 1
    return task, first, min(first + int(random.integers(1, 65)), int(m.task_first[task + 1]))


def share_some(run: Replay, random: np.random.Generator) -> None:
    """Have a task map memory of an object, which the last workload's task stands for, or free some of the object's."""
    m = run.machine
    task, page, end = some_pages(run, random)
    source, source_end = int(m.task_first[-2]), int(m.task_first[-1])
    source += int(random.integers(source_end - source))
    if task == len(m.task_memcg) - 1:
        shmem_truncate_range(m, page, end)
    elif not is_gone(m, task):
        mmap_shared(m, page, min(end, page + source_end - source), source)


def free_some(run: Replay, random: np.random.Generator) -> None:
    """Unmap or discard some pages of a task that lives."""
    task, first, end = some_pages(run, random)
    if run.machine.task_memcg[task] >= 0 and not is_gone(run.machine, task):
        (munmap if random.integers(2) else madvise_dontneed)(run.machine, first, end)


def fork_some(run: Replay, random: np.random.Generator) -> None:
    """Have a task's pages be another's, copied on write, as if one had forked the other."""
    m = run.machine
    child, page, end = some_pages(run, random)
    parent, source, source_end = some_pages(run, random)
    end = min(end, page + source_end - source)
    if child != parent and min(m.task_memcg[[child, parent]]) >= 0 and not is_gone(m, child) | is_gone(m, parent):
        munmap(m, page, end)
        copy_page_range(m, page, end, source)


def check_all(run: Replay, step: int, between: Callable[[Replay], None] = lambda run: None) -> None:
    """`make_all`, and check every law after each step.

    Args:
        between: does something more after each step.
    """
    before = counters(run.machine)

    def check() -> None:
        nonlocal before
        before = check_step(run, before)
        between(run)
        before = check_step(run, before)

    make_all(run, step, check)


def run_checked(scenario: Scenario, step: int) -> Replay:
    """`check_all` of a scenario."""
    run = Replay(scenario)
    check_all(run, step)
    return run


def check_step(run: Replay, before: np.ndarray) -> np.ndarray:
    """Check every law; return the counters for the next time."""
    validate(run.machine)
    after = counters(run.machine)
    check_no_counter_went_back(before, after)
    return after
