"""What has happened in one execution, and what happened before what.

Two relations over the events of an execution, each kept as one integer per event with a bit per earlier event:

- *past*: dependence. Two executions with the same events and the same relation are the same Mazurkiewicz trace. The
  search reverses its races: dependent events that nothing else orders.
- *seen*: synchronisation, which is `ordering.Ordering`'s.
"""

from __future__ import annotations

from collections.abc import Iterator

from swaplab.explore.event import FREE, KIND, LIFE, RCU, Accesses, Event, Variable
from swaplab.explore.ordering import Ordering, Race
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE

__all__ = ["FREE", "LIFE", "Accesses", "Event", "History", "Variable", "dependent"]

_Last = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Of a variable, the last write, -1 if there was none, and the reads and additions since."""
NEVER: _Last = (-1, (), ())


def dependent(some: Accesses, other: Accesses) -> bool:
    """Tell whether the order of two operations may matter."""
    for variable, mode in some:
        for touched, how in other:
            if variable == touched:
                if (mode & KIND) != (how & KIND) or mode & WRITE:
                    return True
            elif (mode | how) & FREE and variable[0] == touched[0]:
                return True
    return False


class History:
    """The events so far; those of a common prefix stay from one execution to the next.

    Attributes:
        events: in order.
        pasts: by event, bits of the events it depends on, with its own.
        ordering: which of them synchronisation orders.
        hashes: by event, the same in every execution in which it depends on the same events.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.pasts: list[int] = []
        self.ordering = Ordering(self.events)
        self.hashes: list[int] = []
        self._last: dict[Variable, _Last] = {}
        self._members: dict[int, list[Variable]] = {}
        self._freed: dict[int, int] = {}
        self._undo: list[list[tuple[Variable, _Last | None]]] = []

    def truncate(self, length: int) -> None:
        """Forget the events from `length` on."""
        self.ordering.truncate(length)
        while len(self.events) > length:
            for variable, last in reversed(self._undo.pop()):
                if last is None:
                    del self._last[variable]
                    self._members[variable[0]].pop()
                else:
                    self._last[variable] = last
            self.events.pop()
            self.pasts.pop()
            self.hashes.pop()
        if self._freed:
            ends = ((thing, last[0]) for (thing, member), last in self._last.items() if member == LIFE)
            self._freed = {thing: event for thing, event in ends if event >= 0}

    def append(self, event: Event, seen: int) -> list[Race]:
        """Add an event, and enter its races.

        Args:
            event: to add.
            seen: bits of the events that happen before it because they are of the same task, or it waited for them.

        Returns:
            Its data races.
        """
        pasts = self.pasts
        number = len(pasts)
        bit = 1 << number
        past = event.before | bit
        conflicts: list[int] = []
        undo = []
        races = self.ordering.append(event, seen)
        for variable, mode in event.accesses:
            last = self._last.get(variable)
            undo.append((variable, last))
            if last is None:
                last = NEVER
            else:
                conflicts += self._conflicts(last, mode)
            if mode & FREE:
                conflicts += self._uses(variable[0])
                self._freed[variable[0]] = number
            elif self._freed and variable[0] in self._freed:
                conflicts.append(self._freed[variable[0]])
            if last is NEVER:
                self._members.setdefault(variable[0], []).append(variable)
            self._last[variable] = self._after(last, mode, number, event.task)
        for earlier in conflicts:
            past |= pasts[earlier]
        self._undo.append(undo)
        if conflicts:
            event.races = self._races(conflicts, event.before, event.waits)
        hashes = self.hashes
        previous = hashes[event.previous] if event.previous >= 0 else 0
        hashes.append(hash((event.task, previous, event.accesses, frozenset(hashes[each] for each in conflicts))))
        self.events.append(event)
        pasts.append(past)
        return races

    @staticmethod
    def _conflicts(last: _Last, mode: int) -> tuple[int, ...]:
        write, reads, additions = last
        if mode & READ:
            found = additions
        elif mode & COMMUTE:
            found = reads
        else:
            found = reads + additions
        # The reads and additions depend on the write themselves.
        return found or ((write,) if write >= 0 else ())

    def _uses(self, thing: int) -> list[int]:
        """Return events that used any member of an object, which so come before its end."""
        members = self._members.get(thing, ())
        return [event for variable in members for event in self._conflicts(self._last[variable], WRITE)]

    def _after(self, last: _Last, mode: int, number: int, task: int) -> _Last:
        if mode & WRITE:
            return number, (), ()
        write, reads, additions = last
        if mode & READ:
            return write, self._join(reads, number, task), additions
        return write, reads, self._join(additions, number, task)

    def _join(self, numbers: tuple[int, ...], number: int, task: int) -> tuple[int, ...]:
        """Add an event; an earlier one of the same task says nothing that it does not."""
        if not numbers or (len(numbers) == 1 and self.events[numbers[0]].task == task):
            return (number,)
        return (*[event for event in numbers if self.events[event].task != task], number)

    def _races(self, conflicts: list[int], before: int, waits: bool) -> tuple[int, ...]:
        """Events that could come after this one instead: conflicting, and ordered before it by nothing else."""
        found = []
        for event in conflicts:
            opener = self.events[event].opener
            # A task that waits for a lock cannot come before its release, but before it was taken.
            first = opener if waits and opener >= 0 else event
            if before >> first & 1 or first in found:
                continue
            if not any(other != event and self.pasts[other] >> event & 1 for other in conflicts):
                found.append(first)
        return tuple(found)

    @property
    def identity(self) -> int:
        """A number that is the same for the same events with the same dependences."""
        return sum(self.hashes)

    def touched(self, task: int, since: int, until: int) -> dict[Variable, int]:
        """Return what a task has read from event `since` up to event `until`, each with the first event that did.

        A lock that it waited for is nothing it has read: it gets that again, whoever has it in between. Nor is what it
        stored or added to, or that it has begun a read section.
        """
        found: dict[Variable, int] = {}
        for number in range(since, until):
            event = self.events[number]
            if event.task != task or event.waits or event.opener >= 0 or event.what == "write":
                continue
            for variable, mode in event.accesses:
                if (mode & (READ | WRITE) or event.fails) and variable != RCU:
                    found.setdefault(variable, number)
        return found

    def changes(self, task: int, touched: dict[Variable, int], until: int) -> int:
        """Return bits of the events before `until` by which other tasks have changed what a task has read."""
        found = 0
        for number in range(min(touched.values(), default=until), until):
            event = self.events[number]
            if event.task == task or event.fails:
                continue
            if any(self._is_change(access, touched, number) for access in event.accesses):
                found |= 1 << number
        return found

    @staticmethod
    def _is_change(access: tuple[Variable, int], touched: dict[Variable, int], number: int) -> bool:
        variable, mode = access
        if mode & FREE:
            return any(each[0] == variable[0] and read < number for each, read in touched.items())
        return bool(mode & (WRITE | COMMUTE)) and touched.get(variable, number) < number

    def without(self, first: int) -> Iterator[int]:
        """Return the events after `first` that do not depend on it."""
        pasts = self.pasts
        return (number for number in range(first + 1, len(pasts)) if not pasts[number] >> first & 1)
