"""What executions teach of a program: what each task does after what it was told, and what each operation changes.

A task is deterministic. What it does next is a function of its history, which is what its operations returned: a `Node`
for each history makes a tree for each task. What an operation returns and changes is a function of the states of the
variables that it touches. Both are taken down from real executions, so nothing here knows what an operation means.

A mask is an integer with three bits for each variable: one each for additions, reads and writes of it.
"""

from __future__ import annotations

from collections.abc import Hashable
from random import Random
from typing import NamedTuple

from swaplab.explore.event import RCU, Variable
from swaplab.explore.program import ProgramError
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE

__all__ = [
    "ABSENT",
    "END",
    "KIND",
    "RELAXES",
    "Contradiction",
    "Footprint",
    "Learned",
    "Node",
    "Operation",
    "Place",
    "Taken",
    "What",
]

RELAXES = 1
"""Bit of a mask: waits until something has changed that it has touched."""
TOUCHES = {COMMUTE: 1, READ: 2, WRITE: 4}
DEPENDS = {COMMUTE: 2 | 4, READ: 1 | 4, WRITE: 1 | 2 | 4}
"""On which accesses of others one depends."""
KIND = READ | WRITE | COMMUTE


class Contradiction(ProgramError):  # noqa: N818
    """An execution contradicts what others taught: some state that matters is not watched, or not understood."""


class Footprint:
    """What an operation touches.

    Attributes:
        accesses: variables, and how each is touched.
        variables: their numbers.
        touches: mask of the accesses.
        depends: mask of the accesses that they depend on.
        noticed: variables that a task which relaxes has seen by this.
        tried: the same if the operation fails.
        changed: variables that wake such tasks by this.
    """

    __slots__ = ("accesses", "changed", "depends", "noticed", "touches", "tried", "variables")

    def __init__(self, accesses: tuple[tuple[Variable, int], ...], variables: tuple[int, ...]) -> None:
        self.accesses, self.variables = accesses, variables
        self.touches = self.depends = 0
        for number, (_, mode) in zip(variables, accesses, strict=True):
            self.touches |= TOUCHES[mode & KIND] << 3 * number + 1
            self.depends |= DEPENDS[mode & KIND] << 3 * number + 1
        kinds = [(number, mode & KIND) for number, (_, mode) in zip(variables, accesses, strict=True)]
        self.tried = frozenset(number for number, (name, _) in zip(variables, accesses, strict=True) if name != RCU)
        self.noticed = self.tried & frozenset(number for number, kind in kinds if kind != COMMUTE)
        self.changed = frozenset(number for number, kind in kinds if kind != READ)


What = tuple[str, int, str]
"""An operation, the number of the object it is done to, and the member."""


class Operation:
    """What a task is about to do.

    Attributes:
        what: it is, and what it is done to.
        footprint: what it touches; none if that depends on the states of `roots`.
        roots: the parts it is done to, by number of variable.
        entries: those of them that are entries of lists.
        footprints: what it touches, by the states of these, with the list that an entry is on, and its state.
        lock: variable that must be free for it.
        relaxes: whether it waits for a change.
        is_noticed: whether what it touches counts as seen by a task that relaxes.
        is_store: whether it overwrites the first variable that it touches, whatever that was.
        effects: what it returns and changes, by the states of what it touches; none if that is not all that
            it takes, as its arguments have no canonical form, or the called function is unknown.
    """

    __slots__ = (
        "effects",
        "entries",
        "footprint",
        "footprints",
        "is_noticed",
        "is_store",
        "lock",
        "relaxes",
        "roots",
        "what",
    )

    def __init__(self, what: What, footprint: Footprint | None) -> None:
        self.what, self.footprint = what, footprint
        self.roots: tuple[int, ...] = ()
        self.entries: frozenset[int] = frozenset()
        self.footprints: dict[tuple[int, ...], Footprint] = {}
        self.lock: int | None = None
        self.relaxes = False
        self.is_noticed = True
        self.is_store = False
        self.effects: dict[tuple[int, ...], Effect] | None = None


END = Operation(("end", 0, ""), Footprint((), ()))
"""What a task that has ended does next."""


class Place(NamedTuple):
    """Where a task stands.

    Attributes:
        operation: its next one.
        sections, ended: read sections that it has begun, and that are over.
        held: locks, by number of variable.
        made: objects it has made.
        waits: whether it waits for a grace period from here on.
        deferred: tasks that its last step made, how they begin, and whether each waits for a grace period.
        label: how texts call the next operation.
    """

    operation: Operation
    sections: int = 0
    ended: int = 0
    held: tuple[int, ...] = ()
    made: int = 0
    waits: bool = False
    deferred: tuple[tuple[int, Operation, bool], ...] = ()
    label: str = ""


