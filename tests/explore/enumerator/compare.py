"""The explorer against the enumerator: the same outcomes, the same bugs, every trace once, however tasks are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import Any, NamedTuple

from tests.explore.brute import trace
from tests.explore.enumerator.language import Program, line
from tests.explore.enumerator.orders import Outcome, every_order, every_trace
from tests.explore.enumerator.races import Race, races
from tests.explore.enumerator.translate import System, translate, world

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.program import ProgramError
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import CHILDREN_MAX
from swaplab.kernel.sync.bugs import KernelBug, ListCorruption, LockOrder

__all__ = ["Compared", "compare", "every_naming", "outcome_of"]


class Compared:
    """What a program was compared in.

    Attributes:
        differences: sentences, none if all agree.
        traces, states, executions: how many there are, and how many the explorer has run.
        violations: kinds of bugs.
        races: data races.
    """

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.traces = self.states = self.executions = 0
        self.violations: set[str] = set()
        self.races: set[Race] = set()


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
    found_races = (race for steps in traces.executions for race in races(steps))
    compared.races = {(variable, tasks) for variable, tasks in found_races if COMPARED.fullmatch(str(variable))}
    for naming in namings:
        texts = _compare_naming(program, naming, found.outcomes, compared)
        compared.differences += [f"tasks named {naming}: {text}" for text in texts]
    compared.differences += [line(program)] * bool(compared.differences)
    return compared


def _compare_naming(program: Program, naming: tuple[int, ...], outcomes: set[Outcome], compared: Compared) -> list[str]:
    try:
        seen = explore(program, naming)
    except ProgramError as error:
        return [str(error)]
    executions = len(seen.outcomes)
    compared.executions += executions
    texts = _differences(outcomes, set(seen.outcomes))
    if executions != compared.traces:
        texts.append(f"{executions} executions of {compared.traces} traces")
    repeated = executions - len(set(seen.traces))
    if repeated or seen.vain:
        texts.append(f"{repeated} traces run again, {seen.vain} begun in vain")
    if seen.races != compared.races:
        missed, invented = (
            sorted(map(repr, each)) for each in (compared.races - seen.races, seen.races - compared.races)
        )
        texts.append(f"data races: missed {missed}, invented {invented}")
    return texts + _compare_kinds(compared.violations, seen.broken)


def _compare_kinds(wanted: set[str], broken: set[tuple[str, str]]) -> list[str]:
    """Of what follows from a data race of lists nobody knows what it does, so the explorer does not say it."""
    seen = {kind for kind, sentence in broken if not sentence.startswith(DATA_RACE)}
    is_spoiled = any(kind == ListCorruption.title and sentence.startswith(DATA_RACE) for kind, sentence in broken)
    if seen == wanted or (is_spoiled and seen < wanted):
        return []
    return [f"says that there is {sorted(seen)}, but there is {sorted(wanted)}"]


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


class Explored(NamedTuple):
    """What the explorer has found.

    Attributes:
        outcomes, traces: of each execution.
        races: data races.
        broken: kinds and sentences of what it says that breaks.
        vain: executions begun in vain.
    """

    outcomes: list[Outcome]
    traces: list[Any]
    races: set[Race]
    broken: set[tuple[str, str]]
    vain: int


def explore(program: Program, naming: tuple[int, ...]) -> Explored:
    """Run the search of the explorer."""
    explorer = Explorer(translate(program, naming), search := OptimalSearch())
    outcomes, traces = [], []
    raced: set[Race] = set()

    def visit() -> bool:
        outcomes.append(outcome_of(explorer, naming))
        traces.append(trace(explorer))
        raced.update(_races(found.bug for found in explorer.found))
        return True

    search.run(explorer, visit)
    return Explored(outcomes, traces, raced, set(search.findings.shortest), search.vain)


DATA_RACE = "data-race in "
RACE = re.compile(DATA_RACE + r".*: .* by (\S+), .* by (\S+), of (?:System\.|Thing )(.*)")
COMPARED = re.compile(r"[xy]|.*\.v|E\[.\]")
"""Variables whose data races are compared: fields and elements of the array. Lists and tables are more than one."""


def _races(bugs: Iterable[KernelBug]) -> Iterator[Race]:
    for bug in bugs:
        found = RACE.fullmatch(str(bug))
        if found and COMPARED.fullmatch(found[3]):
            yield found[3], frozenset((found[1], found[2]))


def outcome_of(explorer: Explorer, naming: tuple[int, ...]) -> Outcome:
    """Return the outcome of an execution, in terms of the enumerator."""
    tasks = []
    for number, task in explorer.tasks.items():
        name = _name(number, naming)
        status = "bug" if task.crashed else task.told or () if task.done else "waits"
        tasks.append((name, status))
    bugs = tuple(sorted(_kinds(found.bug for found in explorer.found)))
    system: System = explorer.state
    return frozenset(tasks), bugs, frozenset(world(system, explorer.objects).items())


def _name(number: int, naming: tuple[int, ...]) -> str:
    if number < CHILDREN_MAX:
        return f"t{naming[number]}"
    return f"{_name(number // CHILDREN_MAX - 1, naming)}/{number % CHILDREN_MAX}"


def _kinds(bugs: Iterable[KernelBug]) -> Iterator[str]:
    """Kinds of bugs. Data races are compared by themselves, and ways to take locks in a circle are not counted."""
    bugs = [bug for bug in bugs if not str(bug).startswith(DATA_RACE)]
    yield from (bug.title for bug in bugs if not isinstance(bug, LockOrder))
    if any(isinstance(bug, LockOrder) for bug in bugs):
        yield LockOrder.title
