"""What synchronisation orders in one execution, and which accesses are a data race because nothing does.

The definition is that of the kernel's memory model, tools/memory-model of 6.12, for executions in which memory is
sequentially consistent: docs/internals/explore.md states it. Two conflicting accesses by different tasks, at least one
of them plain, that happens-before leaves unordered are a data race, whether or not they meet.

Nearly all order comes from locks, releases and acquires, fully ordered operations, RCU and work. It is kept as one
integer per event with a bit per earlier event. What that leaves open, `lkmm` decides: barriers, and marked
accesses that order by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from swaplab.explore.event import WATCH, Event, Variable
from swaplab.explore.lkmm import Past, Source, Target, is_ordered
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, LOCK, PLAIN, RACY, READ, RELEASE, RMW, STRONG, WRITE

__all__ = ["OBJECT_SHIFT", "Ordering", "Race", "bits"]

OBJECT_SHIFT = 20
"""Numbers of objects that a task has made are above 1 << this, and say by which."""


class Race(NamedTuple):
    """A data race of the event that was added last.

    Attributes:
        event: the other one; -1 for a store of the maker of the object, before another task could know it.
        task: number of the one that made it.
        variable: they access.
        mode: of the access of the event that was added last.
    """

    event: int
    task: int
    variable: Variable
    mode: int


_Uses = tuple[int, int, int, int, int, int]
"""Of a variable, bits of the events that read it, write it, add to it, and that are plain, known to race, strong."""
UNUSED: _Uses = (0, 0, 0, 0, 0, 0)


def bits(number: int) -> Iterator[int]:
    """Return the bits that are set, in ascending order."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _racing(uses: _Uses, mode: int, unordered: int) -> int:
    """Return which of conflicting events that nothing orders are a data race with an access."""
    if mode & RACY:
        return 0
    plain, racy = uses[3:5]
    return unordered & ~racy & (-1 if mode & PLAIN else plain)


