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

__all__ = ["OptimalSearch"]


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
        vain: executions that were begun in vain; the theory says none.
        reordered: operations that were run in both orders.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.vain = 0
        self.reordered: set[tuple[str, str]] = set()

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        """Run one execution after the other.

        Args:
            explorer: to run them.
            visit: called after each that is complete; returns whether to go on.

        Returns:
            Whether that were all.
        """
        prefix = 0
        with explorer.installed():
            while True:
                self.slept = False
                explorer.execute(prefix)
                if self.slept:
                    self.vain += 1
                elif not visit():
                    return False
                self._reverse_races(explorer, prefix)
                if not self._advance(explorer):
                    return True
                prefix = len(self.nodes) - 1

    def pick(self, explorer: Explorer) -> Task | None:
        """Follow what has to be run; otherwise go on with who is running, or with the first that does not sleep."""
        nodes = self.nodes
        if explorer.depth < len(nodes):
            return explorer.tasks[nodes[-1].taken.task]
        sleep: dict[int, Accesses] = {}
        if nodes:
            parent = nodes[-1]
            if parent.sleep:
                accesses = explorer.history.events[-1].accesses
                sleep = {task: step for task, step in parent.sleep.items() if not dependent(step, accesses)}
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
        while self.nodes:
            node = self.nodes[-1]
            node.sleep[node.taken.task] = explorer.history.events[len(self.nodes) - 1].accesses
            if node.others:
                node.taken = node.others.pop(0)
                return True
            self.nodes.pop()
        return False

    def _reverse_races(self, explorer: Explorer, prefix: int) -> None:
        """Remember what to run so that each race of new events is run the other way round."""
        history = explorer.history
        for number in range(prefix, len(history.events)):
            for first in history.events[number].races:
                names = sorted(history.events[each].label for each in (first, number))
                self.reordered.add((names[0], names[1]))
                self._reverse(explorer, first, number, history.events[number].accesses, history.events[number].before)
        for task in explorer.tasks.values():
            holder = task.lock.holder if task.lock and not task.done else None
            if isinstance(holder, Task):
                taken = next(event for lock, event in holder.held if lock is task.lock)
                before, _ = explorer.known(task)
                if not before >> taken & 1:
                    self._reverse(explorer, taken, -1, task.accesses, before, task.number)

    def _reverse(
        self, explorer: Explorer, first: int, second: int, accesses: Accesses, before: int, waiting: int = -1
    ) -> None:
        """Have a race run the other way round, unless that was done or will be.

        Args:
            explorer: with the history.
            first: the earlier event.
            second: the later one; -1 if it never came, because who would make it waits for a lock.
            accesses: of the later one.
            before: bits of the events before it, whatever it is.
            waiting: who would make it.
        """
        events = explorer.history.events
        steps = [number for number in explorer.history.without(first) if number != second]
        sequence = [_Step(number, events[number].task, events[number].accesses) for number in steps]
        needed = before
        for step in sequence:
            if dependent(step.accesses, accesses):
                needed |= explorer.history.pasts[step.number]
        last = _Step(second, waiting if second < 0 else events[second].task, accesses, needed)
        sequence.append(last)
        node = self.nodes[first]
        pasts = explorer.history.pasts
        if any(_is_weak_initial(task, step, sequence, pasts) for task, step in node.sleep.items()):
            return
        _insert(node.others, sequence, pasts)


@dataclass(slots=True)
class _Step:
    """An event to run elsewhere; `needed` are the bits of the events before it if it differs from its past there."""

    number: int
    task: int
    accesses: Accesses
    needed: int = -1


def _initial(task: int, sequence: list[_Step], pasts: list[int]) -> int | None:
    """Return where the first step of a task is if nothing before it in the sequence has to come first.

    -1 says that the task has no step in the sequence, None that something has to come first.
    """
    earlier = 0
    for at, step in enumerate(sequence):
        if step.task == task:
            needed = pasts[step.number] if step.needed < 0 else step.needed
            return None if needed & earlier else at
        earlier |= 1 << step.number
    return -1


def _is_weak_initial(task: int, accesses: Accesses, sequence: list[_Step], pasts: list[int]) -> bool:
    """Tell whether a task's next step may come before a sequence without changing what that does."""
    at = _initial(task, sequence, pasts)
    if at == -1:
        return not any(dependent(accesses, step.accesses) for step in sequence)
    return at is not None


def _insert(branches: list[Branch], sequence: list[_Step], pasts: list[int]) -> None:
    """Add a sequence to a tree, unless one that does the same is there."""
    level = branches
    while sequence:
        for branch in level:
            at = _initial(branch.task, sequence, pasts)
            if at is None or (at == -1 and any(dependent(branch.accesses, step.accesses) for step in sequence)):
                continue
            if at >= 0:
                sequence = sequence[:at] + sequence[at + 1 :]
            if not branch.branches:
                return
            level = branch.branches
            break
        else:
            for step in sequence:
                branch = Branch(step.task, step.accesses)
                level.append(branch)
                level = branch.branches
            return
