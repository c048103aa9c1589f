"""Explore a program, and say what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.minimise import minimise
from swaplab.explore.parallel import ParallelSearch
from swaplab.explore.program import Program
from swaplab.explore.record import record
from swaplab.explore.runtime import Explorer, Strategy
from swaplab.explore.verdict import Bounded, Effort, Holds, Reordering, Schedule, Verdict, Violation

__all__ = ["Search", "explore", "explore_with"]


class Search(Strategy, Protocol):
    """A strategy that knows when it is done."""

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run executions, calling `visit` after each, which says whether to go on; return whether it always did."""


class _Found(NamedTuple):
    kind: str
    choices: list[int]


class _Watch:
    """Counts executions, and stops at the first bug or at a limit."""

    def __init__(self, explorer: Explorer, executions_max: int | None, progress: Callable[[int], None]) -> None:
        self.explorer = explorer
        self.executions_max = executions_max
        self.progress = progress
        self.executions = self.steps = 0
        self.found: _Found | None = None

    def __call__(self) -> bool:
        explorer = self.explorer
        self.executions += 1
        self.steps += explorer.depth
        self.progress(self.executions)
        if explorer.bugs:
            self.found = _Found(explorer.bugs[0].title, [event.task for event in explorer.history.events])
            return False
        return self.executions != self.executions_max


def explore(
    program: Program[Any],
    *,
    executions_max: int | None = None,
    processes: int = 1,
    progress: Callable[[int], None] = lambda executions: None,
) -> Verdict:
    """Run every interleaving of a program that matters, until something breaks.

    Args:
        program: what to run.
        executions_max: give up after so many; the verdict then is `Bounded`.
        processes: to share the work, forked once it turns out to be long; one with `executions_max`. The verdict is the
            same, whatever their number.
        progress: called with the number of executions so far.

    Raises:
        ProgramError: the program is at fault.
    """
    is_shared = processes > 1 and executions_max is None
    search = ParallelSearch(processes, progress) if is_shared else OptimalSearch()
    return explore_with(search, program, executions_max=executions_max, progress=progress)


def explore_with(
    search: Search,
    program: Program[Any],
    *,
    limit: str = "",
    executions_max: int | None = None,
    progress: Callable[[int], None] = lambda executions: None,
) -> Verdict:
    """Explore with another search; `limit` says what it leaves out, nothing if it is complete.

    Raises:
        ProgramError: the program is at fault.
    """
    explorer = Explorer(program, search)
    watch = _Watch(explorer, executions_max, progress)
    is_complete = search.run(explorer, watch)
    effort = _effort(watch, search)
    if watch.found:
        return _violation(program, watch.found, effort)
    if not is_complete:
        return Bounded(effort, f"{executions_max:,} executions")
    return Bounded(effort, limit) if limit else Holds(effort)


def _effort(watch: _Watch, search: Search) -> Effort:
    if not isinstance(search, OptimalSearch):
        return Effort(watch.executions, watch.steps, 0, [])
    reordered = sorted(Reordering(*pair) for pair in search.reordered)
    return Effort(search.executions, search.steps, search.vain, reordered)


def _violation(program: Program[Any], found: _Found, effort: Effort) -> Violation:
    choices, is_fewest = minimise(program, found.kind, found.choices)
    recording = record(program, choices)
    return Violation(
        effort=effort,
        kind=recording.bugs[0].title,
        sentence=str(recording.bugs[0]),
        preemptions=recording.preemptions,
        fewest=is_fewest,
        schedule=Schedule(program.name, choices),
        steps=recording.steps(recording.bugs[0]),
    )
