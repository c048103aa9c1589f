"""Every observation once: about one execution for all that tell their tasks the same and end in the same state.

Executions teach what tasks do (`learned`). That is searched for states (`graph`), and where nothing is known yet, the
next execution is run. docs/internals/explore.md says why nothing is missed. What cannot be told from observations is
left to a search that runs every trace: data races that no lock keeps from happening, how few interruptions something
takes that breaks, and a program of which an execution contradicts what others have taught.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.found import Findings, first_ones
from swaplab.explore.graph import Graph, State
from swaplab.explore.learned import ABSENT, Contradiction, Learned, Node, Taken
from swaplab.explore.protection import unprotected, unsure
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task
from swaplab.explore.verdict import EVERY_OBSERVATION, EVERY_TRACE
from swaplab.explore.witness import Witness, announced

__all__ = ["EveryObservation"]

BREAKS = "something breaks"
SAMPLED = 8
"""Of so many executions one is held to what is known from its beginning; and as many at first."""


class _Stopped(Exception):  # noqa: N818
    """The observer of executions wants no more."""


class EveryObservation:
    """A strategy that runs about one execution for each observation.

    Args:
        reference: runs every trace where that is needed.

    Attributes:
        findings: what breaks.
        reordered: operations that were run in both orders.
        before: executions that were run before every trace was.
        reason: why that was; nothing if it was not.
        knows_all: whether nothing breaks but what was found, whatever the reference has left out.
    """

    limit = ""

    def __init__(self, reference: OptimalSearch | None = None) -> None:
        self.findings = Findings()
        self.reason = ""
        self.knows_all = False
        self.reference = reference or OptimalSearch()
        self.before = self._steps = 0
        self.reordered: set[tuple[str, str]] = set()
        self._hidden: set[tuple[str, str]] = set()
        self._orders: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        """What was run."""
        if self.reason == BREAKS:
            return EVERY_TRACE
        return f"{EVERY_TRACE}, as {self.reason}" if self.reason else EVERY_OBSERVATION

    @property
    def has_shortest(self) -> bool:
        """Whether it has run every trace."""
        return bool(self.reason)

    @property
    def executions(self) -> int:
        """How many were run that differ: once every trace is, those before are among them."""
        return self.reference.executions or self.before

    @property
    def steps(self) -> int:
        """How many there were in all of them."""
        return self.reference.steps or self._steps

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run executions, with `visit` after each, which says whether to go on; return whether it always did."""
        is_complete = self._run(explorer, visit)
        both = {(one, other) for one, other in self._orders if one <= other and (other, one) in self._orders}
        self.reordered = both | self.reference.reordered
        return is_complete

    def _run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        try:
            self._observe(explorer, visit)
        except Contradiction as error:
            self.reason = f"an execution is not what others were: {error}"
        except _Stopped:
            return False
        else:
            self.reason = self._doubt()
            self.knows_all = not self.reason
            if self.findings.shortest:
                self.reason = self.reason or BREAKS
            self.reason = self.reason or self._disorder(explorer.history.ordering.unsure)
        if not self.reason:
            return True
        explorer.strategy = self.reference
        explorer.is_repeating = True
        self.reference.findings = self.findings
        return self.reference.run(explorer, visit)

    def _disorder(self, seen: set[tuple[str, str]]) -> str:
        """Add to what executions are not sure of what may be in others; say so if that alone is in doubt."""
        pairs = unsure(self.learned)
        if pairs and not seen:
            return "observations do not tell whether it carries over to Linux's memory order"
        seen |= pairs
        return ""

    def _doubt(self) -> str:
        """Say what observations do not tell, if there is anything."""
        if self._hidden - self.findings.shortest.keys():
            return "some of what breaks was met only after something else"
        variables = unprotected(self.learned)
        if not variables:
            return ""
        thing, member = variables[0]
        return f"locks do not keep accesses apart: {member} of object {thing}"

    def _observe(self, explorer: Explorer, visit: Callable[[], bool]) -> None:
        """Run executions until nothing is unknown, and no observation is left out.

        Raises:
            Contradiction: an execution is not what others have taught.
            _Stopped: `visit` said so.
        """
        self.explorer, self.visit = explorer, visit
        self.learned = Learned()
        self.graph = Graph(self.learned, self.execute)
        self._ran: set[object] = set()
        explorer.is_repeating = False  # not before an execution was learned from, which is of its own objects
        with explorer.installed():
            self.execute(None)
            clock = -1
            while clock != self.learned.clock:
                clock = self.learned.clock
                self.graph.close()
                for state in [*self.graph.ends.values()]:
                    if state.end not in self._ran:
                        self.execute(state)

    # Executions

    def execute(self, state: State | None, slot: int = -1) -> None:
        """Run an execution that comes through a state and goes on with a step of a task, if any; learn from it.

        A sample of executions is held to what was learned from their beginning on, others from that state on.
        """
        path = state.path if state else []
        is_sample = self.before < SAMPLED or self.before % SAMPLED == 0
        self.known: list[Node] = [] if is_sample else path
        self.nodes = [*state.nodes] if state and self.known else []
        self.schedule = [node.slot for node in path[len(self.known) :]] + [slot] * (slot >= 0)
        self.witness: Witness | None = None
        explorer = self.explorer
        explorer.execute(self._repeated())
        self.before += 1
        self._steps += explorer.depth
        if self.witness or not self.known:
            self._learn(self.witness or self._begin())
        elif state and explorer.depth == len(self.known):
            self._ran.add(state.end)
        else:
            raise Contradiction("an execution ends that was expected to go on")
        self._look(explorer)
        explorer.repeat_sample()
        if not self.visit():
            raise _Stopped

    def _look(self, explorer: Explorer) -> None:
        """Take in what has broken, and in which order operations came that could come in the other."""
        events = explorer.history.events
        self._orders.update((events[first].label, event.label) for event in events for first in event.races)
        if found := explorer.found:
            self.findings.look(explorer.execution(), found)
            shown = [*first_ones(found)]
            self._hidden.update((each.bug.title, str(each.bug)) for each in found if each not in shown)

    def _repeated(self) -> int:
        """Return how many steps of what is known are those of the last execution."""
        numbers = self.learned.numbers
        pairs = zip(self.known, self.explorer.history.events, strict=False)
        return sum(1 for _ in takewhile(lambda pair: numbers[pair[0].slot] == pair[1].task, pairs))

    def pick(self, explorer: Explorer) -> Task:
        """Follow the known steps, then the schedule, then go on with the running task, or the first that can.

        Raises:
            Contradiction: that is not possible here.
        """
        depth = explorer.depth
        if depth < len(self.known):
            node = self.known[depth]
            return self._expected(explorer, node.slot, node)
        if self.witness is None:
            self.witness = self._begin()
        self.witness.look()
        depth -= len(self.known)
        if depth < len(self.schedule):
            task = self._expected(explorer, self.schedule[depth], None)
        else:
            task = explorer.task if explorer.can_go_on and explorer.task else explorer.able()[0]
        self.witness.begin(task)
        return task

    def _expected(self, explorer: Explorer, slot: int, node: Node | None) -> Task:
        task = explorer.tasks.get(self.learned.numbers[slot])
        if task is None or not task.can_run or (node and announced(task) != node.operation.what):
            raise Contradiction(f"{task.name if task else slot} does something else at step {explorer.depth}")
        return task

    def _begin(self) -> Witness:
        """Begin to take down an execution where what is known ends."""
        learned, explorer = self.learned, self.explorer
        witness = Witness(explorer, learned)
        if not self.known:
            places = witness.places()
            if not learned.roots:
                slots = [learned.slot(number) for number in explorer.tasks]
                learned.roots += [learned.node(*each, None) for each in zip(slots, places, strict=True)]
            elif [node.place for node in learned.roots] != places:
                raise Contradiction("the tasks begin with something else")
            self.nodes = [*learned.roots]
        elif not self.schedule:
            raise Contradiction("an execution goes on that was expected to end")
        return witness

    def _learn(self, witness: Witness) -> None:
        """Take in what an execution has shown.

        Raises:
            Contradiction: that cannot be, after what others have.
        """
        learned, nodes = self.learned, self.nodes
        witness.finish()
        for taken in witness.steps:
            node = nodes[learned.slots[taken.task]]
            learned.teach(node, taken)
            following = learned.follow(node, taken.result, taken.place)
            nodes[node.slot] = following
            for child in following.started:
                nodes += [ABSENT] * (child.slot + 1 - len(nodes))
                nodes[child.slot] = child
        self._enter_initial(nodes, witness.met)
        learned.wholes |= self.explorer.history.ordering.wholes
        state = self.graph.initial()
        for node in self.known:
            state = self.graph.take(state, node.slot)
        self._check(state, witness.steps)

    def _enter_initial(self, nodes: list[Node], met: dict[int, int]) -> None:
        """Enter in which states variables were when they were met first.

        Raises:
            Contradiction: in others than before.
        """
        learned = self.learned
        for variable, state in met.items():
            node = self.graph.maker(nodes, variable)
            if node is ABSENT:
                first = learned.initial.setdefault(variable, state)
            else:
                first = learned.made.setdefault((node.number, variable), state)
            if first != state and not self.known:
                raise Contradiction(f"{learned.names[variable]} begins in another state")

    def _check(self, state: State, steps: list[Taken]) -> None:
        """Go the same way through what was learned.

        Raises:
            Contradiction: that leads elsewhere.
        """
        learned, graph = self.learned, self.graph
        for number, taken in enumerate(steps, len(self.known)):
            able = [learned.numbers[slot] for slot in range(len(state.nodes)) if graph.can_go_on(state, slot)]
            if frozenset(able) != taken.able:
                raise Contradiction(f"{able} can go on in step {number}, and {sorted(taken.able)} could")
            states = tuple([graph.current(state, variable) for variable in taken.footprint.variables])
            if states != taken.before:
                raise Contradiction(f"step {number} meets other states of {taken.footprint.accesses}")
            state = graph.take(state, learned.slots[taken.task])
        self._ran.add(state.end)
