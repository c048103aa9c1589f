"""What has happened in one execution, and what happened before what.

Two relations over the events of an execution, each kept as one integer per event with a bit per earlier event:

- *past*: dependence. Two executions with the same events and the same relation are the same Mazurkiewicz trace. The
  search reverses its races: dependent events that nothing else orders.
- *seen*: synchronisation. Locks, RCU and atomic operations order, accesses to plain fields do not. Two accesses to
  one field that it leaves unordered are a data race.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, PLAIN, READ, RELEASE, WRITE

__all__ = ["FREE", "LIFE", "Accesses", "Event", "History", "Variable", "dependent"]

Variable = tuple[int, str]
"""Object number and member; an object's own life is the member without a name."""
Accesses = tuple[tuple[Variable, int], ...]
LIFE = ""
KIND = READ | WRITE | COMMUTE
FREE = 1 << 16
"""Ends the life of an object: a write to it, on which whatever is done to any of its members depends."""


@dataclass(slots=True, eq=False)
class Event:
    """One step of an execution.

    Attributes:
        task: index of the task that made it.
        accesses: what it touched, and how.
        opener: for the release of a lock, the event that took it; -1 for others.
        waits: whether it takes a lock, and could not while another task held it.
        before: bits of the events it depends on, as far as they are of the same task or it waited for them.
        what, owner, member: the operation, the number of the object it is done to, 0 for none, and what of that.
        name: of the task.
        races: earlier events that this one could be swapped with.
    """

    task: int
    accesses: Accesses
    opener: int
    waits: bool
    before: int
    what: str
    owner: int
    member: str
    name: str
    races: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """How texts call it."""
        return f"{self.name}: {self.what}"


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
        seen: by event, bits of the events that are synchronised with it, with its own.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.pasts: list[int] = []
        self.seen: list[int] = []
        self._last: dict[Variable, _Last] = {}
        self._released: dict[Variable, int] = {}
        self._members: dict[int, list[Variable]] = {}
        self._freed: dict[int, int] = {}
        self._undo: list[list[tuple[Variable, _Last | None, int]]] = []

    def truncate(self, length: int) -> None:
        """Forget the events from `length` on."""
        while len(self.events) > length:
            for variable, last, released in reversed(self._undo.pop()):
                if last is None:
                    del self._last[variable]
                    self._members[variable[0]].pop()
                else:
                    self._last[variable] = last
                self._released[variable] = released
            self.events.pop()
            self.pasts.pop()
            self.seen.pop()
        if self._freed:
            ends = ((thing, last[0]) for (thing, member), last in self._last.items() if member == LIFE)
            self._freed = {thing: event for thing, event in ends if event >= 0}

    def append(self, event: Event, seen: int) -> int | None:
        """Add an event, and enter its races.

        Args:
            event: to add.
            seen: bits of the events synchronised with it, as far as they are of the same task or it waited for them.

        Returns:
            An event with which it is in a data race, if there is one.
        """
        pasts = self.pasts
        number = len(pasts)
        bit = 1 << number
        past = event.before | bit
        conflicts: list[int] = []
        undo = []
        racing: list[int] = []
        for variable, mode in event.accesses:
            last = self._last.get(variable)
            released = self._released.get(variable, 0)
            undo.append((variable, last, released))
            if mode & ACQUIRE:
                seen |= released
            if last is None:
                last = NEVER
            else:
                found = self._conflicts(last, mode)
                racing += [each for each in found if not seen >> each & 1 and self._is_race(each, variable, mode)]
                conflicts += found
            if mode & FREE:
                conflicts += self._uses(variable[0])
                self._freed[variable[0]] = number
            elif self._freed and variable[0] in self._freed:
                conflicts.append(self._freed[variable[0]])
            if last is NEVER:
                self._members.setdefault(variable[0], []).append(variable)
            self._last[variable] = self._after(last, mode, number, event.task)
            if mode & RELEASE:
                self._released[variable] = (released if mode & COMMUTE else 0) | seen | bit
            elif mode & WRITE and released:
                self._released[variable] = 0
        for earlier in conflicts:
            past |= pasts[earlier]
        self._undo.append(undo)
        if conflicts:
            event.races = self._races(conflicts, event.before, event.waits)
        self.events.append(event)
        pasts.append(past)
        self.seen.append(seen | bit)
        # One that does not depend on the order in which independent operations happened to be run.
        return min(racing, key=lambda earlier: self.events[earlier].task) if racing else None

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

    def _is_race(self, event: int, variable: Variable, mode: int) -> bool:
        """Tell whether an access that is unordered with an event is a data race with it.

        KCSAN's default (CONFIG_KCSAN_ASSUME_PLAIN_WRITES_ATOMIC): a plain write is fine for whoever reads with a mark.
        """
        for touched, how in self.events[event].accesses:
            if touched == variable and (mode | how) & PLAIN:
                is_read_marked = any(each & (READ | PLAIN) == READ for each in (mode, how))
                return not is_read_marked
        return False

    def _races(self, conflicts: list[int], before: int, waits: bool) -> tuple[int, ...]:
        """Events that could come after this one instead: conflicting, and ordered before it by nothing else."""
        found = []
        for event in conflicts:
            opener = self.events[event].opener
            # Who waits for a lock cannot come before its release, but before it was taken.
            first = opener if waits and opener >= 0 else event
            if before >> first & 1 or first in found:
                continue
            if not any(other != event and self.pasts[other] >> event & 1 for other in conflicts):
                found.append(first)
        return tuple(found)

    def races_with_lock(self, accesses: Accesses, before: int, taken: int) -> bool:
        """Tell whether who waits for ever for a lock that event `taken` took could have been first."""
        return not before >> taken & 1 and dependent(accesses, self.events[taken].accesses)

    def first_change(self, task: int, since: int) -> int:
        """Return the first event of another task that changed what `task` has seen from `since` on; -1 if none.

        A lock that it waited for is nothing it has seen: it gets that again, whoever has it in between. Nor is what it
        added to.
        """
        changed: dict[Variable, int] = {}
        touched: set[Variable] = set()
        for number in range(since, len(self.events)):
            event = self.events[number]
            if event.task == task and (event.waits or event.opener >= 0):
                continue
            for variable, mode in event.accesses:
                if event.task == task and mode & (READ | WRITE):
                    touched.add(variable)
                    changed.pop(variable, None)
                elif event.task != task and mode & FREE:
                    changed |= {each: number for each in touched - changed.keys() if each[0] == variable[0]}
                elif event.task != task and mode & (WRITE | COMMUTE) and variable in touched:
                    changed.setdefault(variable, number)
        return min(changed.values(), default=-1)

    def without(self, first: int) -> Iterator[int]:
        """Return the events after `first` that do not depend on it."""
        pasts = self.pasts
        return (number for number in range(first + 1, len(pasts)) if not pasts[number] >> first & 1)
