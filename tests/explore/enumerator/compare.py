"""The explorer against the enumerator: the same outcomes, the same bugs, every trace once, however tasks are named."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

from tests.explore.brute import trace
from tests.explore.enumerator.language import Program, line
from tests.explore.enumerator.orders import Outcome, every_order, every_trace
from tests.explore.enumerator.translate import System, Thing, translate, world

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.program import ProgramError
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import CHILDREN_MAX
from swaplab.kernel.sync.bugs import KernelBug

__all__ = ["Compared", "compare", "every_naming"]


class Compared:
    """What a program was compared in.

    Attributes:
        differences: sentences, none if all agree.
        traces, states, executions: how many there are, and how many the explorer has run.
        violations: kinds of bugs.
    """

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.traces = self.states = self.executions = 0
        self.violations: set[str] = set()


def every_naming(program: Program) -> list[tuple[int, ...]]:
    """Return all orders in which the tasks can be named."""
    return list(permutations(range(len(program))))


def compare(program: Program, namings: Iterable[tuple[int, ...]], states_max: int = 20_000) -> Compared:
    """Compare the explorer with the enumerator.

    Args:
        program: to run.
        namings: orders to name its tasks in.
        states_max: of the enumerator.

    Raises:
        TooMany: it has more states.
    """
    compared = Compared()
    found = every_order(program, states_max)
    compared.states, compared.violations = found.states, found.violations
    traces = every_trace(program, states_max)
    compared.traces = len(traces.executions)
    if traces.outcomes != found.outcomes:
        text = f"the enumerator's own traces have {len(traces.outcomes)} of {len(found.outcomes)} outcomes"
        compared.differences.append(text)
    for naming in namings:
        texts = _compare_naming(program, naming, found.outcomes, compared)
        compared.differences += [f"tasks named {naming}: {text}" for text in texts]
    compared.differences += [line(program)] * bool(compared.differences)
    return compared


def _compare_naming(program: Program, naming: tuple[int, ...], outcomes: set[Outcome], compared: Compared) -> list[str]:
    try:
        seen, traces = explore(program, naming)
    except ProgramError as error:
        return [str(error)]
    compared.executions += len(traces)
    texts = _differences(outcomes, set(seen))
    if len(traces) != compared.traces:
        texts.append(f"{len(traces)} executions of {compared.traces} traces")
    repeated = len(traces) - len(set(traces))
    if repeated:
        texts.append(f"{repeated} traces run again")
    return texts


def _differences(wanted: set[Outcome], seen: set[Outcome]) -> list[str]:
    missed, invented = wanted - seen, seen - wanted
    texts = []
    if missed:
        texts.append(f"missed {len(missed)} of {len(wanted)} outcomes, as {_text(missed, seen)}")
    if invented:
        texts.append(f"invented {len(invented)} beside {len(wanted)} outcomes, as {_text(invented, wanted)}")
    return texts


def _text(outcomes: set[Outcome], others: set[Outcome]) -> str:
    """One outcome, shortened to what differs from the nearest other one."""
    tasks, bugs, world = min(outcomes, key=repr)
    nearest = min((world - other[2] for other in others), key=len, default=world)
    return f"{sorted(tasks, key=repr)} {bugs} {sorted(nearest, key=repr)}"


def explore(program: Program, naming: tuple[int, ...]) -> tuple[list[Outcome], list[Any]]:
    """Return outcome and trace of each execution of the search."""
    things: dict[str, Thing] = {}
    explorer = Explorer(translate(program, naming, things), search := OptimalSearch())
    outcomes, traces = [], []

    def visit() -> bool:
        outcomes.append(_outcome(explorer, naming, things))
        traces.append(trace(explorer))
        return True

    search.run(explorer, visit)
    return outcomes, traces


def _outcome(explorer: Explorer, naming: tuple[int, ...], things: dict[str, Thing]) -> Outcome:
    tasks = []
    for number, task in explorer.tasks.items():
        name = _name(number, naming)
        status = "bug" if task.crashed else task.told or () if task.done else "waits"
        tasks.append((name, status))
    bugs = tuple(sorted(found.bug.title for found in explorer.found if not _is_race(found.bug)))
    system: System = explorer.state
    return frozenset(tasks), bugs, frozenset(world(system, things).items())


def _name(number: int, naming: tuple[int, ...]) -> str:
    if number < CHILDREN_MAX:
        return f"t{naming[number]}"
    return f"{_name(number // CHILDREN_MAX - 1, naming)}/{number % CHILDREN_MAX}"


def _is_race(bug: KernelBug) -> bool:
    """Data races are compared by themselves."""
    return str(bug).startswith("data-race in ")
