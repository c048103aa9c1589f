"""The same execution with fewer interruptions.

Executions that differ only in the order of independent operations are the same. Of all these orders the one is looked
for in which the fewest tasks are interrupted that could have gone on. A task is left running as long as it may do its
next operation: to do that later would save no interruption. What is left is to choose who goes on otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swaplab.explore.history import Event, History, Variable

__all__ = ["Execution", "Order", "fewest_preemptions"]

STATES_MAX = 20_000
"""How many states are looked at for one order: a second or two."""


class Execution(NamedTuple):
    """What there is to know of an execution that has ended.

    Attributes:
        history: what happened.
        pending: the locks that tasks still wait for, by task.
    """

    history: History
    pending: dict[int, Variable]


class Order(NamedTuple):
    """An order of the events of an execution, or of those that lead to a bug. The least is the shortest.

    Attributes:
        preemptions: tasks interrupted that could have gone on.
        steps: number of events.
        choices: numbers of tasks, in turn.
        is_fewest: whether no order of these events has fewer preemptions.
    """

    preemptions: int
    steps: int
    choices: tuple[int, ...]
    is_fewest: bool


class _State(NamedTuple):
    """Where a search for an order is.

    Attributes:
        done: bits of the events so far.
        running: the task whose event was the last; -1 at first.
        preemptions: so far.
        choices: so far.
    """

    done: int
    running: int
    preemptions: int
    choices: tuple[int, ...]


class _Orders:
    """Orders of the events in `past`, a set of bits that holds with each event all that it depends on."""

    def __init__(self, execution: Execution, past: int) -> None:
        self.pending = execution.pending
        self.events = execution.history.events
        self.pasts = execution.history.pasts
        self.past = past
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
        """Return the next event of a task if it is of the past, and everything that it depends on is done."""
        number = self.next_of(task, done)
        if number is None or not self.past >> number & 1:
            return None
        return None if self.pasts[number] & ~done & ~(1 << number) else number

    def as_executed(self) -> Order:
        """Return the order in which the events were executed."""
        state = _State(0, -1, 0, ())
        for number, event in enumerate(self.events):
            if self.past >> number & 1:
                is_interrupted = event.task != state.running >= 0 and self.could_go_on(state.running, state.done)
                preemptions = state.preemptions + is_interrupted
                state = _State(state.done | 1 << number, event.task, preemptions, (*state.choices, event.task))
        return Order(state.preemptions, len(state.choices), state.choices, is_fewest=False)

    def step(self, state: _State, number: int, cost: int) -> _State:
        """Go on with an event, and with what its task may do after it."""
        event: Event = self.events[number]
        done, choices = state.done, [*state.choices]
        following: int | None = number
        while following is not None:
            done |= 1 << following
            choices.append(event.task)
            following = self.may(event.task, done)
        return _State(done, event.task, state.preemptions + cost, tuple(choices))

    def successors(self, state: _State) -> Iterator[_State]:
        """Return where one can go on from a state."""
        cost = int(state.running >= 0 and self.could_go_on(state.running, state.done))
        for task in sorted(self.of_task):
            number = None if task == state.running else self.may(task, state.done)
            if number is not None:
                yield self.step(state, number, cost)


def fewest_preemptions(execution: Execution, past: int, known: Order | None) -> Order | None:
    """Return the shortest order of the events in `past`, a set of bits, if it is shorter than one that is known."""
    steps = past.bit_count()
    orders = _Orders(execution, past)
    preemptions_max = known.preemptions - (steps > known.steps) if known else len(orders.events)
    states = 0
    for preemptions in range(preemptions_max + 1):
        seen: dict[tuple[int, int], int] = {}
        left = [_State(0, -1, 0, ())]
        while left:
            state = left.pop()
            if state.done == past:
                order = Order(state.preemptions, steps, state.choices, is_fewest=True)
                return order if known is None or order < known else None
            key = (state.done, state.running)
            if seen.get(key, preemptions + 1) <= state.preemptions:
                continue
            seen[key] = state.preemptions
            left += [each for each in reversed([*orders.successors(state)]) if each.preemptions <= preemptions]
            states += 1
            if states == STATES_MAX:
                return orders.as_executed() if known is None else None
    return None
