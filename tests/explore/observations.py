"""The search of observations beside the enumerator, and beside the search of traces."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from tests.explore.enumerator.compare import outcome_of
from tests.explore.enumerator.language import Program as Generated
from tests.explore.enumerator.language import line
from tests.explore.enumerator.orders import Outcome, every_order
from tests.explore.enumerator.translate import translate

from swaplab.explore import EveryObservation, Program, Search, Verdict, Violated
from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.runtime import Explorer

__all__ = ["Compared", "against_every_order", "against_every_trace", "findings"]

S = TypeVar("S", bound=Search)


class Compared(NamedTuple):
    """What a program was compared in.

    Attributes:
        differences: sentences, none if all agree.
        outcomes: how many there are, of one whose every order was run.
        traces: how many there are.
        executions: of the search of observations, before it runs every trace.
        reason: why it does; nothing if it does not.
    """

    differences: list[str]
    outcomes: int
    traces: int
    executions: int
    reason: str


def findings(verdict: Verdict) -> set[tuple[str, str]]:
    """Return kinds and sentences of what breaks."""
    return {(each.kind, each.sentence) for each in verdict.violations} if isinstance(verdict, Violated) else set()


def against_every_trace(program: Program[Any], executions_max: int | None = None) -> Compared | None:
    """Compare what breaks; None if there are more traces than that, or nothing that matters."""
    reference = _explored(program, OptimalSearch(), executions_max)
    if len(reference.traces) == executions_max:
        return None
    return _compared(program.name, reference, _explored(program, EveryObservation(), None))


def _explored(program: Program[Any], search: S, executions_max: int | None) -> S:
    search.run(Explorer(program, search), lambda: search.executions != executions_max)
    return search


def _compared(name: str, reference: OptimalSearch, search: EveryObservation) -> Compared:
    wanted, found = reference.findings.shortest.keys(), search.findings.shortest.keys()
    differences = [f"{name}: missed {wanted - found}, invented {found - wanted}"] * (wanted != found)
    return Compared(differences, 0, reference.executions, search.before, search.reason)


def against_every_order(program: Generated, states_max: int) -> Compared:
    """Compare outcomes with the enumerator's, and what breaks, data races included, with that of every trace.

    Raises:
        TooMany: there are more states.
    """
    naming = tuple(range(len(program)))
    wanted = every_order(program, states_max).outcomes
    translated = translate(program, naming)
    explorer = Explorer(translated, search := EveryObservation())
    found: set[Outcome] = set()

    def visit() -> bool:
        if not search.reason:  # then every trace is run, which others look at
            found.add(outcome_of(explorer, naming))
        return True

    search.run(explorer, visit)
    compared = _compared(line(program), _explored(translated, OptimalSearch(), None), search)
    differences = compared.differences
    if found != wanted:
        differences.append(f"missed {len(wanted - found)} and invented {len(found - wanted)} of {len(wanted)} outcomes")
    if "not what others were" in search.reason:
        differences.append(search.reason)
    differences += [line(program)] * bool(differences)
    return compared._replace(differences=differences, outcomes=len(wanted))
