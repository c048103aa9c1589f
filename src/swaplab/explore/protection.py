"""Which accesses locks keep apart, in every execution, as far as that follows from what each task does.

Two accesses of one variable with a lock in common are ordered, whoever comes first: they are no data race. What a task
does before it defers work is ordered before that work. Of all other pairs nothing is said: which executions order them
is not a question of what tasks are told, so that is left to a search that runs every trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from swaplab.explore.history import Variable
from swaplab.explore.learned import Learned, Node
from swaplab.explore.ordering import OBJECT_SHIFT
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, LOCK, PLAIN, RACY, READ, RELEASE, RMW, STRONG, WRITE

__all__ = ["unprotected", "unsure"]

Access = tuple[int, int, frozenset[int]]
"""Slot of the task, mode, and the locks it holds."""


def unprotected(learned: Learned) -> list[Variable]:
    """Return variables of which two tasks make accesses that may be a data race."""
    found = []
    uses = _uses(learned)
    published = _Publication(learned, uses)
    for variable, each in uses.items():
        pairs = combinations(each, 2)
        is_doubtful = any(_may_race(some, other) and not _is_deferred(each[some], each[other]) for some, other in pairs)
        if is_doubtful or not published.is_safe(variable):
            found.append(learned.names[variable])
    return sorted(found)


def unsure(learned: Learned) -> set[tuple[str, str]]:
    """Return pairs of operations of which it is not sure that weaker memory keeps their order, by their labels.

    All that `Ordering.unsure` has in any execution, and perhaps more: what only grace periods order is in it.
    """
    found = set()
    for variable, uses in _uses(learned).items():
        if not learned.names[variable][1]:
            continue  # the life of an object, of which no operation says that it touches it
        for some, other in combinations(uses, 2):
            if _conflict(some, other) and not some[1] & other[1] & (STRONG | LOCK):
                found |= {_labels(a, b) for a in uses[some] for b in uses[other] if not _is_deferred([a], [b])}
    return found | _failed_locks(learned)


def _failed_locks(learned: Learned) -> set[tuple[str, str]]:
    """Return attempts at locks that fail, which order nothing, with the tasks that take these."""
    tried = {node.operation.what[1:]: node for node in learned.nodes if "trylock" in node.operation.what[0]}
    takers = [node for node in learned.nodes if "lock" in node.operation.what[0] and node.operation.what[1:] in tried]
    return {
        _labels(node, taker)
        for node in learned.nodes
        if node.operation.what[1:] in tried and any(fails for *_, fails in node.effects.values())
        for taker in takers
        if taker.slot != node.slot and "unlock" not in taker.operation.what[0]
    }


def _labels(some: Node, other: Node) -> tuple[str, str]:
    first, second = sorted((some.place.label, other.place.label))
    return first, second


def _uses(learned: Learned) -> dict[int, dict[Access, list[Node]]]:
    """Return the histories that make each kind of access to each variable."""
    found: dict[int, dict[Access, list[Node]]] = {}
    for node in learned.nodes:
        for variable, mode in _accesses(node):
            found.setdefault(variable, {}).setdefault((node.slot, mode, node.held), []).append(node)
    return found


def _accesses(node: Node) -> Iterator[tuple[int, int]]:
    operation = node.operation
    may_fail = any(fails for *_, fails in (*node.effects.values(), *node.own.values()))
    for footprint in [operation.footprint] if operation.footprint else operation.footprints.values():
        for variable, (_, mode) in zip(footprint.variables, footprint.accesses, strict=True):
            yield variable, mode & ~ACQUIRE if may_fail else mode


def _conflict(some: Access, other: Access) -> bool:
    """Tell whether the order of two accesses matters, and no lock keeps it."""
    (slot, mode, held), (slot_2, mode_2, held_2) = some, other
    is_conflict = (mode | mode_2) & WRITE or mode & (READ | COMMUTE) != mode_2 & (READ | COMMUTE)
    return bool(slot != slot_2 and is_conflict and not held & held_2)


def _may_race(some: Access, other: Access) -> bool:
    mode = some[1] | other[1]
    return bool(_conflict(some, other) and mode & PLAIN and not mode & RACY)


def _is_deferred(some: list[Node], other: list[Node]) -> bool:
    """Tell whether all of one kind come before all of the other because their task has deferred that."""
    return all(_is_before(a, b) or _is_before(b, a) for a in some for b in other)


class _Publication:
    """How tasks come to know objects that another task has made.

    Whoever has made an object has stored in it what is there at first, and nobody but those who know of the object can
    access it. Who was not deferred by its maker has read of it, in a variable whose accesses keep what was done before:
    stores and loads under one lock, or stores with release and loads with acquire. If all stores of the pointer are the
    maker's, marked loads do: what the object is accessed through depends on them.
    """

    def __init__(self, learned: Learned, uses: dict[int, dict[Access, list[Node]]]) -> None:
        self.learned = learned
        self.uses = uses
        self.channels: dict[int, set[int]] = {}
        self.stores: dict[int, set[tuple[int, int]]] = {}
        for variable, value in learned.states:
            for thing in _things(value):
                self.channels.setdefault(self._whole(thing), set()).add(variable)
        values = {state: value for (_, value), state in learned.states.items()}
        for node in learned.nodes:
            for _, changes, *_ in (*node.effects.values(), *node.own.values()):
                for variable, state in changes:
                    for thing in _things(values[state]):
                        self.stores.setdefault(self._whole(thing), set()).add((variable, node.slot))

    def _whole(self, thing: int) -> int:
        return self.learned.wholes.get(thing, thing)

    def is_safe(self, variable: int) -> bool:
        """Tell whether no task can access a variable before its object is set up."""
        thing, member = self.learned.names[variable]
        maker = (thing >> OBJECT_SHIFT) - 1
        if maker < 0 or not member:
            return True
        slot, made = self.learned.slots[maker], thing & (1 << OBJECT_SHIFT) - 1
        nodes = [node for (_, mode, _), each in self.uses[variable].items() if not mode & RACY for node in each]
        if all(_knows(node, slot, made) for node in nodes):
            return True
        whole = self._whole(thing)
        channels = self.channels.get(whole, set())
        return bool(channels) and all(self._keeps_order(each, whole, slot) for each in channels)

    def _keeps_order(self, channel: int, whole: int, maker: int) -> bool:
        """Tell whether a task that reads of an object in a variable sees what its maker did before."""
        stores = [access for access in self.uses[channel] if access[1] & (WRITE | COMMUTE)]
        loads = [access for access in self.uses[channel] if not access[1] & (WRITE | COMMUTE) or access[1] & RMW]
        pairs = [(store, load) for store in stores for load in loads if store[0] != load[0]]
        if all(store[2] & load[2] for store, load in pairs):
            return True
        if not all(mode & RELEASE for _, mode, _ in stores):
            return False
        if all(mode & ACQUIRE for _, mode, _ in loads):
            return True
        is_makers = {slot for variable, slot in self.stores.get(whole, ()) if variable == channel} <= {maker}
        return is_makers and not any(mode & PLAIN for _, mode, _ in loads)


def _things(value: object) -> Iterator[int]:
    """Yield numbers of the objects that a value points at."""
    if isinstance(value, tuple | frozenset):
        match value:
            case ("object", int(number)) | ("part", (int(number), _)):
                yield number
            case _:
                for each in value:
                    yield from _things(each)


def _knows(node: Node, slot: int, made: int) -> bool:
    """Tell whether a task has made an object, or was deferred after that was done."""
    each: Node | None = node
    while each is not None and not (each.slot == slot and each.place.made >= made):
        each = each.parent
    return each is not None


def _is_before(earlier: Node, later: Node) -> bool:
    node: Node | None = later
    while node is not None and node is not earlier:
        node = node.parent
    return node is not None