Changes = tuple[tuple[int, int], ...]
"""Variables, and their new states."""
Awaited = tuple[tuple[int, frozenset[int]], ...]
"""Tasks that begin to wait, and for the ends of which tasks, all by number."""
Effect = tuple[Hashable, Changes, Awaited, bool]
"""What an operation returns and changes, who begins to wait, and whether it fails, so that it wakes no task."""


class Taken(NamedTuple):
    """One step of an execution.

    Attributes:
        task: its number.
        able: numbers of the tasks that could go on before it.
        roots: states of the parts that it was done to, if what it touches depends on them.
        footprint: what it touched.
        before: states of that.
        after: states of that then.
        result: what it returned, or the bug that the task met then.
        is_bug: whether that is one.
        awaited: tasks that begin to wait for ends of tasks.
        fails: whether it is an operation that has failed.
        place: where the task stands then.
    """

    task: int
    able: frozenset[int]
    roots: tuple[int, ...]
    footprint: Footprint
    before: tuple[int, ...]
    after: tuple[int, ...]
    result: Hashable
    is_bug: bool
    awaited: Awaited
    fails: bool
    place: Place


class Node:
    """A history of a task.

    Attributes:
        slot: number of the task among those that are known.
        parent: the history one step earlier; for work, that of the task about to defer it.
        place: where the task stands.
        operation, lock, held: of that.
        is_over: whether that is its end.
        is_special: whether a task begins to wait with it.
        bits: a random number that stands for this history.
        touches: mask of its next operation, in every state in which that was looked at.
        future: mask of whatever the task and work that it defers may still touch.
        behind: the same without what comes after taking one of some locks.
        grown: when these last did.
        next: histories by what the next operation returns.
        effects: what its next operation returns and changes, by the states of what it touches.
        own: the same where it is not the operation's alone: the task ends with a bug then, or a task waits.
        steps: where that leads to, by the states of what is touched.
        work: first histories of tasks that its next step may make.
    """

    __slots__ = (
        "behind",
        "bits",
        "effects",
        "future",
        "grown",
        "held",
        "is_over",
        "is_special",
        "lock",
        "next",
        "number",
        "operation",
        "own",
        "parent",
        "place",
        "slot",
        "started",
        "steps",
        "touches",
        "work",
    )

    def __init__(self, number: int, slot: int, parent: Node | None, place: Place, bits: int) -> None:
        self.number, self.slot, self.parent, self.place, self.bits = number, slot, parent, place, bits
        self.operation = place.operation
        self.is_over = place.operation is END
        self.lock = place.operation.lock
        self.held = frozenset(place.held)
        self.is_special = bool(place.deferred) or place.waits
        self.touches = self.future = self.grown = 0
        self.behind: dict[frozenset[int], int] = {}
        self.next: dict[Hashable, Node] = {}
        self.steps: dict[tuple[int, ...], tuple[Node, Changes, Awaited, bool]] = {}
        shared = place.operation.effects
        self.effects: dict[tuple[int, ...], Effect] = {} if shared is None else shared
        self.own: dict[tuple[int, ...], Effect] = {}
        self.work: list[Node] = []
        self.started: tuple[Node, ...] = ()

    def beyond(self, locks: frozenset[int]) -> int:
        """Return the mask of what its task may touch before it takes one of `locks`."""
        if not locks:
            return self.future
        found = self.behind.get(locks)
        if found is None:
            found = self._beyond(locks)
        return found

    def _beyond(self, locks: frozenset[int]) -> int:
        order, todo = [], [self]
        while todo:
            node = todo.pop()
            if locks not in node.behind:
                order.append(node)
                todo += [*node.next.values(), *node.work]
        for node in reversed(order):
            mask = 0
            if node.lock is None or node.lock not in locks:
                mask = node.touches
                for following in (*node.next.values(), *node.work):
                    mask |= following.behind[locks]
            node.behind[locks] = mask
        return self.behind[locks]


ABSENT = Node(-1, -1, None, Place(END), 0)
"""Of a task that is not there yet."""


