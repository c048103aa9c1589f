"""Every interleaving that matters, once: optimal dynamic partial-order reduction.

Abdulla, Aronis, Jonsson, Sagonas: "Source sets: a foundation for optimal dynamic partial order reduction", Journal of
the ACM 64(4), 2017. Of all executions that differ only in the order of independent operations (a Mazurkiewicz trace),
one is run. An execution shows which of its operations could have come in the other order; what has to run first for
that is remembered in a tree of sequences (a wakeup tree) at the point where the executions part. Sleep sets keep what
was run from being run again, and with the trees no execution is begun in vain.

Locks need care. Who waits for one cannot come before its release but before it was taken, so that is where such
executions part; and who waits for ever would have done something, had it come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from swaplab.explore.history import Accesses, dependent
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task

__all__ = ["Branch", "Node", "OptimalSearch", "Step", "insert", "still_asleep", "without"]


@dataclass(slots=True)
class Branch:
    """A step to take, and what to do after it.

    Attributes:
        task: number of who takes it.
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
        sleep: steps that lead to executions which were run, by who takes them.
        taken: the step that the present execution takes.
        others: steps still to be taken.
    """

    sleep: dict[int, Accesses]
    taken: Branch
    others: list[Branch]


class OptimalSearch:
    """A strategy that runs each trace once; `run` runs them all.

    Attributes:
        nodes: states of the present execution, by depth.
        base: depth of the state below which everything is to be run; -1 for the whole program.
        executions, steps: run.
        vain: executions that were begun in vain; the theory says none.
        reordered: operations that were run in both orders.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.base = -1
        self.executions = self.steps = self.vain = 0
        self.reordered: set[tuple[str, str]] = set()

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
        prefix = max(len(self.nodes) - 1, 0)
        is_left = True
        while is_left:
            is_left = self.step(explorer, prefix, prefix)
            if not self.slept and not visit():
                return False
            prefix = len(self.nodes) - 1
        return True

    def step(self, explorer: Explorer, prefix: int, new: int) -> bool:
        """Run one execution, and return whether there are more.

        Args:
            explorer: to run it.
            prefix: how many of its events are those of the last execution.
            new: the first whose races were not reversed yet.
        """
        self.slept = False
        explorer.execute(prefix)
        if self.slept:
            self.vain += 1
        else:
            self.executions += 1
            self.steps += explorer.depth
        self._reverse_races(explorer, new)
        return self._advance(explorer)

    def pick(self, explorer: Explorer) -> Task | None:
        """Follow what has to be run; otherwise go on with who is running, or with the first that does not sleep."""
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

    def _advance(self, explorer: Explorer) -> bool:
        """Go back to the deepest state with something left to run; return whether there is one."""
        while len(self.nodes) > self.base + 1:
            node = self.nodes[-1]
            if node.others:
                node.sleep[node.taken.task] = explorer.history.events[len(self.nodes) - 1].accesses
                node.taken = node.others.pop(0)
                return True
            self.nodes.pop()
        return False

    def _reverse_races(self, explorer: Explorer, prefix: int) -> None:
        """Remember what to run so that each race of new events is run the other way round."""
        history = explorer.history
        for number in range(prefix, len(history.events)):
            event = history.events[number]
            for first in event.races:
                names = sorted(history.events[each].label for each in (first, number))
                self.reordered.add((names[0], names[1]))
                self._reverse(explorer, first, Step(number, event.task, event.accesses, event.before))
        for task in explorer.tasks.values():
            holder = task.lock.holder if task.lock and not task.done else None
            if isinstance(holder, Task):
                taken = next(event for lock, event in holder.held if lock is task.lock)
                before, _ = explorer.known(task)
                if not before >> taken & 1:
                    self._reverse(explorer, taken, Step(len(history.events), task.number, task.accesses, before))

    def _reverse(self, explorer: Explorer, first: int, last: Step) -> None:
        """Have a race run the other way round.

        Args:
            explorer: with the history.
            first: the earlier event.
            last: the later one, or the one that never came because who would make it waits for a lock; needs what is
                before it whatever it is.
        """
        events, pasts = explorer.history.events, explorer.history.pasts
        between = [number for number in explorer.history.without(first) if number != last.number]
        sequence = [Step(number, events[number].task, events[number].accesses, pasts[number]) for number in between]
        for step in sequence:
            if dependent(step.accesses, last.accesses):
                last.needed |= step.needed
        self.want(first, [*sequence, last])

    def want(self, depth: int, sequence: list[Step]) -> bool:
        """Have a sequence run at a state, unless that was done or will be; return whether it is new there."""
        node = self.nodes[depth]
        return not _is_covered(node.sleep, sequence) and insert(node.others, sequence)


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


def insert(branches: list[Branch], sequence: list[Step]) -> bool:
    """Add a sequence to a tree, unless one that does the same is there; return whether it was added."""
    level = branches
    while sequence:
        for branch in level:
            rest = without(branch, sequence)
            if rest is None:
                continue
            if not branch.branches:
                return False
            sequence, level = rest, branch.branches
            break
        else:
            for step in sequence:
                branch = Branch(step.task, step.accesses)
                level.append(branch)
                level = branch.branches
            return True
    return False