class Ordering:
    """Of the events so far; what belongs to a common prefix stays from one execution to the next.

    Args:
        events: in order; the owner of the list appends to it after `append`.

    Attributes:
        seen: by event, bits of the events that happen before it, with its own.
        births: the task that made an object, and its last event before, by the object's number.
        wholes: what an object is embedded in, by number: it was made there by ``__init__``.
        unsure: pairs of operations, in any execution, that neither locks nor fully ordered operations nor RCU order.
    """

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.seen: list[int] = []
        self.births: dict[int, tuple[int, int]] = {}
        self.wholes: dict[int, int] = {}
        self._past = Past(events, self.seen, self.wholes)
        self.unsure: set[tuple[str, str]] = set()
        self._doubted: dict[tuple[int, str, Variable], set[tuple[int, str]]] = {}
        self._released: dict[Variable, int] = {}
        self._uses: dict[Variable, _Uses] = {}
        self._own: dict[int, int] = {}
        self._through: dict[tuple[int, int], int] = {}
        self._undo: list[list[tuple[Variable, _Uses | None, int]]] = []
        self._pointers: list[tuple[int, tuple[int, int], int]] = []

    def truncate(self, length: int) -> None:
        """Forget the events from `length` on; they are still in `events`."""
        while self._pointers and self._pointers[-1][0] >= length:
            _, key, through = self._pointers.pop()
            self._through[key] = through
        while len(self.seen) > length:
            for variable, uses, released in reversed(self._undo.pop()):
                self._released[variable] = released
                if uses:
                    self._uses[variable] = uses
                else:
                    self._uses.pop(variable, None)
            self.seen.pop()
            self._own[self.events[len(self.seen)].task] ^= 1 << len(self.seen)

    def append(self, event: Event, seen: int) -> list[Race]:
        """Add an event, and return its data races.

        Args:
            event: to add.
            seen: bits of the events that happen before it because they are of the same task, or it waited for them.
        """
        bit = 1 << len(self.seen)
        before = seen
        races: list[Race] = []
        undo: list[tuple[Variable, _Uses | None, int]] = []
        for variable, mode in event.accesses:
            if mode & WATCH:
                continue
            released = self._released.get(variable, 0)
            if event.fails:
                mode = READ | mode & LOCK  # noqa: PLW2901
            elif mode & ACQUIRE:
                seen |= released
            if variable[0] >> OBJECT_SHIFT and self._is_unborn(event, seen, variable[0]):
                races += self._unborn(Target(event, seen, variable, mode))
            if not mode & LOCK:
                uses = self._uses.get(variable)
                undo.append((variable, uses, released))
                if found := self._use(uses or UNUSED, variable, mode, bit) & ~before:
                    self._doubt(event, variable, found)
                    if racing := _racing(uses or UNUSED, mode, found & ~seen):
                        races += self._races(Target(event, seen, variable, mode), racing)
            elif mode & RELEASE:
                undo.append((variable, None, released))
            elif event.fails:
                self._doubt(event, variable, self._holders(variable))
            if mode & RELEASE:
                self._released[variable] = (released if mode & (RMW | COMMUTE) else 0) | seen | bit
            elif released and mode & (WRITE | RMW) == WRITE:
                self._released[variable] = 0
        self._undo.append(undo)
        self.seen.append(seen | bit)
        self._own[event.task] = self._own.get(event.task, 0) | bit
        return races

    def _use(self, uses: _Uses, variable: Variable, mode: int, bit: int) -> int:
        """Enter an access other than of a lock, and return the events that conflict with it."""
        reads, writes, adds, plain, racy, strong = uses
        found = writes | (adds if mode & READ else reads)
        if mode & WRITE:
            found |= adds
            writes |= bit
        elif mode & COMMUTE:
            adds |= bit
        if mode & (READ | RMW):
            reads |= bit
        if mode & PLAIN:
            plain |= bit
        elif mode & STRONG:
            found &= ~strong
            strong |= bit
        elif mode & RACY:
            racy |= bit
        self._uses[variable] = reads, writes, adds, plain, racy, strong
        return found

    def _holders(self, variable: Variable) -> int:
        """Return the bit of the event that took a lock which a task tries in vain."""
        events = range(len(self.seen) - 1, -1, -1)
        taken = next(number for number in events if any(each == variable for each, _ in self.events[number].accesses))
        return 1 << taken

    def points(self, number: int, things: tuple[int, ...]) -> None:
        """Enter that an event, if it is the last, has read pointers to objects.

        Through them what was released with them is seen: an address dependency, of accesses to the objects themselves,
        and of the pointers read there in turn.
        """
        if number < len(self.seen) - 1:
            return
        event = self.events[number]
        event.points = tuple(self.wholes.get(thing, thing) for thing in things)
        carried = 0
        for variable, mode in event.accesses:
            carried |= self._seen_through(event.task, variable[0])
            if not mode & PLAIN:
                carried |= self._released.get(variable, 0)
        for thing in event.points:
            key = (event.task, thing)
            through = self._through.get(key, 0)
            self._pointers.append((number, key, through))
            self._through[key] = through | carried

    def _seen_through(self, task: int, thing: int) -> int:
        """Return bits of the events that a task sees through the pointer by which it has found an object."""
        return self._through.get((task, self.wholes.get(thing, thing)), 0)

    def _doubt(self, event: Event, variable: Variable, others: int) -> None:
        """Enter pairs of which it is not sure that weaker memory keeps their order."""
        known = self._doubted.setdefault((event.task, event.what, variable), set())
        for number in bits(others):
            other = self.events[number]
            key = (other.task, other.what)
            if key not in known:
                known.add(key)
                first, second = sorted((other.label, event.label))
                self.unsure.add((first, second))

    def _races(self, target: Target, others: int) -> list[Race]:
        variable = target.variable
        others &= ~self._seen_through(target.event.task, variable[0])
        races = []
        for number in bits(others):
            other = self.events[number]
            mode = READ if other.fails else next(each for touched, each in other.accesses if touched == variable)
            if not is_ordered(self._past, Source(number + 1, other.task, mode, other), target):
                races.append(Race(number, other.task, variable, target.mode))
        return races

    def _is_unborn(self, event: Event, seen: int, thing: int) -> bool:
        """Tell whether an event may come before what its maker stored in an object that a task has made.

        Those stores come after the maker's last event then: before whatever of its next ones is seen.
        """
        maker, last = self.births[thing]
        if maker == event.task:
            return False
        after = self._own.get(maker, 0) >> last + 1 << last + 1
        return not after & (seen | self._seen_through(event.task, thing))

    def _unborn(self, target: Target) -> list[Race]:
        maker, last = self.births[target.variable[0]]
        # Those stores are plain.
        source = Source(last + 1, maker, WRITE | PLAIN)
        is_known = not target.variable[1] or target.mode & RACY
        if is_known or is_ordered(self._past, source, target):
            return []
        return [Race(-1, maker, target.variable, target.mode)]