class Learned:
    """All that is known.

    Attributes:
        nodes: histories.
        numbers: of tasks, by slot.
        slots: the other way round.
        roots: first histories of the tasks of the program.
        initial: states of variables after the set-up.
        made: the same of objects that tasks make, by number of the history in which they do.
        free: states of locks that are not held.
        lists: variables that are lists.
        wholes: what objects are embedded in.
        entries: variables that are the entries of a list, by its state.
        clock: goes on with whatever is learned.
        grown: when a future last grew.
        conflicts: how often it was learned that a task touches something.
        surprises: how often, of a history, that its task may wait for a change.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.numbers: list[int] = []
        self.slots: dict[int, int] = {}
        self.roots: list[Node] = []
        self.variables: dict[Variable, int] = {}
        self.names: list[Variable] = []
        self.states: dict[tuple[int, Hashable], int] = {}
        self.weights: list[int] = []
        self.initial: dict[int, int] = {}
        self.made: dict[tuple[int, int], int] = {}
        self.free: dict[int, int] = {}
        self.lists: dict[int, None] = {}
        self.wholes: dict[int, int] = {}
        self.entries: dict[int, frozenset[int]] = {}
        self.footprints: dict[tuple[tuple[Variable, int], ...], Footprint] = {}
        self.operations: dict[Hashable, Operation] = {}
        self.clock = self.grown = self.conflicts = self.surprises = 0
        self.used: list[int] = []
        self._random = Random(1)  # noqa: S311

    # Names

    def variable(self, variable: Variable) -> int:
        """Return the number of a variable."""
        number = self.variables.get(variable)
        if number is None:
            number = self.variables[variable] = len(self.names)
            self.names.append(variable)
        return number

    def state(self, variable: int, value: Hashable) -> int:
        """Return the number of a state of a variable."""
        number = self.states.get((variable, value))
        if number is None:
            number = self.states[variable, value] = len(self.weights)
            self.weights.append(self._random.getrandbits(128))
        return number

    def footprint(self, accesses: tuple[tuple[Variable, int], ...]) -> Footprint:
        """Return what touches these; the same for the same."""
        found = self.footprints.get(accesses)
        if found is None:
            found = Footprint(accesses, tuple(self.variable(variable) for variable, _ in accesses))
            self.footprints[accesses] = found
        return found

    def slot(self, task: int) -> int:
        """Return the slot of a task."""
        slot = self.slots.get(task)
        if slot is None:
            slot = self.slots[task] = len(self.numbers)
            self.numbers.append(task)
            self.used.append(0)
        return slot

    # Histories

    def node(self, slot: int, place: Place, parent: Node | None) -> Node:
        """Enter a history."""
        node = Node(len(self.nodes), slot, parent, place, self._random.getrandbits(128))
        self.nodes.append(node)
        self.clock += 1
        if place.operation.relaxes:
            self.touch(node, RELAXES)
        if place.operation.footprint:
            self.touch(node, place.operation.footprint.touches)
        return node

    def touch(self, node: Node, mask: int) -> None:
        """Enter that the next operation of a history may touch something."""
        if not mask & ~node.touches:
            return
        node.touches |= mask
        self.clock += 1
        if mask & ~self.used[node.slot]:
            self.used[node.slot] |= mask
            self.conflicts += 1
        self.grow(node, mask)

    def grow(self, node: Node | None, mask: int) -> None:
        """Enter that a history may still touch something, and so those may that it continues."""
        locks: set[int] = set()
        while node is not None:
            if node.lock is not None:
                locks.add(node.lock)
            if mask & ~node.future:
                self.surprises += mask & ~node.future & RELAXES
                node.future |= mask
                node.grown = self.grown = self.clock
            for each, found in node.behind.items():
                if mask & ~found and each.isdisjoint(locks):
                    node.behind[each] = found | mask
                    node.grown = self.grown = self.clock
            node = node.parent

    def follow(self, node: Node, result: Hashable, place: Place) -> Node:
        """Enter where a task stands after its next operation has returned something.

        Raises:
            Contradiction: it stood elsewhere before.
        """
        following = node.next.get(result)
        if following is None:
            following = node.next[result] = self.node(node.slot, place, node)
            following.started = tuple(self._work(node, *each) for each in place.deferred)
        elif following.place != place:
            raise Contradiction(f"task {self.numbers[node.slot]} does something else after the same")
        return following

    def _work(self, node: Node, task: int, start: Operation, waits: bool) -> Node:
        child = self.node(self.slot(task), Place(start, waits=waits), node)
        node.work.append(child)
        return child

    def teach(self, node: Node, taken: Taken) -> None:
        """Enter what an operation returned and changed.

        Raises:
            Contradiction: in the same states it did something else before.
        """
        operation = node.operation
        if operation.footprint is None:
            if operation.footprints.setdefault(taken.roots, taken.footprint) is not taken.footprint:
                raise Contradiction(f"{operation.what} touches something else in the same states")
        elif operation.footprint is not taken.footprint:
            raise Contradiction(f"{operation.what} touches something else")
        self.touch(node, taken.footprint.touches)
        states = zip(taken.footprint.variables, taken.before, taken.after, strict=True)
        changes = [(variable, after) for variable, before, after in states if before != after]
        known, before = node.own, taken.before
        if not taken.is_bug and not taken.awaited:
            known = node.effects
            if operation.is_store:
                before = taken.before[1:]
                changes = [(taken.footprint.variables[0], taken.after[0])]
        effect = taken.result, tuple(changes), taken.awaited, taken.fails
        if known.setdefault(before, effect) != effect:
            raise Contradiction(f"{operation.what} returns or changes something else in the same states")

    @staticmethod
    def effect(node: Node, before: tuple[int, ...]) -> Effect | None:
        """Return what the next operation returns and changes; none if it was not seen in such states."""
        found = node.own.get(before)
        if found is None:
            found = node.effects.get(before[1:] if node.operation.is_store else before)
        return found
