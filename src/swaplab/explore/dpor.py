"""Every interleaving that matters, once: optimal dynamic partial-order reduction.

Abdulla, Aronis, Jonsson, Sagonas: "Source sets: a foundation for optimal dynamic partial order reduction", Journal of
the ACM 64(4), 2017. Of all executions that differ only in the order of independent operations (a Mazurkiewicz trace),
one is run. An execution shows which of its operations could have come in the other order; what has to run first for
that is remembered in a tree of sequences (a wakeup tree) at the point where the executions part. That takes all such
pairs of all executions, also those that both were in the execution before: what else has happened since is part of the
sequence. Sleep sets keep what was run from being run again, and with the trees no execution is begun in vain.

Whatever a task has to wait for needs care. A task that waits for a lock cannot run before the release, only before the
lock was taken: executions part there. A task that never gets the lock must be tried first, too. A task that waits for a
change can be tried before one change only if another is left to wake it.

What an operation touches may depend on the state, as a list's neighbours do. A sequence that ends with such an
operation is run up to there, to see what it would touch if it came first; but if only the last write to its part
decides, it is enough that the same was once done after the same write. To guess too much would be wrong, too: a branch
of the tree that takes its place for what it does not touch stands in for others that are never run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from swaplab.explore.found import Findings
from swaplab.explore.history import Accesses, Event, History, Variable, dependent
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task
from swaplab.explore.verdict import EVERY_TRACE
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE

__all__ = ["Branch", "Node", "OptimalSearch", "Step", "insert", "still_asleep", "without"]


@dataclass(slots=True)
class Branch:
    """A step to take, and what to do after it.

    Attributes:
        task: number of the one that takes it.
        accesses: what that touches.
        branches: sequences to run after it; free to choose if there are none.
    """

    task: int
    accesses: Accesses
    branches: list[Branch] = field(default_factory=list)


@dataclass(slots=True)
class Step:
    """An event to run elsewhere; `needed` are the bits of the events before it."""

    number: int
    task: int
    accesses: Accesses
    needed: int


@dataclass(slots=True)
class Node:
    """A state on the way.

    Attributes:
        sleep: steps that lead to executions which were run, by the task that takes them.
        taken: the step that the present execution takes.
        others: steps still to be taken.
        asked: steps taken here, each with tasks whose steps were to be run instead, in turn.
    """

    sleep: dict[int, Accesses]
    taken: Branch
    others: list[Branch]
    asked: set[tuple[int, ...]] = field(default_factory=set)

    def copy(self) -> Node:
        """Return one that shares nothing with this, to be asked anew."""
        return Node({**self.sleep}, deepcopy(self.taken), deepcopy(self.others))


class LookAhead:
    """Runs what it is given up to before the last step, and looks what that is about to touch.

    Args:
        choices: numbers of tasks, in turn.
    """

    def __init__(self, choices: list[int]) -> None:
        self.choices = choices
        self.accesses: Accesses = ()

    def pick(self, explorer: Explorer) -> Task | None:
        """Return whose turn it is."""
        task = explorer.tasks[self.choices[explorer.depth]]
        if explorer.depth < len(self.choices) - 1:
            return task
        self.accesses = explorer.accesses(task)
        return None


class OptimalSearch:
    """A strategy that runs each trace once; `run` runs them all.

    Attributes:
        nodes: states of the present execution, by depth.
        kept: how many events the explorer's history still has of it.
        base: depth of the state below which everything is to be run; -1 for the whole program.
        findings: what breaks.
        traces: identities of those that were run, with their steps.
        vain: executions that were begun in vain or ran a trace again; the theory says none.
        reordered: operations that were run in both orders.
    """

    name = EVERY_TRACE
    limit = ""
    has_shortest = True
    knows_all = False

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.kept = 0
        self.base = -1
        self.findings = Findings()
        self.traces: dict[int, int] = {}
        self.vain = 0
        self.reordered: set[tuple[str, str]] = set()
        self._touched: dict[tuple[int, str, Variable], Accesses] = {}

    @property
    def executions(self) -> int:
        """How many traces were run."""
        return len(self.traces)

    @property
    def steps(self) -> int:
        """How many there were in all of them."""
        return sum(self.traces.values())

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run one execution after the other.

        Args:
            explorer: to run them.
            visit: called after each that is complete; returns whether to go on.

        Returns:
            Whether that were all.
        """
        with explorer.installed():
            return self.go_on(explorer, visit)

    def go_on(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run what is left, in an explorer that is installed; as `run`."""
        is_left = goes_on = True
        while is_left and goes_on:
            is_left, goes_on = self.step(explorer, visit)
        return goes_on

    def step(self, explorer: Explorer, visit: Callable[[], bool]) -> tuple[bool, bool]:
        """Run one execution.

        Args:
            explorer: to run it.
            visit: called if it is new; returns whether to go on.

        Returns:
            Whether there are more, and whether to go on.
        """
        self.slept = False
        repeated = min(self.kept, max(len(self.nodes) - 1, 0))
        explorer.execute(repeated)
        self.kept = explorer.depth
        for node, event in zip(self.nodes, explorer.history.events, strict=False):
            node.taken.accesses = event.accesses
        goes_on = True
        if not self.slept and self._enter(explorer):
            goes_on = visit()
            self._note_touched(explorer.history, repeated)
            self._reverse_races(explorer)
        else:
            self.vain += 1
        return self._advance(), goes_on

    def _enter(self, explorer: Explorer) -> bool:
        """Take an execution in; return whether it is new."""
        identity = explorer.history.identity
        if identity in self.traces:
            return False
        self.traces[identity] = explorer.depth
        if explorer.found:
            self.findings.look(explorer.execution(), explorer.found)
        return True

    def pick(self, explorer: Explorer) -> Task | None:
        """Follow what has to be run; otherwise go on with the running task, or the first that does not sleep."""
        nodes = self.nodes
        if explorer.depth < len(nodes):
            return explorer.tasks[nodes[explorer.depth].taken.task]
        sleep: dict[int, Accesses] = {}
        if nodes:
            parent = nodes[-1]
            if parent.sleep:
                sleep = still_asleep(parent.sleep, explorer.history.events[-1].accesses)
            if parent.taken.branches:
                taken, *others = parent.taken.branches
                nodes.append(Node(sleep, taken, others))
                return explorer.tasks[taken.task]
        task = explorer.task
        if not task or task.number in sleep or not explorer.can_go_on:
            task = next((each for each in explorer.able() if each.number not in sleep), None)
        if task:
            nodes.append(Node(sleep, Branch(task.number, task.accesses), []))
        else:
            self.slept = True
        return task

    def _advance(self) -> bool:
        """Go back to the deepest state with something left to run; return whether there is one."""
        while len(self.nodes) > self.base + 1:
            node = self.nodes[-1]
            if node.others:
                node.sleep[node.taken.task] = node.taken.accesses
                node.taken = node.others.pop(0)
                return True
            self.nodes.pop()
        return False

    def _reverse_races(self, explorer: Explorer) -> None:
        """Remember what to run so that each race is run the other way round."""
        events = explorer.history.events
        moving: list[tuple[int, list[Step], bool]] = []
        for first, number, others in self._races(explorer):
            names = sorted((events[first].label, events[number].label))
            self.reordered.add((names[0], names[1]))
            event = events[number]
            last = Step(number, event.task, event.accesses, event.before)
            sequence = [*_steps(explorer, others), last]
            if event.moves and not self._is_known(explorer.history, first, last, event):
                moving.append((first, sequence, event.roams))
            else:
                self.want(first, _settled(sequence))
        for task in explorer.tasks.values():
            holder = task.lock._holder if task.lock and not task.done else None
            if isinstance(holder, Task):
                taken = next(event for lock, event in holder.held if lock is task.lock)
                before, _ = explorer.known(task)
                if not before >> taken & 1:
                    last = Step(len(events), task.number, task.accesses, before)
                    self.want(taken, _settled([*_steps(explorer, explorer.history.without(taken)), last]))
        # Only now, as finding out what they touch takes other executions.
        for first, sequence, roams in moving:
            if roams or self._may_be_new(first, sequence):
                sequence[-1].accesses = self._look_ahead(explorer, first, sequence)
                self.want(first, _settled(sequence))

    def _races(self, explorer: Explorer) -> Iterator[tuple[int, int, list[int]]]:
        """Return the races of an execution that can be reversed, but those whose other order was asked for before.

        With each come the other events after the earlier one that do not depend on it.
        """
        events = explorer.history.events
        tasks = [event.task for event in events]
        without: dict[int, list[int]] = {}
        for number, event in enumerate(events):
            for first in event.races:
                if first not in without:
                    without[first] = [*explorer.history.without(first)]
                node = self.nodes[first]
                others = [each for each in without[first] if each != number]
                asked = (tasks[first], tasks[number], *[tasks[each] for each in others])
                if asked in node.asked:
                    continue
                node.asked.add(asked)
                if not event.wakers or self._is_woken(event.wakers, first, others):
                    yield first, number, others

    def _note_touched(self, history: History, since: int) -> None:
        """Enter what operations from event `since` on touch, if only the last write to their part decides."""
        for number, event in enumerate(history.events[since:], since):
            if event.moves and not event.roams:
                self._touched[_decisive(history, number, event)] = event.accesses

    def _is_known(self, history: History, first: int, last: Step, event: Event) -> bool:
        """Enter what the last step of a sequence touches that does without event `first`; return whether it is known.

        Nothing of the sequence writes to what both touch: that would depend on `first`.
        """
        known = None if event.roams else self._touched.get(_decisive(history, first, event))
        last.accesses = known or last.accesses
        return known is not None

    def _may_be_new(self, depth: int, sequence: list[Step]) -> bool:
        """Tell whether a sequence is new at a state, in whichever way its last step touches what it does."""
        *between, last = sequence
        for kind in (READ, WRITE, COMMUTE):
            accesses = tuple((variable, kind) for variable, _ in last.accesses)
            step = Step(last.number, last.task, accesses, last.needed)
            if _is_new(self.nodes[depth], _settled([*between, step])):
                return True
        return False

    def _look_ahead(self, explorer: Explorer, depth: int, sequence: list[Step]) -> Accesses:
        """Return what the last step of a sequence touches if the sequence is run at a state."""
        self.kept = min(self.kept, depth)
        ahead = LookAhead([node.taken.task for node in self.nodes[:depth]] + [step.task for step in sequence])
        explorer.strategy = ahead
        explorer.execute(self.kept)
        explorer.strategy = self
        return ahead.accesses

    @staticmethod
    def _is_woken(wakers: int, first: int, others: list[int]) -> bool:
        """Tell whether a change is left that wakes a task if nothing happens that depends on event `first`."""
        return bool(wakers & ((1 << first) - 1)) or any(wakers >> number & 1 for number in others)

    def want(self, depth: int, sequence: list[Step]) -> bool:
        """Have a sequence run at a state, unless that was done or will be; return whether it is new there."""
        node = self.nodes[depth]
        return not _is_covered(node.sleep, sequence) and insert(node.others, sequence)


def _decisive(history: History, until: int, event: Event) -> tuple[int, str, Variable]:
    """Return what decides how an operation on one part touches that: which write was the last before event `until`."""
    variable = event.accesses[0][0]
    for number in range(until - 1, -1, -1):
        for touched, mode in history.events[number].accesses:
            if touched == variable and mode & WRITE:
                return history.hashes[number], event.what, variable
    return 0, event.what, variable


def _steps(explorer: Explorer, numbers: Iterable[int]) -> list[Step]:
    """Return events of an execution as steps to run elsewhere."""
    events, pasts = explorer.history.events, explorer.history.pasts
    return [Step(number, events[number].task, events[number].accesses, pasts[number]) for number in numbers]


def _settled(sequence: list[Step]) -> list[Step]:
    """Enter what the last step of a sequence needs: whatever it depends on, and what that needs."""
    *between, last = sequence
    for step in between:
        if dependent(step.accesses, last.accesses):
            last.needed |= step.needed
    return sequence


def _is_new(node: Node, sequence: list[Step]) -> bool:
    return not _is_covered(node.sleep, sequence) and _place(node.others, sequence) is not None


def still_asleep(sleep: dict[int, Accesses], accesses: Accesses) -> dict[int, Accesses]:
    """Return what a step does not wake."""
    return {task: step for task, step in sleep.items() if not dependent(step, accesses)}


def _initial(task: int, sequence: list[Step]) -> int | None:
    """Return where the first step of a task is if nothing before it in the sequence has to come first.

    -1 says that the task has no step in the sequence, None that something has to come first.
    """
    earlier = 0
    for at, step in enumerate(sequence):
        if step.task == task:
            return None if step.needed & earlier else at
        earlier |= 1 << step.number
    return -1


def _is_covered(sleep: dict[int, Accesses], sequence: list[Step]) -> bool:
    """Tell whether a step that sleeps may come before a sequence without changing what that does."""
    return any(without(Branch(task, accesses), sequence) is not None for task, accesses in sleep.items())


def without(branch: Branch, sequence: list[Step]) -> list[Step] | None:
    """Return what is left of a sequence after a step that may come before it; None if that changes what it does."""
    at = _initial(branch.task, sequence)
    if at == -1:
        return None if any(dependent(branch.accesses, step.accesses) for step in sequence) else sequence
    return None if at is None else sequence[:at] + sequence[at + 1 :]


def _place(branches: list[Branch], sequence: list[Step]) -> tuple[list[Branch], list[Step]] | None:
    """Return where in a tree a sequence belongs, and what is left of it there; none if what does the same is there."""
    level = branches
    while sequence:
        for branch in level:
            rest = without(branch, sequence)
            if rest is None:
                continue
            if not branch.branches:
                return None
            sequence, level = rest, branch.branches
            break
        else:
            return level, sequence
    return None


def insert(branches: list[Branch], sequence: list[Step]) -> bool:
    """Add a sequence to a tree, unless one that does the same is there; return whether it was added."""
    place = _place(branches, sequence)
    if place is None:
        return False
    level, rest = place
    for step in rest:
        branch = Branch(step.task, step.accesses)
        level.append(branch)
        level = branch.branches
    return True
