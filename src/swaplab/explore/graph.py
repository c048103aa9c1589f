"""A search of what was learned: states that can be reached, each once, and where they end.

A state is the history of every task, the states of all variables, and who waits for what. From a state only steps of a
persistent set are taken: tasks of which no other can, before one of them has gone on, do anything on which the next
operation of one of them depends. What others can do is what was learned of their futures, so a set that was right when
it was chosen is looked at again when these have grown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from swaplab.explore.learned import (
    ABSENT,
    RELAXES,
    Awaited,
    Changes,
    Contradiction,
    Footprint,
    Learned,
    Node,
    Operation,
)
from swaplab.explore.ordering import OBJECT_SHIFT

__all__ = ["Graph", "State", "Unknown"]

NOTHING: frozenset[int] = frozenset()
AWAKE = -1
"""Among what a task has touched: it was changed since."""

Owed = frozenset[tuple[int, int]]
"""Which task waits for which read section of which, by slot; for the end of a task if that is -1."""


class Unknown(Contradiction):
    """What was learned ends here; if that was just run, it should not."""

    def __init__(self) -> None:
        super().__init__("what was just run is not known")


class Waiting(NamedTuple):
    """Which task waits for what.

    Attributes:
        owed: read sections and tasks that must end first, by slot of the waiting task.
        touched: what tasks that may relax have touched since they did so last.
    """

    owed: dict[int, Owed]
    touched: dict[int, frozenset[int]]

    @property
    def key(self) -> object:
        """Tells it from others; none for nothing."""
        if not (self.owed or self.touched):
            return None
        return frozenset(self.owed.items()), frozenset(self.touched.items())


NOBODY = Waiting({}, {})


class _Surprise(Exception):  # noqa: N818
    """Tasks were learned to wait for changes of what they had touched before, of which states say nothing."""


class State:
    """A state that can be reached.

    Attributes:
        nodes: the history of each task, by slot.
        world: states of variables that differ from their first.
        waiting: which task waits for what.
        rest: key of that.
        bits: a number that stands for histories and world.
        parent, passed: the state before, and histories whose next operations lead from there to here, all of one task.
        done: bits of slots whose steps from here were taken.
        seen: when it was looked at last; -1 for never.
    """

    __slots__ = ("bits", "done", "nodes", "parent", "passed", "rest", "seen", "waiting", "world")

    def __init__(self, nodes: list[Node], world: dict[int, int], waiting: Waiting, rest: object, bits: int) -> None:
        self.nodes, self.world, self.waiting, self.rest, self.bits = nodes, world, waiting, rest, bits
        self.parent: State | None = None
        self.passed: tuple[Node, ...] = ()
        self.done = 0
        self.seen = -1

    @property
    def key(self) -> object:
        """Tells it from others."""
        return self.bits if self.rest is None else (self.bits, self.rest)

    @property
    def path(self) -> list[Node]:
        """Histories whose next operations lead to it, in turn."""
        found: list[Node] = []
        state = self
        while state.parent is not None:
            found += reversed(state.passed)
            state = state.parent
        return found[::-1]

    @property
    def end(self) -> object:
        """What was observed, if no task can go on: histories, and what has changed."""
        return tuple(node.number for node in self.nodes), frozenset(self.world.items())


class Graph:
    """States, and steps between them.

    Args:
        learned: what is known.
        run: called with a state and the slot of a task: runs for real how that goes on, and learns from it.

    Attributes:
        states: by key.
        ends: states in which no task can go on, by key.
        steps: taken.
    """

    def __init__(self, learned: Learned, run: Callable[[State, int], object]) -> None:
        self.learned = learned
        self.run = run
        self.states: dict[object, State] = {}
        self.ends: dict[object, State] = {}
        self.steps = 0
        self._conflicts = self._surprises = self._seen = -1
        self._leaps: list[tuple[State, tuple[Node, ...]]] = []
        self._others: list[int] = []

    # States

    def initial(self) -> State:
        """Return the state in which the tasks of the program begin."""
        return State([*self.learned.roots], {}, NOBODY, None, sum(node.bits for node in self.learned.roots))

    def value(self, state: State, variable: int) -> int:
        """Return the state of a variable that was not changed.

        Raises:
            Unknown: that was never seen.
        """
        learned = self.learned
        found = learned.initial.get(variable)
        if found is None:
            node = self.maker(state.nodes, variable)
            found = learned.made.get((node.number, variable))
            if found is None:
                raise Unknown
        return found

    def maker(self, nodes: list[Node], variable: int) -> Node:
        """Return the history in which a task made the object that a variable is of; `ABSENT` if the set-up did."""
        thing = self.learned.names[variable][0]
        task, made = (thing >> OBJECT_SHIFT) - 1, thing & (1 << OBJECT_SHIFT) - 1
        if task < 0:
            return ABSENT
        node = nodes[self.learned.slots[task]]
        while node.parent and node.parent.slot == node.slot and node.parent.place.made >= made:
            node = node.parent
        return node

    def current(self, state: State, variable: int) -> int:
        """Return the state of a variable."""
        found = state.world.get(variable)
        return self.value(state, variable) if found is None else found

    def footprint(self, state: State, operation: Operation) -> Footprint:
        """Return what an operation would touch.

        Raises:
            Unknown: it was not seen in such a state.
        """
        if operation.footprint is not None:
            return operation.footprint
        roots: list[int] = []
        for variable in operation.roots:
            roots.append(self.current(state, variable))
            if variable in operation.entries:
                roots += self._list_of(state, variable)
        found = operation.footprints.get(tuple(roots))
        if found is None:
            raise Unknown
        return found

    def _list_of(self, state: State, entry: int) -> list[int]:
        """Return the list that an entry is on, and its state; nothing if it is on none."""
        for variable in self.learned.lists:
            try:
                found = self.current(state, variable)
            except Unknown:
                continue  # it is not made yet
            if entry in self.learned.entries.get(found, ()):
                return [variable, found]
        return []

    def can_go_on(self, state: State, slot: int) -> bool:
        """Tell whether the next operation of a task can be done."""
        node = state.nodes[slot]
        if node.is_over:
            return False
        if node.lock is not None:
            return self.current(state, node.lock) == self.learned.free[node.lock]
        if node.operation.relaxes:
            return AWAKE in state.waiting.touched.get(slot, NOTHING)
        return slot not in state.waiting.owed

    def take(self, state: State, slot: int) -> State:
        """Return the state after the next step of a task.

        Raises:
            Unknown: its effect was not seen.
        """
        node = state.nodes[slot]
        world = state.world
        footprint = node.operation.footprint or self.footprint(state, node.operation)
        before = tuple([world[v] if v in world else self.value(state, v) for v in footprint.variables])
        following, changes, awaited, fails = node.steps.get(before) or self._lookup(node, before)
        nodes = state.nodes.copy()
        nodes[slot] = following
        new = State(nodes, world, state.waiting, state.rest, state.bits + following.bits - node.bits)
        new.parent, new.passed = state, (node,)
        if changes:
            new.world = world.copy()
            self._put(new, changes)
        if following.is_special or awaited or state.rest is not None or node.future & RELAXES:
            self._arrange(new, footprint, awaited, fails)
        return new

    def _lookup(self, node: Node, before: tuple[int, ...]) -> tuple[Node, Changes, Awaited, bool]:
        effect = self.learned.effect(node, before)
        following = node.next.get(effect[0]) if effect else None
        if effect is None or following is None:
            raise Unknown
        step = node.steps[before] = following, *effect[1:]
        return step

    def _put(self, new: State, changes: Changes) -> None:
        """Enter new states of variables; a world has only what differs from the first."""
        world, weights = new.world, self.learned.weights
        for variable, value in changes:
            first = self.value(new, variable)
            new.bits += weights[value] - weights[world.get(variable, first)]
            if value == first:
                world.pop(variable, None)
            else:
                world[variable] = value

    # Waiting

    def _arrange(self, new: State, footprint: Footprint, awaited: Awaited, fails: bool) -> None:
        """Enter whom a step has wait, and whom it lets go."""
        node = new.passed[0]
        following = new.nodes[node.slot]
        owed, touched = new.waiting
        if owed and (following.is_over or following.place.ended != node.place.ended):
            owed = _released(owed, following)
        if following.is_special or awaited:
            owed = self._begin(new, following, owed, awaited)
        if touched or node.future & RELAXES:
            noticed, changed = (footprint.tried, NOTHING) if fails else (footprint.noticed, footprint.changed)
            touched = self._noticed(new, node, noticed, changed)
        if owed is not new.waiting.owed or touched is not new.waiting.touched:
            new.waiting = Waiting(owed, touched)
            new.rest = new.waiting.key

    def _begin(self, new: State, following: Node, owed: dict[int, Owed], awaited: Awaited) -> dict[int, Owed]:
        """Enter tasks that a step makes, and return the tasks that wait then."""
        nodes, slots = new.nodes, self.learned.slots
        for child in following.started:
            nodes += [ABSENT] * (child.slot + 1 - len(nodes))
            nodes[child.slot] = child
            new.bits += child.bits
        found: dict[int, set[tuple[int, int]]] = {}
        for who, tasks in awaited:
            ends = {(slots[task], -1) for task in tasks if not nodes[slots[task]].is_over}
            found.setdefault(slots[who], set()).update(ends)
        waiting = [node.slot for node in (following, *following.started) if node.place.waits]
        sections = {(node.slot, node.place.sections) for node in nodes if node.place.sections > node.place.ended}
        for who in waiting:
            found.setdefault(who, set()).update(sections)
        return {**owed, **{who: frozenset(left) for who, left in found.items() if left}}

    @staticmethod
    def _noticed(new: State, node: Node, noticed: frozenset[int], changed: frozenset[int]) -> dict[int, frozenset[int]]:
        """Return what tasks have seen that may relax, and whom a change wakes."""
        touched = new.waiting.touched.copy()
        slot, operation = node.slot, node.operation
        if operation.relaxes:
            touched.pop(slot, None)
        elif operation.is_noticed and AWAKE not in touched.get(slot, NOTHING):
            touched[slot] = touched.get(slot, NOTHING) | noticed
        for other, seen in touched.items():
            if other != slot and not seen.isdisjoint(changed):
                touched[other] = frozenset([AWAKE])
        for other in [*touched]:
            if not new.nodes[other].future & RELAXES or not touched[other]:
                del touched[other]
        return new.waiting.touched if touched == new.waiting.touched else touched

    def leap(self, state: State, slot: int) -> State:
        """Take a step, and those of the same task after it which concern no other task."""
        new = self.take(state, slot)
        passed = new.passed
        while self._is_apart(new.nodes[slot]) and self.can_go_on(new, slot):
            try:
                new = self.take(new, slot)
            except Unknown:
                break
            passed += new.passed
        if len(passed) > 1:
            new.parent, new.passed = state, passed
            self._leaps.append((state, passed))
        return new

    # Persistent sets

    def _is_apart(self, node: Node) -> bool:
        """Tell whether no other task ever does anything on which a task's next operation depends."""
        footprint = node.operation.footprint
        return (
            footprint is not None and node.slot < len(self._others) and not footprint.depends & self._others[node.slot]
        )

    def _persistent(self, state: State, able: list[int]) -> list[int]:
        """Return the tasks that have to go on from here."""
        nodes = state.nodes
        for slot in able:
            if self._is_apart(nodes[slot]):
                return [slot]
        if state.passed and (last := state.passed[0].slot) in able:
            able = [last, *[slot for slot in able if slot != last]]  # most often it goes on alone
        best: list[int] = able
        for seed in able:
            found = self._closed(state, seed, able)
            if len(found) < len(best):
                best = found
                if len(best) == 1:
                    break
        return best

    def _closed(self, state: State, seed: int, able: list[int]) -> list[int]:
        """Return the persistent set that begins with one task."""
        nodes = state.nodes
        chosen = [seed]
        left = [(slot, node) for slot, node in enumerate(nodes) if not node.is_over and slot != seed]
        locks = NOTHING
        for slot in chosen:  # grows meanwhile
            node = nodes[slot]
            if node.held:
                locks |= node.held
            if slot in able:
                depends = (node.operation.footprint or self.footprint(state, node.operation)).depends
                more = [each for each in left if depends & each[1].beyond(locks)]
            else:
                needed = self._needed(state, slot)
                more = [each for each in left if each[0] in needed]
            if more:
                left = [each for each in left if each not in more]
                chosen += [other for other, _ in more]
                if not left:
                    break
        return [slot for slot in chosen if slot in able]

    def _needed(self, state: State, slot: int) -> list[int]:
        """Return tasks without one of which a task that cannot go on never will."""
        node = state.nodes[slot]
        alive = [(other, each) for other, each in enumerate(state.nodes) if not each.is_over]
        if node.lock is not None:
            return [other for other, each in alive if node.lock in each.place.held]
        if node.operation.relaxes:
            wakes = sum(0b101 << 3 * variable + 1 for variable in state.waiting.touched.get(slot, NOTHING))
            return [other for other, each in alive if other != slot and each.future & wakes]
        owed = sorted(state.waiting.owed[slot])
        return [] if any(state.nodes[other].is_over for other, _ in owed) else [owed[0][0]]

    # The search

    def close(self) -> None:
        """Take all steps that matter, running what is unknown, until nothing is."""
        clock = -1
        while clock != self.learned.clock:
            clock = self.learned.clock
            self._look_again()
            todo = [state for state in self.states.values() if self._is_due(state)]
            try:
                while todo:
                    todo += self._look_at(todo.pop())
            except _Surprise:
                clock = -1

    @staticmethod
    def _is_due(state: State) -> bool:
        """Tell whether a state was never looked at, or may be left in more ways than when it was."""
        seen = state.seen
        return seen < 0 or any(node.grown > seen for node in state.nodes)

    def _look_again(self) -> None:
        """Forget states that say too little, and steps that were taken together but are others' business, too."""
        learned = self.learned
        if self._surprises != learned.surprises:
            self._surprises, self._conflicts = learned.surprises, -1
            root = self.initial()
            self.states, self.ends, self._leaps = {root.key: root}, {}, []
        if self._conflicts == learned.conflicts:
            return
        self._conflicts = learned.conflicts
        self._look_around()
        left = []
        for state, passed in self._leaps:
            if all(self._is_apart(node) for node in passed[1:]):
                left.append((state, passed))
            else:
                state.done &= ~(1 << passed[0].slot)
                state.seen = -1
        self._leaps = left

    def _look_around(self) -> None:
        """Enter what all other tasks do, by slot."""
        learned = self.learned
        self._seen = learned.conflicts
        self._others = [0] * len(learned.used)
        for slot in range(len(learned.used)):
            for other, mask in enumerate(learned.used):
                if other != slot:
                    self._others[slot] |= mask

    def _look_at(self, state: State) -> list[State]:
        """Take the steps that have to be taken from a state; return states that are new."""
        if self._seen != self.learned.conflicts:
            self._look_around()
        state.seen = self.learned.clock
        able = []
        for slot, node in enumerate(state.nodes):
            if not node.is_over:
                if node.operation.footprint is None:
                    # Also of a task that never goes on: it could have come before what keeps it.
                    self._note(state, slot, node)
                if self.can_go_on(state, slot):
                    able.append(slot)
        if not able:
            self.ends[state.key] = state
            return []
        found = []
        for slot in self._persistent(state, able) if len(able) > 1 else able:
            if not state.done >> slot & 1:
                state.done |= 1 << slot
                self.steps += 1
                new = self._known(state, slot)
                key = new.key
                if key not in self.states:
                    self.states[key] = new
                    found.append(new)
        return found

    def _note(self, state: State, slot: int, node: Node) -> None:
        """Learn what an operation would touch here."""
        try:
            footprint = self.footprint(state, node.operation)
        except Unknown:
            self._run(state, slot)
            footprint = self.footprint(state, node.operation)
        self.learned.touch(node, footprint.touches)

    def _known(self, state: State, slot: int) -> State:
        try:
            return self.leap(state, slot)
        except Unknown:
            self._run(state, slot)
            return self.leap(state, slot)

    def _run(self, state: State, slot: int) -> None:
        self.run(state, slot)
        if self._surprises != self.learned.surprises:
            raise _Surprise


def _released(owed: dict[int, Owed], following: Node) -> dict[int, Owed]:
    """Return the tasks that still wait when a task has come to another history."""
    slot, ended, over = following.slot, following.place.ended, following.is_over
    waits = {}
    for who, before in owed.items():
        left = frozenset(
            (other, section)
            for other, section in before
            if other != slot or (ended < section if section >= 0 else not over)
        )
        if left:
            waits[who] = left
    return waits
