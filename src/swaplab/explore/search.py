"""Explore a program, and say what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.found import Findings
from swaplab.explore.observe import EveryObservation
from swaplab.explore.parallel import ParallelSearch
from swaplab.explore.program import Program
from swaplab.explore.record import record
from swaplab.explore.runtime import Explorer
from swaplab.explore.scheduler import Strategy
from swaplab.explore.shortest import Order
from swaplab.explore.verdict import Bounded, Effort, Holds, Reordering, Schedule, Unsure, Verdict, Violated, Violation

__all__ = ["MORE", "Search", "explore"]

MORE = 3_000
"""Executions in which to look for more bugs: a program with bugs may have too many to run all."""


class Search(Strategy, Protocol):
    """A strategy that knows when it is done.

    Attributes:
        limit: what it leaves out; empty if it leaves out nothing that a task can observe.
        findings: what breaks.
        reordered: operations that were run in both orders.
    """

    limit: str
    findings: Findings
    reordered: set[tuple[str, str]]

    @property
    def name(self) -> str:
        """Which executions it runs."""

    @property
    def has_shortest(self) -> bool:
        """Whether nothing shorter breaks what it has found to break, as it has run every trace."""

    @property
    def knows_all(self) -> bool:
        """Whether nothing else breaks, however many traces were left out."""

    @property
    def executions(self) -> int:
        """How many were run, each different from the others."""

    @property
    def steps(self) -> int:
        """How many there were in all of them."""

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run executions, calling `visit` after each, which says whether to go on; return whether it always did."""


def explore(
    program: Program[Any],
    search: Search | None = None,
    *,
    every_trace: bool = False,
    first: bool = False,
    executions_max: int | None = None,
    processes: int = 1,
    progress: Callable[[int], None] = lambda executions: None,
) -> Verdict:
    """Run every interleaving of a program that matters, and say all that breaks.

    That is an execution for each observation, as long as nothing breaks; otherwise every trace, for the fewest
    interruptions that it takes, until `MORE` executions have broken nothing new.

    Args:
        program: what to run.
        search: another way to choose what is run, such as `RandomWalk`; then the verdict is no proof, and says so.
        every_trace: run every trace in any case.
        first: stop at the first thing that breaks.
        executions_max: give up after so many.
        processes: to share the work of running every trace, forked once that turns out to be long; one with any of the
            above. The verdict is the same, whatever their number.
        progress: called with the number of executions so far.

    Raises:
        ProgramError: the program is at fault.
    """
    is_shared = processes > 1 and executions_max is None and not first
    traces = ParallelSearch(processes, progress) if is_shared else OptimalSearch()
    search = search or (traces if every_trace else EveryObservation(traces))
    found = search.findings.shortest
    limit = search.limit
    broke = last = 0

    def visit() -> bool:
        nonlocal limit, broke, last
        progress(search.executions)
        if len(found) > broke:
            broke, last = len(found), search.executions
        if search.executions == executions_max:
            limit = f"{executions_max:,} executions"
        elif first and found:
            limit = "the first that was found"
        elif found and search.executions - last >= MORE:
            limit = "" if search.knows_all else f"{MORE:,} executions that broke nothing new"
        else:
            return True
        return False

    explorer = Explorer(program, search)
    is_all = search.run(explorer, visit) and search.has_shortest
    reordered = sorted(Reordering(*pair) for pair in search.reordered)
    effort = Effort(search.executions, search.steps, reordered, search.name)
    if found:
        by_length = sorted(found.items(), key=lambda item: (item[1], item[0]))
        unsure_of = search.findings.unsure
        violations = [_violation(program, *key, order, is_all and key not in unsure_of) for key, order in by_length]
        return Violated(effort, violations, limit)
    if not limit:
        explorer.insist_met()
    unsure = sorted(Unsure(*pair) for pair in explorer.history.ordering.unsure)
    return Bounded(effort, limit) if limit else Holds(effort, unsure)


def _violation(program: Program[Any], kind: str, sentence: str, order: Order, fewest: bool) -> Violation:
    choices = [*order.choices]
    recording = record(program, choices)
    return Violation(
        kind=kind,
        sentence=sentence,
        preemptions=order.preemptions,
        fewest=fewest,
        schedule=Schedule(program.name, choices),
        steps=recording.steps(recording.bug(kind, sentence)),
    )
