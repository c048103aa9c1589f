"""The same execution with fewer interruptions.

Executions that differ only in the order of independent operations are the same. Of all these orders the one is looked
for in which the fewest tasks are interrupted that could have gone on. A task is left running as long as it may do an
operation that leads to the bug: to do that later would save no interruption. What is left is to choose who goes on
otherwise, and whether a task first does what does not lead to the bug, so that it need not be interrupted.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from swaplab.explore.history import History, Variable

__all__ = ["Execution", "Order", "fewest_preemptions"]

STATES_MAX = 2_000
"""How many states are looked at for one order: a fraction of a second."""


class Execution(NamedTuple):
    """What there is to know of an execution that has ended.

    Attributes:
        history: what happened.
        pending: the locks that tasks still wait for, by task.
    """

    history: History
    pending: dict[int, Variable]


class Order(NamedTuple):
    """An order of the events of an execution, up to where a bug is met. The least is the shortest.

    Attributes:
        preemptions: tasks interrupted that could have gone on.
        steps: number of events.
        choices: numbers of tasks, in turn.
    """

    preemptions: int
    steps: int
    choices: tuple[int, ...]


class _State(NamedTuple):
    """Where a search for an order is; the least is looked at first.

    Attributes:
        preemptions: so far.
        steps: so far and still to come, but for what does not lead to the bug.
        choices: so far.
        done: bits of these events.
    """

    preemptions: int
    steps: int
    choices: tuple[int, ...]
    done: int

    @property
    def running(self) -> int:
        """The task whose event was the last; -1 at first."""
        return self.choices[-1] if self.choices else -1


class _Orders:
    """Orders of the events in `past`, a set of bits that holds with each event all that it depends on."""

    def __init__(self, execution: Execution, past: int) -> None:
        self.pending = execution.pending
        self.events = execution.history.events
        self.pasts = execution.history.pasts
        self.past = past
        self.start = _State(0, past.bit_count(), (), 0)
        self.of_task: dict[int, list[int]] = {}
        self.sections: dict[Variable, list[tuple[int, int]]] = {}
        for number, event in enumerate(self.events):
            self.of_task.setdefault(event.task, []).append(number)
            if event.opener >= 0:
                self.sections.setdefault(event.accesses[0][0], []).append((1 << event.opener, 1 << number))
        released = {opened for each in self.sections.values() for opened, _ in each}
        for number, event in enumerate(self.events):
            if event.waits and 1 << number not in released:
                self.sections.setdefault(event.accesses[0][0], []).append((1 << number, 0))

    def next_of(self, task: int, done: int) -> int | None:
        """Return the next event of a task, whether it is in the past or not."""
        return next((number for number in self.of_task.get(task, ()) if not done >> number & 1), None)

    def is_held(self, lock: Variable, done: int) -> bool:
        """Tell whether a lock is held after some events."""
        return any(done & taken and not done & given for taken, given in self.sections.get(lock, ()))

    def could_go_on(self, task: int, done: int) -> bool:
        """Tell whether a task could do its next operation, here or in another execution."""
        number = self.next_of(task, done)
        if number is None:
            return task in self.pending and not self.is_held(self.pending[task], done)
        event = self.events[number]
        if event.waits:
            return not self.is_held(event.accesses[0][0], done)
        return not event.before & ~done and (not event.wakers or bool(event.wakers & done))

    def may(self, task: int, done: int) -> int | None:
        """Return the next event of a task if everything that it depends on is done."""
        number = self.next_of(task, done)
        return None if number is None or self.pasts[number] & ~done & ~(1 << number) else number

    def leads(self, task: int, done: int) -> int | None:
        """Return the next event of a task if it may be next, and leads to the bug."""
        number = self.may(task, done)
        return number if number is not None and self.past >> number & 1 else None

    def as_executed(self) -> Order:
        """Return the order in which the events were executed, without those that do not lead to the bug."""
        state = self.start
        for number, event in enumerate(self.events):
            if self.past >> number & 1:
                is_interrupted = event.task != state.running >= 0 and self.could_go_on(state.running, state.done)
                state = self.run(state, event.task, number, is_interrupted)
        return Order(*state[:3])

    def run(self, state: _State, task: int, number: int, cost: int) -> _State:
        """Go on with an event."""
        steps = state.steps + (not self.past >> number & 1)
        return _State(state.preemptions + cost, steps, (*state.choices, task), state.done | 1 << number)

    def switch(self, state: _State, task: int, cost: int) -> _State:
        """Go on with what a task may do that leads to the bug."""
        while (number := self.leads(task, state.done)) is not None:
            state = self.run(state, task, number, cost)
            cost = 0
        return state

    def finish(self, state: _State) -> _State:
        """Let the task that runs do whatever it may, until the bug is met."""
        task = state.running
        while self.past & ~state.done and (number := self.may(task, state.done)) is not None:
            state = self.run(state, task, number, 0)
        return state

    def successors(self, state: _State) -> list[_State]:
        """Return where one can go on from a state.

        If no task is interrupted, and one can run to its end, it does: that costs nothing, then or later.
        """
        running, done = state.running, state.done
        cost = int(running >= 0 and self.could_go_on(running, done))
        found = [self.finish(state)] if cost else []
        for task in sorted(self.of_task):
            if task != running and self.leads(task, done) is not None:
                following = self.switch(state, task, cost)
                if (
                    not cost
                    and self.next_of(task, following.done) is None
                    and not self.could_go_on(task, following.done)
                ):
                    return [following]
                found.append(following)
        return found


def fewest_preemptions(execution: Execution, past: int, known: Order | None) -> tuple[Order | None, bool]:
    """Look for the shortest order of an execution up to a bug.

    Args:
        execution: in which the bug was met.
        past: bits of the events that lead to it.
        known: of another execution with the same bug.

    Returns:
        The order, if it is shorter than what is known, and whether all were looked at: there may be too many.
    """
    orders = _Orders(execution, past)
    left = [orders.start]
    seen: set[tuple[int, int]] = set()
    while left and (known is None or left[0][:2] < known[:2]):
        state = heappop(left)
        if not past & ~state.done:
            return Order(*state[:3]), True
        if (key := (state.done, state.running)) in seen:
            continue
        seen.add(key)
        for each in orders.successors(state):
            heappush(left, each)
        if len(seen) == STATES_MAX:
            return None if known else orders.as_executed(), False
    return None, True
